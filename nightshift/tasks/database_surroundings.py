"""Look at what is around a database in trouble, as far as its policy names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from nightshift.remediation.clients.backends import waits_of
from nightshift.remediation.clients.indexes import costly_statements
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.clients.server_usage import use_of_server
from nightshift.remediation.connections import Connection, HttpConnection, PostgresConnection
from nightshift.remediation.databases.query_planner import Statement
from nightshift.remediation.databases.surroundings import Around, ServerUse, Wait
from nightshift.remediation.databases.surroundings_policy import ServerUsage, Surroundings
from nightshift.remediation.errors import ConfigurationError, NightshiftError
from nightshift.remediation.inventory import serves
from nightshift.tasks.program_logs import newest_lines
from nightshift.tasks.steps import diagnostic

Connections = Mapping[str, Connection]
T = TypeVar("T")


@serves(
    "octollm.DatabaseConnectionPoolExhausted: d5 d6 d7 d8 d9 r4.1 r4.2",
    "trading_signals.DatabaseConnectionPoolExhausted: d4",
    "cryptofunk.VectorSearchHighLatency: r1.1",
    "cryptofunk.VectorSearchCriticalLatency: d1 d3",
    "cryptofunk.VectorSearchHighErrorRate: d1 r3.2",
    "cryptofunk.VectorSearchCriticalErrorRate: d1",
    "cryptofunk.VectorSearchSlowWithHighConnections: d1 d2 d3",
)
@diagnostic("look around a database", of="{database}")
def look_around(database: str, connections: Connections, rule: Surroundings) -> Around:
    """``kubernetes.top_pods``, ``postgres.wait_events``, ``slow_statements`` and logs; what is not seen is said."""
    return see_around(database, connections, rule)


def see_around(database: str, connections: Connections, rule: Surroundings) -> Around:
    """The same outside of a flow: each part by itself, so that one that fails hides no other."""
    unseen = list[str]()
    log = _of(unseen, "the log", lambda: newest_lines(rule.log, connections)) or ((), ())
    uses = _of(unseen, "what the server uses", lambda: _uses(rule.usage, connections))
    inside = _of(unseen, "the waits and statements", lambda: _inside(database, connections, rule))
    waits, statements = inside if inside is not None else ((), ())
    if uses == () and rule.usage is not None:
        unseen.append(f"what the server uses: {rule.usage.prometheus} has nothing about {rule.usage.container}")
    return Around(uses=uses or (), waits=waits, statements=statements, lines=log[1], unseen=tuple(unseen))


def _of(unseen: list[str], what: str, look: Callable[[], T]) -> T | None:
    try:
        return look()
    except NightshiftError as error:
        unseen.append(f"{what}: {error}")
        return None


def _uses(rule: ServerUsage | None, connections: Connections) -> tuple[ServerUse, ...]:
    if rule is None:
        return ()
    connection = connections.get(rule.prometheus)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no connection {rule.prometheus!r} in the catalogue any more.")
    return use_of_server(rule, connection)


def _inside(
    database: str, connections: Connections, rule: Surroundings
) -> tuple[tuple[Wait, ...], tuple[Statement, ...]]:
    if not (rule.waits or rule.statements):
        return (), ()
    connection = connections.get(database)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {database!r} in the catalogue any more.")
    with open_postgres(database, connection) as session:
        waits = waits_of(session) if rule.waits else ()
        return waits, costly_statements(session) if rule.statements else ()
