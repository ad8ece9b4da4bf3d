"""Look at a trading agent or session, at what it needs, and watch it after a repair."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime

from nightshift.remediation.clients.agent_tables import read_agents
from nightshift.remediation.clients.kubernetes.agent_look import look_at_agent_pods, newest_lines, refused_keys
from nightshift.remediation.clients.kubernetes.cluster import cluster_connection, open_cluster
from nightshift.remediation.clients.kubernetes.workload_look import sample_pods
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.clients.resource_use import Meter
from nightshift.remediation.clients.service_probe import http_connection, probe
from nightshift.remediation.clients.trading_api import is_paused
from nightshift.remediation.connections import Connection, PostgresConnection
from nightshift.remediation.errors import ConfigurationError, NightshiftError, TargetUnreachableError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.load import Kind
from nightshift.remediation.kubernetes.objects import Workload
from nightshift.remediation.kubernetes.pods_verification import PodsSample
from nightshift.remediation.trading_agents.facts import AgentDiagnosis, DatabaseSeen, NeedSeen, began_at
from nightshift.remediation.trading_agents.policy import AgentUnavailablePolicy
from nightshift.remediation.trading_agents.verification import AgentSample, held_for, why_not_well
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0
_LOOKS = 20
_LONGEST_PAUSE = 15.0

Connections = Mapping[str, Connection]
Place = tuple[str, str, str]
"""Cluster, namespace, Deployment."""


@diagnostic("look at an agent", of="{place}")
def look_at_agent(place: Place, connections: Connections, policy: AgentUnavailablePolicy) -> AgentDiagnosis | None:
    """Its pods, what it needs and what it wrote; None: its Deployment exists no more."""
    cluster, namespace, name = place
    meter = None
    if policy.prometheus is not None:
        metrics = http_connection(policy.prometheus, connections)
        meter = Meter(policy.prometheus, metrics, Kind.CPU, policy.window)
    with open_cluster(cluster, cluster_connection(cluster, connections), within=LOOK_SECONDS) as opened:
        pods = look_at_agent_pods(opened, namespace, name, policy, meter)
    if pods is None:
        return None
    return AgentDiagnosis(
        pods=pods, database=_database(name, connections, policy), needs=_needs(place, connections, policy)
    )


@serves("cryptofunk.TradingSessionFailure: d5 d6", "cryptofunk.AgentDown: r2.1")
def _needs(place: Place, connections: Connections, policy: AgentUnavailablePolicy) -> tuple[NeedSeen, ...]:
    """How each service answers at its configured address."""
    cluster, namespace, _ = place
    found = []
    for need in policy.needs.services:
        answer, refused, says = probe(need, connections), 0, ""
        if need.deployment is not None:
            with open_cluster(cluster, cluster_connection(cluster, connections), within=LOOK_SECONDS) as opened:
                refused, says = refused_keys(opened, namespace, need.deployment)
        found.append(NeedSeen(answer=answer, key_refused=refused, says=says))
    return tuple(found)


@serves("cryptofunk.AgentDown: r3.1")
def _database(name: str, connections: Connections, policy: AgentUnavailablePolicy) -> DatabaseSeen:
    connection = connections.get(policy.database)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {policy.database!r} in the catalogue any more.")
    try:
        with open_postgres(policy.database, connection) as session:
            seen = read_agents(session, name, policy)
    except TargetUnreachableError as error:
        return DatabaseSeen(complaint=str(error))
    if policy.session is None or policy.session.halt is None or seen.session is None:
        return seen
    rule, halted = policy.session.halt, None
    try:
        halted = is_paused(http_connection(rule.api, connections), rule)
    except NightshiftError:
        halted = None  # what is not known counts as a halt
    return seen.model_copy(update={"session": seen.session.model_copy(update={"halted": halted})})


@diagnostic("watch an agent", of="{place}")
def watch_agent(
    place: Place, connections: Connections, workload: Workload, policy: AgentUnavailablePolicy
) -> tuple[AgentSample, ...]:
    """Looks until it worked for ``hold`` seconds, or did not within ``wait``."""
    began, samples = time.monotonic(), list[AgentSample]()
    while True:
        pods, log, now = _pods(place, connections, workload)
        starts = [at for pod in pods.pods if (at := began_at(pod)) is not None]
        age = (now - min(starts)).total_seconds() if starts else 0.0
        database = _database(workload.name, connections, policy)
        samples.append(
            AgentSample(at=time.monotonic(), pods=pods, pods_age=age, log=log, database=database, name=workload.name)
        )
        well, waited = not why_not_well(samples[-1], policy), time.monotonic() - began
        if held_for(samples, policy) >= policy.hold or waited >= policy.wait + (policy.hold if well else 0):
            return tuple(samples)
        time.sleep(max(1.0, min(_LONGEST_PAUSE, policy.hold / _LOOKS)))


def _pods(place: Place, connections: Connections, workload: Workload) -> tuple[PodsSample, tuple[str, ...], datetime]:
    """The pods, the newest lines of the one that is worst off, and what time it is."""
    with open_cluster(place[0], cluster_connection(place[0], connections), within=LOOK_SECONDS) as opened:
        sample = sample_pods(opened, workload)
        worst = min(sample.pods, key=lambda pod: (pod.is_ready, pod.name), default=None)
        return sample, newest_lines(opened, worst) if worst is not None else (), opened.now()
