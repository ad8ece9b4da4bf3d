"""Look at a service whose requests fail or are slow, with all that may be behind it, and watch it after a repair."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.reading import look_at_service
from nightshift.remediation.clients.jaeger import failed_traces
from nightshift.remediation.clients.kubernetes.cluster import Cluster, cluster_connection, open_cluster
from nightshift.remediation.clients.kubernetes.workload_look import pods_of
from nightshift.remediation.clients.request_dependencies import ask_dependency
from nightshift.remediation.clients.request_quality import (
    Service,
    measure_requests,
    rate_of,
    trouble_since,
    worst_parts,
)
from nightshift.remediation.clients.request_surroundings import (
    Surroundings,
    around_containers,
    around_pods,
    disk_in_use,
    lines_of_loki,
    pool_in_use,
    rate_settings,
    use_of_pods,
)
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.compose.releases import released_at
from nightshift.remediation.connections import Connection, HttpConnection, KubernetesConnection
from nightshift.remediation.errors import ConfigurationError, NightshiftError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.remediation.kubernetes.pods_verification import judge
from nightshift.remediation.kubernetes.regression import RegressionDiagnosis
from nightshift.remediation.models import Target, Verdict
from nightshift.remediation.requests.evidence import Answered, ComposeDeployed, RequestEvidence
from nightshift.remediation.requests.failing_calls import FailingCall, failing_calls
from nightshift.remediation.requests.groups import group_errors
from nightshift.remediation.requests.policy import DependencyRule, RequestsPolicy, ServiceRule
from nightshift.tasks.kubernetes_pods import watch_pods
from nightshift.tasks.levels import watch_level
from nightshift.tasks.release_regression import LOOK_SECONDS, look_at_regression
from nightshift.tasks.steps import diagnostic

_LOOK_BACK = 3600.0
"""Seconds, where no release may be taken back."""
Connections = Mapping[str, Connection]


def service_of(target: Target, connections: Connections, policy: RequestsPolicy) -> Service:
    """Whose requests are measured.

    Raises:
        ConfigurationError: the catalogue has no such Prometheus any more.
    """
    metrics = connections.get(policy.prometheus)
    if not isinstance(metrics, HttpConnection):
        raise ConfigurationError(f"There is no Prometheus {policy.prometheus!r} in the catalogue any more.")
    in_cluster = policy.runs_on == "kubernetes"
    namespace = target.part("namespace") if in_cluster else ""
    return Service(policy.prometheus, metrics, namespace, target.path[-1])


@diagnostic("look at requests and what is behind them", of="{target}")
def look_at_requests(target: Target, connections: Connections, policy: RequestsPolicy) -> RequestEvidence | None:
    """How many fail or how slow they are, since when, its releases, what it needs, its log, memory and disk.

    None: what answers the requests exists no more.
    """
    if policy.runs_on == "kubernetes":
        return _in_cluster(target, connections, policy)
    return _in_compose(target, connections, policy)


@diagnostic("see whether requests are within their limit", of="{target}")
def within_limit(target: Target, connections: Connections, policy: RequestsPolicy) -> bool:
    """Whether there is nothing left to repair."""
    return measure_requests(service_of(target, connections, policy), policy)[0] <= policy.measure.at_most


@serves(
    "trading_signals.HighErrorRate: v1",
    "bybit_strategy_tester.HighErrorRate: v1",
    "cryptofunk.HighErrorRate: v1",
    "octollm.HighErrorRate: r1.4",
    "octollm.HighLatency: r6.4",
)
@diagnostic("watch requests of a service", of="{target}")
def watch_service(target: Target, connections: Connections, policy: RequestsPolicy) -> tuple[LevelSample, ...]:
    """Looks until requests were within their limit for ``hold`` seconds, or were not within ``wait``."""
    service = service_of(target, connections, policy)

    def measure() -> float:
        return measure_requests(service, policy)[0]

    return watch_level(measure, policy.measure.at_most, wait=policy.wait, hold=policy.hold)


def not_up(
    target: Target, connections: Connections, evidence: RequestEvidence, policy: RequestsPolicy
) -> Verdict | None:
    """Why what was done failed before requests could be measured; None: it did not. A container says so itself."""
    if not isinstance(evidence.deployed, RegressionDiagnosis):
        return None
    cluster = target.part("cluster")
    connection, workload = cluster_connection(cluster, connections), evidence.deployed.workload
    rollout = judge(watch_pods(cluster, connection, workload, wait=policy.wait, hold=0), 0)
    return None if rollout.healthy else rollout


def _in_cluster(target: Target, connections: Connections, policy: RequestsPolicy) -> RequestEvidence | None:
    cluster, namespace, name = (target.part(kind) for kind in ("cluster", "namespace", "deployment"))
    connection, service = connections.get(cluster), service_of(target, connections, policy)
    if not isinstance(connection, KubernetesConnection):
        raise ConfigurationError(f"There is no cluster {cluster!r} in the catalogue any more.")
    regression = look_at_regression(cluster, connection, service.connection, namespace, name, policy)
    if regression is None:
        return None
    evidence = RequestEvidence(name=name, value=regression.value, since=regression.since, deployed=regression)
    if regression.value <= policy.measure.at_most:
        return evidence
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        pods = pods_of(opened, regression.workload)
        around = around_pods(opened, pods, policy)
        answers = _answers(name, policy, connections, (opened, namespace))
        settings = rate_settings(opened, regression.workload, around)
    use_of_pods(pods, policy, connections, around)
    lines_of_loki(policy.loki, (namespace, name), policy.log_minutes, connections, around)
    return _whole(replace(evidence, settings=settings), service, connections, policy, around, answers)


def _in_compose(target: Target, connections: Connections, policy: RequestsPolicy) -> RequestEvidence | None:
    engine, name = target.part("compose"), target.part("service")
    service = service_of(target, connections, policy)
    value, at = measure_requests(service, policy)
    with open_engine(engine, connections) as opened:
        look = look_at_service(opened, name)
        if not look.containers:
            return None
        deployed = ComposeDeployed(engine=engine, look=look)
        evidence = RequestEvidence(name=name, value=value, since=None, deployed=deployed)
        if value <= policy.measure.at_most:
            return evidence
        around = around_containers(opened, look.containers, policy)
        frontend = released_at(look_at_service(opened, policy.frontend)) if policy.frontend is not None else None
    evidence = replace(evidence, since=_since(service, policy, at, look), frontend_released=frontend)
    return _whole(evidence, service, connections, policy, around, _answers(name, policy, connections, None))


def _since(service: Service, policy: RequestsPolicy, at: float, look: ServiceLook) -> datetime | None:
    look_back = 2 * policy.rollback.within if policy.rollback is not None else _LOOK_BACK
    return trouble_since(service, policy, at, look_back, released_at(look))


def _answers(
    name: str, policy: RequestsPolicy, connections: Connections, place: tuple[Cluster, str] | None
) -> tuple[Answered, ...]:
    return tuple(
        ask_dependency(rule, connections, policy, place) for rule in policy.dependencies if not _is(rule, name)
    )


@serves("octollm.HighErrorRate: d5 r3.1")
def _failing(
    service: Service, connections: Connections, policy: RequestsPolicy, around: Surroundings
) -> tuple[FailingCall, ...]:
    """Where its errors begin, by the traces of the time that its log is read for."""
    rule = policy.traces
    connection = connections.get(rule.connection) if rule is not None else None
    if rule is None or not isinstance(connection, HttpConnection):
        return ()
    now, called = time.time(), rule.service or service.name
    try:
        found = failed_traces(rule.connection, connection, called, start=now - 60 * policy.log_minutes, end=now)
    except NightshiftError as error:
        around.not_seen("its traces", error)
        return ()
    return failing_calls(found)


def _is(rule: DependencyRule, name: str) -> bool:
    """Nobody waits for itself."""
    return isinstance(rule, ServiceRule) and rule.service == name


@serves("trading_signals.HighErrorRate: d5", "cryptofunk.HighErrorRate: d4")
def _counted(service: Service, policy: RequestsPolicy) -> tuple[tuple[str, float], ...]:
    """What the runbook has counted beside the requests, where somebody counts it."""
    rates = ((rule.title, rate_of(service, rule.metric, rule.labels, policy.window)) for rule in policy.counters)
    return tuple((title, rate) for title, rate in rates if rate is not None)


def _whole(
    evidence: RequestEvidence,
    service: Service,
    connections: Connections,
    policy: RequestsPolicy,
    around: Surroundings,
    answers: tuple[Answered, ...],
) -> RequestEvidence:
    disk = disk_in_use(policy.disk, connections, around)
    pool = pool_in_use(policy.pool, service.name, connections, around)
    return replace(
        evidence,
        shares=worst_parts(service, policy),
        counted=_counted(service, policy),
        failing=_failing(service, connections, policy, around),
        dependencies=answers,
        groups=group_errors(around.lines),
        pressure=around.pressure(disk, pool),
    )
