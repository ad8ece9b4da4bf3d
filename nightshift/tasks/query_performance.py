"""Look at statements, indexes and what vector searches need, and watch them after a repair."""

from __future__ import annotations

import math
import time

from nightshift.remediation.clients import prometheus as metrics_of
from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.indexes import costly_statements, embedding_of, index_state, leftovers_beside
from nightshift.remediation.clients.postgres import Session, open_postgres
from nightshift.remediation.clients.upkeep import extension_now, look_at_upkeep
from nightshift.remediation.connections import HttpConnection, PostgresConnection
from nightshift.remediation.databases.query_planner import STATISTICS, VECTOR, Embedding, QueryLook, trouble, well_for
from nightshift.remediation.databases.query_policy import Measure, QueryPolicy
from nightshift.remediation.errors import TargetUnreachableError
from nightshift.remediation.inventory import serves
from nightshift.tasks.steps import diagnostic

_LOOKS = 20
_LONGEST_PAUSE = 15.0


@serves(
    "cryptofunk.VectorSearchHighLatency: d1 d3 r3.1",
    "cryptofunk.VectorSearchCriticalLatency: d2",
    "cryptofunk.VectorSearchHighErrorRate: d2 d5",
    "cryptofunk.VectorSearchCriticalErrorRate: d2 d3",
    "cryptofunk.VectorSearchSlowWithHighConnections: d4",
)
@diagnostic("look at statements and indexes", of="{database}")
def look_at_queries(
    database: str,
    connection: PostgresConnection,
    policy: QueryPolicy,
    prometheus: HttpConnection | None,
    *,
    closely: bool = False,
) -> QueryLook:
    """``postgres.long_running_queries``, ``index_usage``, ``table_scan_stats``, ``extension_version``.

    Args:
        database: name of the connection.
        connection: to the server.
        policy: which indexes, which column.
        prometheus: where the measure is.
        closely: with ``postgres.slow_statements``, which takes two seconds.
    """
    return _look(database, connection, policy, prometheus, closely=closely)


@diagnostic("watch statements", of="{database}")
def watch_queries(
    database: str, connection: PostgresConnection, policy: QueryPolicy, prometheus: HttpConnection | None
) -> tuple[tuple[QueryLook, ...], str]:
    """Looks until all was well for ``hold`` seconds, or was not within ``wait``; why the last look failed."""
    began, looks, unknown = time.monotonic(), list[QueryLook](), ""
    while True:
        try:
            looks.append(_look(database, connection, policy, prometheus, closely=False))
            unknown = ""
        except TargetUnreachableError as error:
            unknown = str(error)
        well = bool(looks) and not unknown and not looks[-1].unknown and not trouble(looks[-1], policy)
        waited = time.monotonic() - began
        if well and well_for(looks, policy) >= policy.hold:
            return tuple(looks), unknown
        if waited >= policy.wait + (policy.hold if well else 0):
            return tuple(looks), unknown
        time.sleep(max(0.2, min(_LONGEST_PAUSE, policy.hold / _LOOKS)))


def _look(
    database: str,
    connection: PostgresConnection,
    policy: QueryPolicy,
    prometheus: HttpConnection | None,
    *,
    closely: bool,
) -> QueryLook:
    with open_postgres(database, connection) as session:
        named = (index_state(session, rule.table_schema, rule.index) for rule in policy.indexes)
        indexes = tuple(index for index in named if index is not None)
        server = look_at_server(session)
        leftovers = leftovers_beside(session, indexes)
        statements = costly_statements(session) if closely else ()
        embedding = embedding_of(session, policy.embedding) if policy.embedding is not None else None
        kept = look_at_upkeep(session, policy.upkeep, closely=closely) if policy.upkeep is not None else None
        missing = _missing(session, policy, embedding)
    value, unknown = _measured(policy.measure, prometheus)
    return QueryLook(
        at=time.monotonic(),
        server=server,
        value=value,
        unknown=unknown,
        indexes=indexes,
        leftovers=leftovers,
        statements=statements,
        embedding=embedding,
        upkeep=kept,
        missing=missing,
    )


def _missing(session: Session, policy: QueryPolicy, embedding: Embedding | None) -> dict[str, str]:
    """Extensions that are wanted and not there, each with why it cannot be made."""
    wanted = [VECTOR] if embedding is not None and not embedding.extension else []
    wanted += [STATISTICS] if policy.statement_statistics else []
    found = {}
    for name in wanted:
        now = extension_now(session, name)
        if now.there:
            continue
        absent = "" if now.available else "It is not installed on the server's machine."
        unloaded = name == STATISTICS and not now.preloaded
        found[name] = absent or ("The server loads it only at its start: shared_preload_libraries." if unloaded else "")
    return found


def _measured(rule: Measure | None, connection: HttpConnection | None) -> tuple[float | None, str]:
    """The one number that the expression gives, or why there is none."""
    if rule is None or connection is None:
        return None, ""
    samples = metrics_of.query(rule.prometheus, connection, rule.expression)
    if len(samples) != 1 or not math.isfinite(samples[0].value[1]):
        return None, f"{rule.prometheus} gives no number for the measure."
    return samples[0].value[1], ""
