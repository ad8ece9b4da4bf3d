"""Look at the connections of a PostgreSQL server: who has them, and whether they get free."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from nightshift.remediation.clients import prometheus as metrics_of
from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.reading import look_at_service
from nightshift.remediation.clients.kubernetes.cluster import cluster_connection, open_cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import WORKLOADS
from nightshift.remediation.clients.pgbouncer import limits as limits_of
from nightshift.remediation.clients.pgbouncer import open_console, pools
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.connections import Connection, HttpConnection, PostgresConnection
from nightshift.remediation.databases.pool_cause import Need
from nightshift.remediation.databases.pool_planner import PoolDiagnosis
from nightshift.remediation.databases.pool_policy import (
    ConnectionPoolPolicy,
    LoadRule,
    PoolMetrics,
    ServiceRestart,
    WorkloadRestart,
)
from nightshift.remediation.databases.pool_use import PoolerLimits, PoolerPool, PoolLook, Use
from nightshift.remediation.databases.pool_verification import relieved_for
from nightshift.remediation.errors import ConfigurationError, NotMeasuredError, TargetUnreachableError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.objects import Workload
from nightshift.remediation.kubernetes.rollout_state import RolloutState, rollout_status
from nightshift.remediation.text import printable
from nightshift.tasks.steps import diagnostic

Connections = dict[str, Connection]
_LOOKS = 30
_LONGEST_PAUSE = 15.0
_MOST_POOLS = 100


@diagnostic("look at connections", of="{database}")
def look_at_pool(database: str, connections: Connections, policy: ConnectionPoolPolicy) -> PoolLook:
    """Sessions and pools (``postgres.connection_summary``, ``http.read_metrics``)."""
    return _look(database, connections, policy)


@serves(
    "octollm.DatabaseConnectionPoolExhausted: d1 d2 d3 d4 r1.1 r2.1 r3.1 r3.4 r5.1",
    "trading_signals.DatabaseConnectionPoolExhausted: d1 d2 d3",
    "cryptofunk.DatabaseConnectionPoolExhausted: d1 d2 d3 d4",
    "cryptofunk.DatabaseConnectionPoolCritical: d1 d2",
    "bybit_strategy_tester.ConnectionPoolExhausted: d1 d2 d3",
)
@diagnostic("find what holds connections", of="{database}")
def diagnose_pool(database: str, connections: Connections, policy: ConnectionPoolPolicy) -> PoolDiagnosis:
    """One look, what the load needs (``calculate.pool_size``), and the workloads that may be restarted."""
    look = _look(database, connections, policy)
    needs = tuple(need for rule in policy.load if (need := _need(rule, connections, policy)) is not None)
    return PoolDiagnosis(
        look=look, needs=needs, workloads=_workloads(connections, policy), services=_services(connections, policy)
    )


@serves(
    "octollm.DatabaseConnectionPoolExhausted: r1.3 r2.3 v1",
    "trading_signals.DatabaseConnectionPoolExhausted: v1",
    "cryptofunk.DatabaseConnectionPoolExhausted: v1",
    "cryptofunk.DatabaseConnectionPoolCritical: v1",
    "bybit_strategy_tester.ConnectionPoolExhausted: v1",
)
@diagnostic("watch connections", of="{database}")
def watch_pool(
    database: str, connections: Connections, policy: ConnectionPoolPolicy
) -> tuple[tuple[PoolLook, ...], str]:
    """Looks until connections were free for ``hold`` seconds, or were not within ``wait``; why the last look failed."""
    began, looks, unknown = time.monotonic(), list[PoolLook](), ""
    while True:
        try:
            # A connection for each look: one that idles for minutes is one fewer for others.
            looks.append(replace(_look(database, connections, policy), rolling=_rolling(connections, policy)))
            unknown = ""
        except TargetUnreachableError as error:
            unknown = str(error)
        held = relieved_for(looks, policy) if looks and not unknown else 0.0
        waited = time.monotonic() - began
        if held >= policy.hold or waited >= policy.wait + (policy.hold if held else 0):
            return tuple(looks), unknown
        time.sleep(max(0.2, min(_LONGEST_PAUSE, policy.hold / _LOOKS)))


def _look(database: str, connections: Connections, policy: ConnectionPoolPolicy) -> PoolLook:
    connection = connections.get(database)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {database!r} in the catalogue any more.")
    with open_postgres(database, connection) as session:
        server = look_at_server(session)
    said, unknown = _metrics(policy.metrics, connections) if policy.metrics is not None else ((), "")
    pooler, limits, silent = _pooler(policy, connections)
    return PoolLook(
        at=time.monotonic(),
        server=server,
        metrics=said,
        metrics_silent=unknown,
        pooler=pooler,
        pooler_limits=limits,
        pooler_silent=silent,
    )


def _pooler(
    policy: ConnectionPoolPolicy, connections: Connections
) -> tuple[tuple[PoolerPool, ...], PoolerLimits | None, str]:
    """What PgBouncer says; one that says nothing is a finding, too."""
    if policy.pooler is None:
        return (), None, ""
    try:
        with open_console(policy.pooler.console, connections) as console:
            return pools(console), limits_of(console), ""
    except TargetUnreachableError as error:
        return (), None, str(error)


def _metrics(rule: PoolMetrics, connections: Connections) -> tuple[tuple[Use, ...], str]:
    """What each application says of its pool, or why that is not known."""
    try:
        return _fullest_processes(rule, _http(rule.prometheus, connections)), ""
    except (TargetUnreachableError, NotMeasuredError) as error:
        return (), str(error)


def _fullest_processes(rule: PoolMetrics, connection: HttpConnection) -> tuple[Use, ...]:
    """Each process has a pool of its own: together they would hide the one that keeps its requests waiting."""

    def each(metric: str) -> dict[frozenset[tuple[str, str]], float]:
        samples = metrics_of.query(
            rule.prometheus, connection, f"sum by ({rule.by}, namespace, pod, instance) ({metric})"
        )
        return {frozenset(one.metric.items()): one.value[1] for one in samples if math.isfinite(one.value[1])}

    used = each(rule.in_use)
    sizes = each(rule.size) if rule.fixed_size is None else dict.fromkeys(used, float(rule.fixed_size))
    fullest: dict[str, Use] = {}
    for process, amount in used.items():
        if sizes.get(process, 0) <= 0:
            continue
        name = rule.application or dict(process).get(rule.by, "")
        use = Use(name=printable(name, 80), used=amount, size=sizes[process], own_word=True)
        if name not in fullest or use.percent > fullest[name].percent:
            fullest[name] = use
    return tuple(fullest[name] for name in sorted(fullest)[:_MOST_POOLS])


def _need(rule: LoadRule, connections: Connections, policy: ConnectionPoolPolicy) -> Need | None:
    """None where it cannot be told: then no size is computed."""
    connection, pool = _http(rule.prometheus, connections), policy.pool_of(rule.application)
    values = []
    for expression in (rule.requests_per_second, rule.seconds_per_request):
        try:
            samples = metrics_of.query(rule.prometheus, connection, expression)
        except NotMeasuredError:
            return None
        if len(samples) != 1 or not math.isfinite(samples[0].value[1]):
            return None
        values.append(samples[0].value[1])
    return Need(pool, *values) if pool is not None and values[0] > 0 else None


def _rolling(connections: Connections, policy: ConnectionPoolPolicy) -> str:
    """Pods that are replaced meanwhile still connect, or give their connections back (``rollout_status``)."""
    states = (rollout_status(workload) for workload in _workloads(connections, policy))
    return next((one.words for one in states if one.state is not RolloutState.COMPLETE), "")


def _workloads(connections: Connections, policy: ConnectionPoolPolicy) -> tuple[Workload, ...]:
    found = []
    for pool in policy.pools:
        if not isinstance(rule := pool.restart, WorkloadRestart):
            continue
        with open_cluster(rule.cluster, cluster_connection(rule.cluster, connections)) as cluster:
            try:
                found.append(cluster.get(WORKLOADS[rule.kind], rule.name, rule.namespace))
            except ObjectNotFoundError:
                continue
    return tuple(found)


def _services(connections: Connections, policy: ConnectionPoolPolicy) -> tuple[ServiceLook, ...]:
    """Those that can be read: an engine that is away must not hide the sessions."""
    rules = [pool.restart for pool in policy.pools if isinstance(pool.restart, ServiceRestart)]
    if policy.pooler is not None and policy.pooler.restart is not None:
        rules.append(policy.pooler.restart)
    found = []
    for rule in rules:
        try:
            with open_engine(rule.docker, connections) as engine:
                found.append(look_at_service(engine, rule.service))
        except TargetUnreachableError:
            continue
    return tuple(found)


def _http(name: str, connections: Connections) -> HttpConnection:
    connection = connections.get(name)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no connection {name!r} in the catalogue any more.")
    return connection
