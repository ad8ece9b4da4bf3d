"""Look at a portfolio: in its database, and at whoever decides about entries."""

from __future__ import annotations

import time

from nightshift.remediation.connections import HttpConnection, PostgresConnection
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.trading.facts import TradingDiagnosis
from nightshift.remediation.trading.policy import TradingRiskPolicy
from nightshift.tasks.steps import diagnostic

_LOOKS = 4


@diagnostic("look at the portfolio", of="{portfolio}")
def diagnose_portfolio(
    name: str, database: PostgresConnection, api: HttpConnection | None, portfolio: str, policy: TradingRiskPolicy
) -> TradingDiagnosis:
    """Positions, exposure, the latest session, its losses, what agents said, and whether entries are paused."""
    return _look(name, database, api, portfolio, policy)


@diagnostic("watch the portfolio", of="{portfolio}")
def watch_portfolio(
    name: str, database: PostgresConnection, api: HttpConnection | None, portfolio: str, policy: TradingRiskPolicy
) -> tuple[TradingDiagnosis, ...]:
    """Looks at even intervals over the watch time, the first at once and the last at its end."""
    looks = [_look(name, database, api, portfolio, policy)]
    for _ in range(_LOOKS - 1):
        time.sleep(policy.watch / (_LOOKS - 1))
        looks.append(_look(name, database, api, portfolio, policy))
    return tuple(looks)


def _look(
    name: str, database: PostgresConnection, api: HttpConnection | None, portfolio: str, policy: TradingRiskPolicy
) -> TradingDiagnosis:
    # psycopg is imported for systems that have a database.
    from nightshift.remediation.clients.postgres import open_postgres
    from nightshift.remediation.clients.trading_api import is_paused
    from nightshift.remediation.clients.trading_tables import read_portfolio

    with open_postgres(name, database) as session:
        seen = read_portfolio(session, portfolio, policy)
    if policy.pause is None or api is None:
        return seen
    try:
        return seen.model_copy(update={"paused": is_paused(api, policy.pause)})
    except NightshiftError as error:
        # The evidence counts without it, and what is not known is said.
        return seen.model_copy(update={"pause_complaint": str(error)})
