"""A portfolio in its database: reading only, names as identifiers, values as parameters, every answer bounded.

Follows cryptofunk.PositionLimitExceeded.d1, d4 and MaxDrawdownExceeded.d1, d2 of the inventory. Losses are those of the
latest session within the window; there they were the worst ones ever.
"""

from __future__ import annotations

from typing import Any

from psycopg import sql

from nightshift.remediation.clients.postgres import Session as Connection
from nightshift.remediation.inventory import serves
from nightshift.remediation.trading.facts import Loss, Position, Session, Signal, Trade, TradingDiagnosis
from nightshift.remediation.trading.policy import TradingRiskPolicy, TradingTables

MOST_POSITIONS = 200
MOST_LOSSES = 20
MOST_SIGNALS = 5
_NOW = "select extract(epoch from now())::float8"
_POSITIONS = """
select symbol::text, side::text, quantity::float8, coalesce(current_price, entry_price)::float8,
       coalesce(unrealized_pnl, 0)::float8
from {positions} where status::text = 'OPEN'
order by abs(quantity * coalesce(current_price, entry_price)) desc limit %s
"""
_SUMS = """
select coalesce(sum(abs(quantity * coalesce(current_price, entry_price))), 0)::float8,
       coalesce(max(abs(quantity * coalesce(current_price, entry_price))), 0)::float8
from {positions} where status::text = 'OPEN'
"""
_ENTRIES = """
select count(*) filter (where {opened} > now() - make_interval(secs => %s)
                        and abs(quantity * coalesce(current_price, entry_price)) > %s),
       extract(epoch from max({opened}))::float8
from {positions}
"""
_SESSION = """
select session_id::text, coalesce(total_pnl, 0)::float8, coalesce(max_drawdown, 0)::float8,
       coalesce(roi_percentage, 0)::float8
from {sessions} order by created_at desc limit 1
"""
_LOSSES = """
select symbol::text, count(*), sum(-realized_pnl)::float8
from {positions}
where status::text = 'CLOSED' and realized_pnl < 0 and session_id::text = %s
      and {closed} > now() - make_interval(secs => %s)
group by symbol order by 3 desc limit %s
"""
_TRADES = """
select symbol::text, side::text, quantity::float8, entry_price::float8, exit_price::float8, (-realized_pnl)::float8
from {positions}
where status::text = 'CLOSED' and realized_pnl < 0 and session_id::text = %s
      and {closed} > now() - make_interval(secs => %s)
order by realized_pnl limit %s
"""
_SIGNALS = """
select symbol::text, agent_name::text, signal::text, left(coalesce(reasoning, ''), 500)
from {signals} where symbol::text = any(%s) order by created_at desc limit %s
"""


@serves("cryptofunk.PositionLimitExceeded: d1 d4", "cryptofunk.MaxDrawdownExceeded: d1 d2")
def read_portfolio(connection: Connection, portfolio: str, policy: TradingRiskPolicy) -> TradingDiagnosis:
    """Everything that the database says, as of one moment.

    Raises:
        psycopg.Error: as the server answers; :func:`open_postgres` puts it into our words.
    """
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read read only")
        return _read(connection, portfolio, policy)


def _read(connection: Connection, portfolio: str, policy: TradingRiskPolicy) -> TradingDiagnosis:
    tables = policy.tables

    def rows(statement: str, *values: object) -> list[tuple[Any, ...]]:
        return connection.execute(_composed(statement, tables), values).fetchall()

    positions = [_position(row) for row in rows(_POSITIONS, MOST_POSITIONS)]
    ((exposure, largest),) = rows(_SUMS)
    ((above, opened_last),) = rows(_ENTRIES, policy.window, policy.largest_position)
    sessions = [Session(id=i, pnl=p, drawdown_percent=d, roi_percent=r) for i, p, d, r in rows(_SESSION)]
    lost = (sessions[0].id, policy.window, MOST_LOSSES) if sessions else ()
    losses, trades = (rows(_LOSSES, *lost), rows(_TRADES, *lost)) if lost else ([], [])
    symbols = [position.symbol for position in positions if position.size > policy.largest_position]
    signals = rows(_SIGNALS, symbols, MOST_SIGNALS) if tables.signals is not None and symbols else []
    return TradingDiagnosis(
        portfolio=portfolio,
        now=connection.execute(_NOW).fetchall()[0][0],
        positions=tuple(positions),
        exposure=exposure,
        largest=largest,
        above_limit=above,
        opened_last=opened_last,
        session=sessions[0] if sessions else None,
        worst_trades=tuple(
            Trade(symbol=symbol, side=side, quantity=quantity, entry_price=entry, exit_price=end, loss=loss)
            for symbol, side, quantity, entry, end, loss in trades
        ),
        losses=tuple(Loss(symbol=symbol, trades=trades, amount=amount) for symbol, trades, amount in losses),
        signals=tuple(Signal(symbol=s, agent=a, signal=what, reasoning=why) for s, a, what, why in signals),
    )


def _position(row: tuple[Any, ...]) -> Position:
    symbol, side, quantity, price, unrealized = row
    return Position(symbol=symbol, side=side, quantity=quantity, price=price, unrealized=unrealized)


def _composed(statement: str, tables: TradingTables) -> sql.Composed:
    # The search path holds no schema of the user's: an unqualified name means public.
    def table(name: str) -> sql.Identifier:
        return sql.Identifier(*(name.split(".") if "." in name else ("public", name)))

    return sql.SQL(statement).format(
        positions=table(tables.positions),
        sessions=table(tables.sessions),
        signals=table(tables.signals or tables.positions),
        opened=sql.Identifier(tables.opened_at),
        closed=sql.Identifier(tables.closed_at),
    )
