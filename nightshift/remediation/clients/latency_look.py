"""Where the time of slow requests goes: traces, statements, cache, measured parts, logs, CPU; nothing is changed.

Operations ``jaeger.find_traces``, ``postgres.slow_statements``, ``redis.info``, ``prometheus.query``,
``kubernetes.top_pods``, ``pod_logs``, ``docker.container_stats`` and ``container_logs``. Each look may fail by itself:
then why is told beside what the others saw.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from nightshift.remediation.caches.policy import TimeToLiveRule
from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.docker.engine import Engine
from nightshift.remediation.clients.docker.reading import containers_of, logs, usage
from nightshift.remediation.clients.indexes import BETWEEN_SECONDS, costly_statements
from nightshift.remediation.clients.jaeger import slow_traces
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.load_look import diagnose_pod_load
from nightshift.remediation.clients.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS
from nightshift.remediation.clients.kubernetes.workload_look import pods_of
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.clients.prometheus import query, selector
from nightshift.remediation.clients.redis_server import look, open_redis
from nightshift.remediation.clients.request_quality import Service
from nightshift.remediation.clients.resource_use import Meter
from nightshift.remediation.clients.statement_plans import plans_of, tables_read_whole
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.connections import Connection, HttpConnection, PostgresConnection
from nightshift.remediation.databases.statement_plans import once_for_each_row
from nightshift.remediation.errors import ConfigurationError, NightshiftError, NotMeasuredError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.objects import Workload
from nightshift.remediation.kubernetes.pod_load_planner import PodLoad
from nightshift.remediation.requests.latency_evidence import CacheSeen, ComposeLoad, PartSeen, StatementsSeen, Steps
from nightshift.remediation.requests.latency_policy import (
    CacheRule,
    LogRule,
    PartRule,
    StatementsRule,
)
from nightshift.remediation.requests.policy import RequestsPolicy, TracesRule
from nightshift.remediation.requests.slow_lines import SlowLine, slow_lines
from nightshift.remediation.requests.traces import repeated_calls, slowest_calls
from nightshift.remediation.text import printable

Connections = Mapping[str, Connection]
S = TypeVar("S")
_MOST_OF_A_PART = 3
_LINES = 500
_MOST_LOGS = 5
_EXPLAINED = 3


def seen(what: str, unknown: list[str], ask: Callable[[], S]) -> S | None:
    """What was seen; None where it could not be looked at, and why is kept."""
    try:
        return ask()
    except ConfigurationError:
        raise
    except NightshiftError as error:
        unknown.append(f"{what}: {error}")
        return None


@serves("octollm.HighLatency: d8 r1.1 r4.1 r5.1")
def steps_of(rule: TracesRule, connections: Connections, service: str, at_least: float, minutes: int) -> Steps:
    """Where the time of the slowest traces went, of those of the last minutes."""
    connection = _http(rule.connection, connections)
    end = time.time()
    name = rule.service or service
    traces = slow_traces(rule.connection, connection, name, at_least=at_least, start=end - 60 * minutes, end=end)
    return Steps(traces=len(traces), calls=slowest_calls(traces), repeated=repeated_calls(traces))


@serves(
    "octollm.HighLatency: d9",
    "cryptofunk.AgentHighLatency: d4 d7",
    "bybit_strategy_tester.SlowResponseTime: d2",
)
def statements_of(rule: StatementsRule, connections: Connections, per_second: float | None) -> StatementsSeen:
    """What cost most within two seconds, the plans of what is slow, and large tables that are read whole."""
    connection = connections.get(rule.database)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {rule.database!r} in the catalogue any more.")
    with open_postgres(rule.database, connection) as session:
        server = look_at_server(session)
        statements = costly_statements(session)
        slow = [one for one in statements if one.milliseconds / max(1, one.calls) >= rule.slow_milliseconds]
        return StatementsSeen(
            statements=statements,
            seconds=BETWEEN_SECONDS,
            plans=plans_of(session, (slow or statements)[:_EXPLAINED], rule.large_rows),
            read_whole=tables_read_whole(session, rule.large_rows),
            connections_left=server.room - len(server.clients),
            once_for_each_row=once_for_each_row(statements, BETWEEN_SECONDS, per_second),
        )


@serves("octollm.HighLatency: d10 r2.1 r2.2")
def cache_of(rule: CacheRule, connections: Connections, place: tuple[Cluster, str] | None) -> CacheSeen:
    """Its lookups over a short time, its memory, and how long entries live."""
    with open_redis(rule.redis, connections) as client:
        first = look(client, sample=False)
        time.sleep(rule.measure)
        second = look(client, first.counters, sample=False)
    if first.run_id != second.run_id:
        raise NotMeasuredError("It was started anew while its lookups were counted.")
    live = rule.time_to_live
    return CacheSeen(look=second, time_to_live=_time_to_live(live, place) if live is not None else None)


@serves("octollm.HighLatency: r2.4")
def _time_to_live(rule: TimeToLiveRule, place: tuple[Cluster, str] | None) -> str | None:
    if place is None:
        return None
    cluster, namespace = place
    try:
        found = cluster.get(CONFIG_MAPS, rule.configmap, namespace).get("data") or {}
    except ObjectNotFoundError:
        return None
    value = found.get(rule.key)
    return printable(value, 40) if isinstance(value, str) else None


@serves("cryptofunk.AgentHighLatency: d2 d3", "trading_signals.HighAPILatency: d3")
def parts_of(rules: Sequence[PartRule], service: Service, policy: RequestsPolicy) -> tuple[PartSeen, ...]:
    """The slowest of each measured part; a part that nobody used of late is missing."""
    place = {policy.namespace_label: service.namespace} if policy.namespace_label and service.namespace else {}
    found = []
    for rule in rules:
        by = ["le"] + ([rule.by] if rule.by is not None else [])
        series = f"{selector(rule.buckets, place)}[{math.ceil(policy.window)}s]"
        inner = f"sum by ({', '.join(by)}) (rate({series}))"
        expression = f"topk({_MOST_OF_A_PART}, histogram_quantile(0.95, {inner}))"
        for sample in query(service.prometheus, service.connection, expression):
            if math.isfinite(sample.value[1]):
                name = sample.metric.get(rule.by, "") if rule.by is not None else ""
                found.append(PartSeen(rule=rule, name=name, seconds=sample.value[1]))
    return tuple(found)


@serves("cryptofunk.AgentHighLatency: d6")
def lines_of_pods(
    rules: Sequence[LogRule], cluster: Cluster, namespace: str, name: str, minutes: int, at_least: float
) -> tuple[SlowLine, ...]:
    """Lines of the logs of pods that tell of something slow."""
    found: list[SlowLine] = []
    for rule in rules:
        workload = cluster.get(DEPLOYMENTS, rule.workload or name, namespace)
        for pod in pods_of(cluster, workload)[:_MOST_LOGS]:
            for container in pod.containers:
                log = cluster.logs(pod.name, pod.namespace, container.name, tail=_LINES, since_seconds=60 * minutes)
                found += slow_lines(log, rule.words, at_least)
    return tuple(sorted(found, key=lambda one: -one.seconds)[:_MOST_LOGS])


@serves("trading_signals.HighAPILatency: d5")
def lines_of_containers(
    rules: Sequence[LogRule], engine: Engine, name: str, minutes: int, at_least: float
) -> tuple[SlowLine, ...]:
    """Lines of the logs of containers that tell of something slow, of both streams."""
    found: list[SlowLine] = []
    for rule in rules:
        for one in containers_of(engine, rule.workload or name)[:_MOST_LOGS]:
            log = logs(engine, one.id, lines=_LINES, since=time.time() - 60 * minutes)
            found += slow_lines(log, rule.words, at_least)
    return tuple(sorted(found, key=lambda one: -one.seconds)[:_MOST_LOGS])


@serves("octollm.HighLatency: d6 d7 r3.1", "cryptofunk.AgentHighLatency: d5")
def load_of_pods(cluster: Cluster, workload: Workload, meter: Meter) -> PodLoad | None:
    """The container that uses most CPU of the workload's pods, beside its limit; None: they have no pod.

    Raises:
        NotMeasuredError: nobody measures its pods.
        NightshiftError: something could not be read.
    """
    pods = {pod.name for pod in pods_of(cluster, workload)}
    used = {key: amount for key, amount in meter.containers(namespace=workload.namespace).items() if key[1] in pods}
    if not used:
        raise NotMeasuredError(f"{meter.prometheus} has no CPU use of {printable(workload.name, 100)} now.")
    throttled = meter.throttled(namespace=workload.namespace)
    hottest = max(used, key=lambda key: (throttled.get(key, 0.0), used[key]))
    return diagnose_pod_load(cluster, workload.namespace, hottest[1], meter, 0)


def load_of_containers(engine: Engine, service: ServiceLook) -> ComposeLoad:
    """What all containers of the project use, and what their host has."""
    host = engine.api.info()
    running = [one for one in containers_of(engine) if one.state == "running"]
    return ComposeLoad(
        service=service,
        usages={one.id: usage(engine, one.id) for one in running},
        host_cpus=int(host["NCPU"]),
        host_memory=int(host["MemTotal"]),
    )


def _http(name: str, connections: Connections) -> HttpConnection:
    connection = connections.get(name)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no HTTP connection {name!r} in the catalogue any more.")
    return connection
