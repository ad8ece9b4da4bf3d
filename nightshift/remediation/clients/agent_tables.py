"""What trading agents wrote into their database: reading only, names as identifiers, every answer bounded.

Follows cryptofunk.AgentDown.d2, v1, v2 and TradingSessionFailure.d4, v1-v3 of the inventory.
"""

from __future__ import annotations

from typing import Any

from psycopg import sql

from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.postgres import Session as Connection
from nightshift.remediation.inventory import serves
from nightshift.remediation.trading_agents.facts import AgentRow, DatabaseSeen, SessionSeen
from nightshift.remediation.trading_agents.policy import AgentUnavailablePolicy, SessionRule

MOST_AGENTS = 200
_AGENTS = """
select agent_name::text, coalesce(status::text, ''), extract(epoch from clock_timestamp() - last_heartbeat)::float8,
       left(coalesce(error_message::text, ''), 300)
from {table} order by last_heartbeat desc nulls last limit %s
"""
_SIGNALS_OF = """
select count(*) from {table} where agent_name::text = %s and created_at > clock_timestamp() - interval '1 hour'
"""
_SIGNALS = "select count(*) from {table} where created_at > clock_timestamp() - interval '1 hour'"
_SESSION = """
select session_id::text, extract(epoch from clock_timestamp() - created_at)::float8, coalesce(max_drawdown, 0)::float8
from {table} order by created_at desc limit 1
"""
_ORDERS = """
select count(*) filter (where upper(status::text) = any(%s)),
       count(*) filter (where {at} > clock_timestamp() - interval '1 hour')
from {table}
"""
_POSITIONS = "select count(*) from {table} where status::text = 'OPEN'"


def read_agents(connection: Connection, name: str, policy: AgentUnavailablePolicy) -> DatabaseSeen:
    """What agents, sessions and orders look like, and how many connections are taken.

    Raises:
        psycopg.Error: as the server answers; :func:`open_postgres` puts it into our words.
    """
    server = look_at_server(connection)
    agents = policy.agents
    rows = _rows(connection, _AGENTS, agents.table, MOST_AGENTS)
    signals = None
    if agents.signals is not None:
        asked = () if policy.session is not None else (name,)
        ((signals,),) = _rows(connection, _SIGNALS_OF if asked else _SIGNALS, agents.signals, *asked)
    return DatabaseSeen(
        used_percent=100 * len(server.clients) / server.room,
        agents=tuple(AgentRow(name=n, status=s, heartbeat_age=age, error=e) for n, s, age, e in rows),
        signals_last_hour=signals,
        session=_session(connection, policy.session) if policy.session is not None else None,
    )


@serves("cryptofunk.TradingSessionFailure: v3", "cryptofunk.general: health_trading")
def _session(connection: Connection, rule: SessionRule) -> SessionSeen:
    latest = _rows(connection, _SESSION, rule.sessions)
    ((still_open, placed),) = _rows(connection, _ORDERS, rule.orders, list(rule.open_orders), at=rule.ordered_at)
    ((positions,),) = _rows(connection, _POSITIONS, rule.positions)
    seen = SessionSeen(open_orders=still_open, open_positions=positions, orders_last_hour=placed)
    if not latest:
        return seen
    identity, age, drawdown = latest[0]
    return seen.model_copy(update={"id": identity, "age": age, "drawdown_percent": drawdown})


def _rows(
    connection: Connection, statement: str, table: str, *values: object, at: str = "created_at"
) -> list[tuple[Any, ...]]:
    # The search path holds no schema of the user's: an unqualified name means public.
    name = sql.Identifier(*(table.split(".") if "." in table else ("public", table)))
    composed = sql.SQL(statement).format(table=name, at=sql.Identifier(at))
    return connection.execute(composed, values).fetchall()
