"""How the things that requests need answer at this moment; nothing is changed.

Operations ``postgres.ping``, ``connection_summary``, ``long_running_queries``, ``redis.ping``, ``nats.health``,
``external_api.health``, ``http.probe`` and ``kubernetes.service_endpoints``. A look that fails says so, and never that
the thing is well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.database_answer import how_it_answers
from nightshift.remediation.clients.http_probe import ProbeAnswer, probe
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.resources import AUTOSCALERS
from nightshift.remediation.clients.kubernetes.service_look import look_at_dependency
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.clients.prometheus import query, selector
from nightshift.remediation.clients.redis_server import silence
from nightshift.remediation.connections import Connection, HttpConnection, PostgresConnection
from nightshift.remediation.databases.backends import ACTIVE
from nightshift.remediation.databases.down_planner import Answering
from nightshift.remediation.errors import AuthenticationError, ConfigurationError, NightshiftError
from nightshift.remediation.inventory import serves
from nightshift.remediation.requests.evidence import Answered
from nightshift.remediation.requests.policy import (
    DatabaseRule,
    DependencyRule,
    HttpRule,
    RedisRule,
    RequestsPolicy,
    ServiceRule,
)
from nightshift.remediation.text import counted, printable

_LONG = 300.0
"""Seconds; octollm.HighErrorRate.r2.2."""
_DOWN = frozenset((Answering.SILENT, Answering.NOT_READY, Answering.READ_ONLY))
Connections = Mapping[str, Connection]


def ask_dependency(
    rule: DependencyRule, connections: Connections, policy: RequestsPolicy, place: tuple[Cluster, str] | None
) -> Answered:
    """How one of them answers.

    Args:
        rule: which.
        connections: of the system.
        policy: of the runbook.
        place: the cluster and the namespace of the service; None: it runs in none.

    Raises:
        ConfigurationError: the catalogue knows no such connection any more.
    """
    if isinstance(rule, DatabaseRule):
        return _database(rule, connections)
    if isinstance(rule, RedisRule):
        return _redis(rule, connections)
    if isinstance(rule, HttpRule):
        return _http(rule, connections)
    return _service(rule, connections, policy, place)


@serves(
    "cryptofunk.HighErrorRate: d5 r1.1",
    "bybit_strategy_tester.HighErrorRate: d6 d7",
    "trading_signals.HighErrorRate: r4.1",
    "octollm.HighErrorRate: r2.2",
)
def _database(rule: DatabaseRule, connections: Connections) -> Answered:
    """A connection, a statement, and how many connections are in use; each closed again at once."""
    connection = connections.get(rule.connection)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {rule.connection!r} in the catalogue any more.")
    known: dict[str, Any] = {"name": printable(rule.connection, 80), "kind": rule.kind, "repaired_by": rule.repaired_by}
    known["pool_repaired_by"] = rule.pool_repaired_by
    began = time.monotonic()
    answering, says, standby = how_it_answers(rule.connection, connection)
    took = time.monotonic() - began
    if answering is not Answering.WELL:
        down = answering in _DOWN and not (answering is Answering.READ_ONLY and standby)
        answers = False if down else None if answering is Answering.REFUSED else True
        full = answering is Answering.FULL
        return Answered(**known, answers=answers, says=says or str(answering), full=full, refuses_us=answers is None)
    return _crowd(rule, connection, known, took)


@serves("trading_signals.HighAPILatency: d2")
def _crowd(rule: DatabaseRule, connection: PostgresConnection, known: dict[str, Any], took: float) -> Answered:
    try:
        with open_postgres(rule.connection, connection) as session:
            server = look_at_server(session)
    except NightshiftError as error:
        return Answered(**known, answers=True, says=f"answers; its sessions were not seen: {error}", seconds=took)
    percent = 100 * len(server.clients) / server.room
    long = sum(one.state == ACTIVE and one.query_age > _LONG and one.is_client for one in server.clients)
    says = f"answers; {len(server.clients)} of {counted(server.room, 'connection')} in use"
    says += f", {counted(long, 'statement')} for more than 5 minutes" * bool(long)
    full = percent >= rule.full_percent
    return Answered(
        **known, answers=True, says=says, seconds=took, full_percent=percent, full=full, long_statements=long
    )


@serves(
    "cryptofunk.HighErrorRate: d6",
    "bybit_strategy_tester.HighErrorRate: d9",
    "trading_signals.HighErrorRate: r3.2",
    "trading_signals.HighAPILatency: d4 r3.2",
)
def _redis(rule: RedisRule, connections: Connections) -> Answered:
    known: dict[str, Any] = {"name": printable(rule.connection, 80), "kind": rule.kind, "repaired_by": rule.repaired_by}
    began = time.monotonic()
    try:
        silent = silence(rule.connection, connections)
    except AuthenticationError as error:
        return Answered(**known, answers=None, says=str(error), refuses_us=True)
    if silent is None:
        return Answered(**known, answers=True, says="answers PING", seconds=time.monotonic() - began)
    return Answered(**known, answers=False, says=silent.why, full=silent.too_many_clients)


@serves(
    "cryptofunk.HighErrorRate: d7 d8 r2.1 r2.2",
    "bybit_strategy_tester.HighErrorRate: d8",
    "trading_signals.HighErrorRate: r3.3",
)
def _http(rule: HttpRule, connections: Connections) -> Answered:
    connection = connections.get(rule.connection)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no HTTP connection {rule.connection!r} in the catalogue any more.")
    answer = probe(connection, rule.path, rule.field)
    status = answer.status
    return Answered(
        name=printable(rule.connection, 80),
        kind=rule.kind,
        answers=_is_well(rule, answer),
        says=_said(rule, answer),
        seconds=answer.seconds if status is not None else None,
        limits_us=status == 429,
        refuses_us=status in (401, 403),
        external=rule.external,
        itself=rule.itself,
        repaired_by=rule.repaired_by,
    )


def _is_well(rule: HttpRule, answer: ProbeAnswer) -> bool | None:
    """None where it answers and only refuses us: then others may be served."""
    if answer.status in (401, 403, 429):
        return None
    if answer.status is None or answer.status >= 500 or answer.status == 404:
        return False
    if rule.field is None:
        return answer.status < 400
    return type(answer.field) is type(rule.equals) and answer.field == rule.equals


def _said(rule: HttpRule, answer: ProbeAnswer) -> str:
    if answer.status is None:
        return f"does not answer within its time: {answer.silent}"
    said = f"answers with {answer.status} after {answer.seconds:.2g} s"
    if rule.field is not None:
        told = answer.field if isinstance(answer.field, str | int | float | bool) else "nothing"
        said += f", and {rule.field} is {printable(str(told), 80)}"
    return said


@serves("octollm.HighErrorRate: r3.2")
def _service(
    rule: ServiceRule, connections: Connections, policy: RequestsPolicy, place: tuple[Cluster, str] | None
) -> Answered:
    known: dict[str, Any] = {"name": printable(rule.service, 80), "kind": rule.kind, "repaired_by": rule.repaired_by}
    if place is None:
        return Answered(**known, answers=None, says="it is a Service, and no cluster is known")
    found = look_at_dependency(place[0], place[1], rule.service)
    known |= {"workload": found.workload, "ceiling": rule.ceiling}
    if found.ready_endpoints is None:
        return Answered(**known, answers=None, says="we may not look at it")
    if not found.ready_endpoints:
        return Answered(**known, answers=False, says="nobody answers behind it: no pod is ready")
    seconds = _slowness(rule, connections, policy, place[1]) if rule.slow_seconds is not None else None
    slow = seconds is not None and rule.slow_seconds is not None and seconds > rule.slow_seconds
    known |= {"autoscalers": tuple(place[0].list(AUTOSCALERS, place[1]))} if slow else {}
    says = f"{counted(found.ready_endpoints, 'pod')} ready"
    says += f", its requests take {seconds:.3g} s at the 95th percentile" if seconds is not None else ""
    return Answered(**known, answers=True, says=says, seconds=seconds, slow=slow)


@serves("octollm.HighErrorRate: r3.3")
def _slowness(rule: ServiceRule, connections: Connections, policy: RequestsPolicy, namespace: str) -> float | None:
    """The 95th percentile of what it takes, in seconds, over the window; None: nobody asked it, or nobody measures."""
    connection = connections.get(policy.prometheus)
    if not isinstance(connection, HttpConnection):
        return None
    labels = {policy.name_label: rule.service}
    labels |= {policy.namespace_label: namespace} if policy.namespace_label else {}
    series = f"{selector(rule.buckets, labels)}[{math.ceil(policy.window)}s]"
    found = _silently(lambda: query(policy.prometheus, connection, _P95 % series))
    values = [one.value[1] for one in found or () if math.isfinite(one.value[1])]
    return values[0] if len(values) == 1 else None


_P95 = "histogram_quantile(0.95, sum by (le) (rate(%s)))"


def _silently(ask: Callable[[], Any]) -> Any:
    """The answer; None where there is none: beside the requests themselves this is a hint only."""
    try:
        return ask()
    except NightshiftError:
        return None
