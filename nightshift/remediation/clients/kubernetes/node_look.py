"""Everything that the planner of a node's repair gets to know, read in one go; nothing is changed.

Operations ``kubernetes.list_nodes``, ``describe_node`` and ``list_pods``: octollm.NodeNotReady.d1, d2, d10, d11. Lists
are read page by page; of the pods of other nodes only their requests are kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import ForbiddenError
from nightshift.remediation.clients.kubernetes.parsing.common import moment, part, text
from nightshift.remediation.clients.kubernetes.resources import (
    DAEMON_SETS,
    DISRUPTION_BUDGETS,
    EVENTS,
    LEASES,
    NODES,
    PODS,
    VOLUMES,
)
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.node_diagnosis import (
    STALE_AFTER,
    HostLook,
    NodeDiagnosis,
    heard_at,
    seconds_well,
)
from nightshift.remediation.kubernetes.node_verification import NodeSample
from nightshift.remediation.kubernetes.objects import Node, Pod, Resources
from nightshift.remediation.kubernetes.room import requests_of

_NODE_LEASES = "kube-node-lease"


@serves("octollm.NodeNotReady: d1 d2 d10 d11")
def diagnose_node(cluster: Cluster, name: str, host: HostLook | None = None) -> NodeDiagnosis:
    """The node, its pods with what protects them, and the other nodes with the room they have.

    Args:
        cluster: open.
        name: of the node.
        host: what its host says, where somebody looked.

    Raises:
        ObjectNotFoundError: there is no such node any more.
        NightshiftError: something could not be read; nothing is concluded from a part.
    """
    node = cluster.get(NODES, name)
    pods: list[Pod] = []
    requested: dict[str, Resources] = {}
    nodes = list(cluster.list(NODES))
    for pod in cluster.list(PODS):
        if pod.node == name:
            pods.append(pod)
        elif pod.node and not pod.is_finished:
            requested[pod.node] = _plus(requested.get(pod.node, Resources()), pod)
    for other in nodes:
        requested.setdefault(other.name, Resources())
    now = _now(cluster, nodes)
    return NodeDiagnosis(
        node=node,
        nodes=tuple(nodes),
        pods=tuple(pods),
        budgets=tuple(cluster.list(DISRUPTION_BUDGETS)),
        volumes=tuple(volume for volume in cluster.list(VOLUMES) if volume.nodes),
        daemon_sets=frozenset((found.namespace, found.name) for found in cluster.list(DAEMON_SETS)),
        requested=requested,
        events=tuple(cluster.list(EVENTS, fields={"involvedObject.kind": "Node", "involvedObject.name": name})),
        host=host,
        renewed_at=_renewed_at(cluster, nodes, now),
        now=now,
    )


def sample_node(cluster: Cluster, name: str, since: datetime) -> NodeSample:
    """One look after a repair was begun.

    Args:
        cluster: open.
        name: of the node.
        since: when the trouble began.

    Raises:
        NightshiftError: something could not be read.
    """
    nodes = list(cluster.list(NODES))
    node = next((found for found in nodes if found.name == name), None)
    waiting = {_owner(pod) for pod in cluster.list(PODS, fields={"status.phase": "Pending"}) if _homeless(pod, since)}
    return NodeSample(
        at=time.monotonic(),
        node=node,
        well_for=0.0 if node is None else seconds_well(node, cluster.now()),
        replacements_ready=sum(_is_new(found, since) and found.is_ready for found in nodes),
        without_place=tuple(sorted(waiting)),
    )


def _homeless(pod: Pod, since: datetime) -> bool:
    """Made since the trouble began, and no node takes it."""
    scheduled = pod.condition("PodScheduled")
    return _is_new(pod, since) and not pod.node and scheduled is not None and scheduled.status == "False"


def _is_new(found: Node | Pod, since: datetime) -> bool:
    return found.meta.created_at is not None and found.meta.created_at >= since


def _owner(pod: Pod) -> str:
    controller = pod.meta.controller
    return f"{pod.namespace}/{controller.name if controller is not None else pod.name}"


def _plus(sum_so_far: Resources, pod: Pod) -> Resources:
    cpu, memory, number = requests_of(pod)
    return Resources(
        cpu_millicores=(sum_so_far.cpu_millicores or 0) + cpu,
        memory_bytes=(sum_so_far.memory_bytes or 0) + memory,
        pods=(sum_so_far.pods or 0) + number,
    )


def _now(cluster: Cluster, nodes: list[Node]) -> datetime:
    """The cluster's clock, but never before the newest heartbeat, so that a slow clock makes no trouble look young."""
    return max([cluster.now(), *heard_at(nodes)])


def _renewed_at(cluster: Cluster, nodes: Sequence[Node], now: datetime) -> datetime | None:
    """The newest sign of life by the nodes' leases, which come every ten seconds; asked only where reports are old."""
    if any((now - at).total_seconds() <= STALE_AFTER for at in heard_at(nodes)):
        return None
    names = {node.name for node in nodes}
    renewed: list[datetime] = []
    with suppress(ForbiddenError):
        for lease in cluster.list(LEASES, _NODE_LEASES):
            at = moment(text(part(lease, "spec"), "renewTime") or None)
            if at is not None and part(lease, "metadata").get("name") in names:
                renewed.append(at)
    return max(renewed, default=None)
