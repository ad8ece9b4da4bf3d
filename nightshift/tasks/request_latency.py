"""Look at where the time of slow requests goes, and whether errors rise by what is done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nightshift.remediation.clients import latency_look
from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.kubernetes.cluster import Cluster, cluster_connection, open_cluster
from nightshift.remediation.clients.latency_look import seen
from nightshift.remediation.clients.request_dependencies import ask_dependency
from nightshift.remediation.clients.request_quality import Service, measure_requests, request_rates
from nightshift.remediation.clients.resource_use import Meter
from nightshift.remediation.connections import Connection, HttpConnection
from nightshift.remediation.kubernetes.load import Kind
from nightshift.remediation.kubernetes.objects import Workload
from nightshift.remediation.kubernetes.regression import RegressionDiagnosis
from nightshift.remediation.models import Target
from nightshift.remediation.open_beside import OpenBeside
from nightshift.remediation.requests.evidence import Answered, ComposeDeployed, RequestEvidence
from nightshift.remediation.requests.latency_evidence import LatencyEvidence, StatementsSeen, Steps
from nightshift.remediation.requests.latency_policy import RequestLatencyPolicy
from nightshift.remediation.requests.policy import DatabaseRule
from nightshift.tasks.requests import service_of
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0
Connections = Mapping[str, Connection]


@diagnostic("find where the time of requests goes", of="{target}")
def look_at_latency(
    target: Target,
    connections: Connections,
    policy: RequestLatencyPolicy,
    requests: RequestEvidence,
    opposed: Sequence[OpenBeside],
) -> LatencyEvidence:
    """Everything the planner gets to know; for requests that are fast enough, no more than that they are."""
    if requests.value <= policy.measure.at_most:
        return LatencyEvidence(requests=requests)
    service, unknown = service_of(target, connections, policy), list[str]()
    rates = seen("how many requests there are", unknown, lambda: request_rates(service, policy, policy.usual_before))
    now, usual = rates or (None, None)
    found = _within(target, connections, policy, requests, unknown)
    return LatencyEvidence(
        requests=requests,
        steps=_steps(policy, connections, service, unknown),
        database=_statements(policy, connections, now, unknown),
        parts=seen("measured parts", unknown, lambda: latency_look.parts_of(policy.parts, service, policy)) or (),
        lines=found.lines,
        cache=found.cache,
        load=found.load,
        per_second=now,
        usual_per_second=usual,
        opposed=tuple(opposed),
        unknown=tuple(unknown),
    )


@diagnostic("see whether errors rise", of="{target}")
def share_of_errors(target: Target, connections: Connections, policy: RequestLatencyPolicy) -> float | None:
    """Percent of requests that fail; None: it is not measured, or cannot be told."""
    if policy.errors is None:
        return None
    other = policy.model_copy(update={"measure": policy.errors})
    found = seen("errors", [], lambda: measure_requests(service_of(target, connections, policy), other))
    return None if found is None else found[0]


@diagnostic("see whether databases have connections left", of="{target}")
def needs_now(target: Target, connections: Connections, policy: RequestLatencyPolicy) -> tuple[Answered, ...]:  # noqa: ARG001 - the name of the task
    """How the databases that requests need answer."""
    rules = [rule for rule in policy.dependencies if isinstance(rule, DatabaseRule)]
    return tuple(ask_dependency(rule, connections, policy, None) for rule in rules)


def _steps(policy: RequestLatencyPolicy, connections: Connections, service: Service, unknown: list[str]) -> Steps:
    rule, limit = policy.traces, policy.measure.at_most_seconds
    if rule is None:
        return Steps()
    minutes = policy.log_minutes
    found = seen("traces", unknown, lambda: latency_look.steps_of(rule, connections, service.name, limit, minutes))
    return found or Steps()


def _statements(
    policy: RequestLatencyPolicy, connections: Connections, per_second: float | None, unknown: list[str]
) -> StatementsSeen:
    rule = policy.statements
    if rule is None:
        return StatementsSeen()
    found = seen("statements", unknown, lambda: latency_look.statements_of(rule, connections, per_second))
    return found or StatementsSeen()


def _within(
    target: Target,
    connections: Connections,
    policy: RequestLatencyPolicy,
    requests: RequestEvidence,
    unknown: list[str],
) -> LatencyEvidence:
    """What only the platform can tell: CPU, logs, and the cache with its configuration."""
    deployed = requests.deployed
    if isinstance(deployed, RegressionDiagnosis):
        metrics = service_of(target, connections, policy).connection
        name = target.part("cluster")
        with open_cluster(name, cluster_connection(name, connections), within=LOOK_SECONDS) as cluster:
            return _in_cluster(cluster, metrics, connections, policy, deployed.workload, requests, unknown)
    return _in_compose(deployed, connections, policy, requests, unknown)


def _in_cluster(
    cluster: Cluster,
    metrics: HttpConnection,
    connections: Connections,
    policy: RequestLatencyPolicy,
    workload: Workload,
    requests: RequestEvidence,
    unknown: list[str],
) -> LatencyEvidence:
    meter, rule = Meter(policy.prometheus, metrics, Kind.CPU, policy.window), policy.cache
    since, limit = policy.log_minutes, policy.measure.at_most_seconds
    place = (cluster, workload.namespace)
    cache = seen("the cache", unknown, lambda: latency_look.cache_of(rule, connections, place)) if rule else None
    lines = seen(
        "logs",
        unknown,
        lambda: latency_look.lines_of_pods(policy.logs, cluster, place[1], workload.name, since, limit),
    )
    load = seen("CPU of its pods", unknown, lambda: latency_look.load_of_pods(cluster, workload, meter))
    return LatencyEvidence(requests=requests, load=load, lines=lines or (), cache=cache)


def _in_compose(
    deployed: ComposeDeployed,
    connections: Connections,
    policy: RequestLatencyPolicy,
    requests: RequestEvidence,
    unknown: list[str],
) -> LatencyEvidence:
    rule, look = policy.cache, deployed.look
    since, limit = policy.log_minutes, policy.measure.at_most_seconds
    with open_engine(deployed.engine, connections) as engine:
        load = seen("what its containers use", unknown, lambda: latency_look.load_of_containers(engine, look))
        lines = seen(
            "logs",
            unknown,
            lambda: latency_look.lines_of_containers(policy.logs, engine, look.service, since, limit),
        )
    cache = seen("the cache", unknown, lambda: latency_look.cache_of(rule, connections, None)) if rule else None
    return LatencyEvidence(requests=requests, load=load, lines=lines or (), cache=cache)
