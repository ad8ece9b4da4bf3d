"""Look at a node of a Kubernetes cluster and at everything on it; wait for it to become well."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime

from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.nodes import look_at_node_host
from nightshift.remediation.clients.kubernetes.cluster import Cluster, open_cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.memory_look import Prometheus
from nightshift.remediation.clients.kubernetes.node_look import diagnose_node, sample_node
from nightshift.remediation.clients.node_use import measure_use
from nightshift.remediation.connections import HostConnection, KubernetesConnection
from nightshift.remediation.errors import NightshiftError, TargetUnreachableError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.node_diagnosis import HostLook, NodeDiagnosis
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.kubernetes.node_use import NodeUse
from nightshift.remediation.kubernetes.node_verification import NodeSample, is_settled
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0
"""For one look at a whole cluster of some thousand pods."""
_LONGEST_PAUSE = 15.0
_LOOKS = 20


@diagnostic("look at a node", of="{cluster} {node}")
def look_at_node(
    cluster: str, connection: KubernetesConnection, node: str, host: tuple[str, HostConnection] | None
) -> NodeDiagnosis | None:
    """The node, its host, its pods, their budgets, and the room elsewhere; None when the node is gone.

    Operations ``kubernetes.describe_node``, ``kubernetes.list_pods``, ``host.service_status`` and its kin.

    Args:
        cluster: the connection's name.
        connection: how it is reached.
        node: its name.
        host: the connection to its host and how it is reached; None: there is none.
    """
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        try:
            return diagnose_node(opened, node, None if host is None else _look_at_host(*host))
        except ObjectNotFoundError:
            return None


@diagnostic("measure what a node uses", of="{diagnosis.node.name}")
def look_at_use(prometheus: Prometheus, label: str, diagnosis: NodeDiagnosis) -> NodeUse:
    """Its CPU and memory, and who takes most of it; what is not measured is said."""
    return measure_use(prometheus, label, diagnosis)


def _look_at_host(name: str, connection: HostConnection) -> HostLook:
    """What the host says; that it says nothing is a finding, too."""
    try:
        with open_host(name, connection) as opened:
            return replace(look_at_node_host(opened), connection=name)
    except NightshiftError as error:
        return HostLook(reachable=False, connection=name, why_not=str(error).rstrip("."))


@diagnostic("measure a node", of="{cluster} {node}")
def measure_node(cluster: str, connection: KubernetesConnection, node: str, since: datetime) -> NodeSample:
    """One look: the node's conditions, and what of the pods made since then lacks a place."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        return sample_node(opened, node, since)


@diagnostic("see whether a node comes back", of="{cluster} {node}")
def wait_for_node(cluster: str, connection: KubernetesConnection, node: str, seconds: float) -> bool:
    """Whether it is well by itself within so many seconds."""
    until = time.monotonic() + seconds
    while True:
        with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
            samples = _look(opened, node, opened.now())
        if (samples and samples[-1].is_well) or time.monotonic() >= until:
            return bool(samples) and samples[-1].is_well
        time.sleep(max(0.0, min(_LONGEST_PAUSE, until - time.monotonic())))


@serves("octollm.NodeNotReady: r2.6 r4.3 r5.6")
@diagnostic("watch a node", of="{cluster} {node}")
def watch_node(
    cluster: str, connection: KubernetesConnection, node: str, policy: NodeNotReadyPolicy, since: datetime
) -> tuple[NodeSample, ...]:
    """Looks at the node until it is well for as long as it must be, or the time to wait is over.

    Args:
        cluster: the connection's name.
        connection: how it is reached.
        node: its name.
        policy: how long.
        since: when the trouble began; pods made since then, and without a place, are named.
    """
    began, samples = time.monotonic(), list[NodeSample]()
    while True:
        with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
            samples += _look(opened, node, since)
        waited = time.monotonic() - began
        well = bool(samples) and samples[-1].is_well
        if (samples and is_settled(samples, policy)) or waited >= policy.wait + (policy.hold if well else 0):
            return tuple(samples)
        time.sleep(max(1.0, min(_LONGEST_PAUSE, policy.wait / _LOOKS)))


def _look(cluster: Cluster, node: str, since: datetime) -> list[NodeSample]:
    """One look; none while the cluster does not answer, since that says nothing about the node."""
    try:
        return [sample_node(cluster, node, since)]
    except TargetUnreachableError:
        return []
