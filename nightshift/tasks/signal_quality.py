"""Look at signals and at what users decided about them: in the database, at the counter, at the market."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from nightshift.remediation.connections import HttpConnection, PostgresConnection
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.signals.facts import Market, SignalDiagnosis
from nightshift.remediation.signals.policy import SignalQualityPolicy
from nightshift.remediation.signals.review import may_be_the_market
from nightshift.tasks.steps import diagnostic

_LONGEST_PAUSE = 300.0


@diagnostic("look at signals and decisions", of="{name}")
def diagnose_signals(
    name: str, database: PostgresConnection, metrics: Mapping[str, HttpConnection], policy: SignalQualityPolicy
) -> SignalDiagnosis:
    """Shares by instrument, source and hour, how approved signals ended, the counter, and the market."""
    return _look(name, database, metrics, policy)


@diagnostic("watch decisions in a volatile market", of="{name}")
def watch_signals(
    name: str, database: PostgresConnection, metrics: Mapping[str, HttpConnection], policy: SignalQualityPolicy
) -> SignalDiagnosis:
    """The last look after the time to watch, or the first one that the market does not explain."""
    until = time.monotonic() + policy.watch
    while True:
        time.sleep(max(0.0, min(_LONGEST_PAUSE, until - time.monotonic())))
        seen = _look(name, database, metrics, policy)
        if time.monotonic() >= until or not may_be_the_market(seen, policy):
            return seen


def _look(
    name: str, database: PostgresConnection, metrics: Mapping[str, HttpConnection], policy: SignalQualityPolicy
) -> SignalDiagnosis:
    # psycopg is imported for systems that have a database.
    from nightshift.remediation.clients.postgres import open_postgres
    from nightshift.remediation.clients.signal_tables import read_signals

    with open_postgres(name, database) as session:
        seen = read_signals(session, policy)
    return seen.model_copy(update={**_counted(metrics, policy), "market": _market(metrics, policy)})


def _counted(metrics: Mapping[str, HttpConnection], policy: SignalQualityPolicy) -> dict[str, Any]:
    from nightshift.remediation.clients.market_metrics import rejected_percent

    if policy.counter is None:
        return {"counter_complaint": "no counter is declared"}
    try:
        return {"counted_percent": rejected_percent(metrics, policy.counter)}
    except NightshiftError as error:
        # The tables count without it, and what is not known is said.
        return {"counter_complaint": str(error)}


def _market(metrics: Mapping[str, HttpConnection], policy: SignalQualityPolicy) -> Market | None:
    from nightshift.remediation.clients.market_metrics import market_conditions

    if policy.market is None:
        return None
    try:
        volatility, trend = market_conditions(metrics, policy.market)
    except NightshiftError as error:
        return Market(complaint=str(error))
    return Market(volatility=volatility, trend=trend)
