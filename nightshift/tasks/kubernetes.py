"""Look at a Kubernetes cluster: what planners need of a node, a workload and a claim, read only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.resources import (
    DAEMON_SETS,
    DISRUPTION_BUDGETS,
    EVENTS,
    NODES,
    PODS,
    VOLUMES,
    WORKLOADS,
)
from nightshift.remediation.clients.kubernetes.revisions import revisions
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.kubernetes.node_diagnosis import NodeDiagnosis
from nightshift.remediation.kubernetes.objects import UNSTATED, Pod, Resources, Revision, Workload, WorkloadKind
from nightshift.tasks.steps import diagnostic


@diagnostic("look at a node", of="{cluster} {node}")
def diagnose_node(cluster: str, connection: KubernetesConnection, node: str) -> NodeDiagnosis:
    """Everything about one node that is in the API (``kubernetes.describe_node``, octollm.NodeNotReady.d1-d11)."""
    with open_cluster(cluster, connection) as opened:
        found = opened.get(NODES, node)
        here, requested = _pods(opened.list(PODS), node)
        return NodeDiagnosis(
            node=found,
            nodes=tuple(opened.list(NODES)),
            pods=here,
            budgets=tuple(opened.list(DISRUPTION_BUDGETS)),
            volumes=tuple(opened.list(VOLUMES)),
            daemon_sets=frozenset((one.namespace, one.name) for one in opened.list(DAEMON_SETS)),
            requested=requested,
            events=tuple(opened.list(EVENTS, fields={"involvedObject.kind": "Node", "involvedObject.name": node})),
            now=datetime.now(UTC),
        )


@diagnostic("look at a workload", of="{cluster} {namespace}/{name}")
def look_at_workload(
    cluster: str, connection: KubernetesConnection, kind: WorkloadKind, namespace: str, name: str
) -> tuple[Workload, tuple[Revision, ...]]:
    """A workload and what it was (``kubernetes.read_deployment``, ``kubernetes.rollout_history``)."""
    with open_cluster(cluster, connection) as opened:
        workload = opened.get(WORKLOADS[kind], name, namespace)
        return workload, revisions(opened, workload)


def _pods(pods: Iterable[Pod], node: str) -> tuple[tuple[Pod, ...], dict[str, Resources]]:
    """The pods of one node, and what those of each node ask for together; of all others nothing is kept.

    Of each pod its containers count, and not its init containers, which run before.
    """
    here: list[Pod] = []
    requested: dict[str, Resources] = {}
    for pod in pods:
        if pod.node == node:
            here.append(pod)
        if pod.node and not pod.is_finished:
            asked = [container.requests for container in pod.containers if not container.is_init]
            before = requested.get(pod.node, UNSTATED)
            requested[pod.node] = Resources(
                cpu_millicores=(before.cpu_millicores or 0) + sum(one.cpu_millicores or 0 for one in asked),
                memory_bytes=(before.memory_bytes or 0) + sum(one.memory_bytes or 0 for one in asked),
                pods=(before.pods or 0) + 1,
            )
    return tuple(here), requested
