"""Look at the market and at the risk agent's log, as far as the policy names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from nightshift.remediation.connections import Connection, PostgresConnection
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.inventory import serves
from nightshift.remediation.trading.facts import TradingDiagnosis
from nightshift.remediation.trading.market import MarketLook, Move
from nightshift.remediation.trading.policy import CandleTable, TradingRiskPolicy
from nightshift.tasks.program_logs import newest_lines
from nightshift.tasks.steps import diagnostic

T = TypeVar("T")


@serves("cryptofunk.MaxDrawdownExceeded: d3 d4 r1.2")
@diagnostic("look at the market", of="{name}")
def look_at_market(
    name: str,
    database: PostgresConnection,
    connections: Mapping[str, Connection],
    portfolio: TradingDiagnosis,
    policy: TradingRiskPolicy,
) -> MarketLook:
    """Moves of the symbols that are held or lost money, and the newest telling lines of the risk agent."""
    symbols = sorted({one.symbol for one in portfolio.positions} | {one.symbol for one in portfolio.losses})
    unseen = list[str]()
    moves = _of(unseen, "the market", lambda: _moves(name, database, policy.candles, symbols))
    log = _of(unseen, "the risk agent's log", lambda: newest_lines(policy.risk_log, connections))
    return MarketLook(moves=moves or (), lines=log[1] if log is not None else (), unseen=tuple(unseen))


def _of(unseen: list[str], what: str, look: Callable[[], T]) -> T | None:
    try:
        return look()
    except NightshiftError as error:
        unseen.append(f"{what}: {error}")
        return None


def _moves(
    name: str, database: PostgresConnection, rule: CandleTable | None, symbols: Sequence[str]
) -> tuple[Move, ...]:
    if rule is None or not symbols:
        return ()
    # psycopg is imported for systems that have a database.
    from nightshift.remediation.clients.market_candles import moves_of
    from nightshift.remediation.clients.postgres import open_postgres

    with open_postgres(name, database) as session:
        return moves_of(session, rule, symbols)
