"""Prices of the last hour beside those of the week before, from the table of candles; reading only, bounded.

Operation ``trading.market_conditions``.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from nightshift.remediation.clients.postgres import Session
from nightshift.remediation.trading.market import Move
from nightshift.remediation.trading.policy import CandleTable

_MOST = 20
_MOVES = """
with hours as (
  select symbol::text as symbol, date_bin('1 hour', {at}::timestamptz, now()) as hour,
         max({high})::float8 as high, min({low})::float8 as low,
         (array_agg({open} order by {at}))[1]::float8 as first,
         (array_agg({close} order by {at} desc))[1]::float8 as last
  from {candles}
  where {at} > now() - interval '7 days' and {at} < now() and symbol::text = any(%s) and {low} > 0 and {open} > 0
  group by 1, 2)
select n.symbol, 100 * (n.last - n.first) / n.first, 100 * (n.high - n.low) / n.low,
       (select avg(100 * (o.high - o.low) / o.low) from hours o where o.symbol = n.symbol and o.hour < n.hour)
from hours n where n.hour = now() - interval '1 hour'
order by 3 desc limit %s
"""


def moves_of(session: Session, rule: CandleTable, symbols: Sequence[str]) -> tuple[Move, ...]:
    """How far these symbols moved, the widest range first; those without a candle in the last hour are missing.

    Raises:
        psycopg.Error: as the server answers; :func:`open_postgres` puts it into our words.
    """
    names = rule.table.split(".") if "." in rule.table else ("public", rule.table)
    statement = sql.SQL(_MOVES).format(
        candles=sql.Identifier(*names),
        at=sql.Identifier(rule.at),
        open=sql.Identifier(rule.open),
        high=sql.Identifier(rule.high),
        low=sql.Identifier(rule.low),
        close=sql.Identifier(rule.close),
    )
    rows = session.execute(statement, [list(symbols), _MOST]).fetchall()
    return tuple(Move(symbol=s, changed_percent=c, range_percent=r, usual_percent=u) for s, c, r, u in rows)
