"""Look at what a node or a pod uses, and watch that after a repair."""

from __future__ import annotations

from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.load_look import diagnose_node_load, diagnose_pod_load, highest_share
from nightshift.remediation.clients.kubernetes.resources import NODES
from nightshift.remediation.clients.resource_use import Meter
from nightshift.remediation.connections import HttpConnection, KubernetesConnection
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.remediation.kubernetes.load import NodeLoad
from nightshift.remediation.kubernetes.load_policy import LoadPolicy, NodeLoadPolicy, PodLoadPolicy
from nightshift.remediation.kubernetes.objects import Workload
from nightshift.remediation.kubernetes.pod_load_planner import PodLoad
from nightshift.tasks.levels import watch_level
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0


def _meter(metrics: HttpConnection, policy: LoadPolicy) -> Meter:
    label = policy.node_label if isinstance(policy, NodeLoadPolicy) else "node"
    return Meter(policy.prometheus, metrics, policy.kind, policy.window, label)


@diagnostic("see who uses a node", of="{cluster} {name}")
def look_at_node_load(
    cluster: str, connection: KubernetesConnection, metrics: HttpConnection, name: str, policy: NodeLoadPolicy
) -> NodeLoad | None:
    """The node, the other nodes, and its pods with what they use; None: it exists no more."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        return diagnose_node_load(opened, name, _meter(metrics, policy), policy)


def _node_percent(
    cluster: str, connection: KubernetesConnection, metrics: HttpConnection, name: str, policy: NodeLoadPolicy
) -> float:
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        return _meter(metrics, policy).node(opened.get(NODES, name))[1]


@diagnostic("see whether a node has enough left", of="{cluster} {name}")
def node_is_relieved(
    cluster: str, connection: KubernetesConnection, metrics: HttpConnection, name: str, policy: NodeLoadPolicy
) -> bool:
    """Whether there is nothing left to repair."""
    return _node_percent(cluster, connection, metrics, name, policy) <= policy.at_most_percent


@serves("octollm.HighNodeCPUUsage: v1", "octollm.HighNodeMemoryUsage: v1")
@diagnostic("watch a node", of="{cluster} {name}")
def watch_node_load(
    cluster: str, connection: KubernetesConnection, metrics: HttpConnection, name: str, policy: NodeLoadPolicy
) -> tuple[LevelSample, ...]:
    """Looks until the node had enough left for ``hold`` seconds, or had not within ``wait``."""

    def measure() -> float:
        return _node_percent(cluster, connection, metrics, name, policy)

    return watch_level(measure, policy.at_most_percent, wait=policy.wait, hold=policy.hold)


@diagnostic("see what a pod uses", of="{cluster} {namespace}/{name}")
def look_at_pod_load(
    cluster: str,
    connection: KubernetesConnection,
    metrics: HttpConnection,
    namespace: str,
    name: str,
    policy: PodLoadPolicy,
) -> PodLoad | None:
    """The pod's container that is nearest to its limit; None: the pod exists no more."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        return diagnose_pod_load(opened, namespace, name, _meter(metrics, policy), policy.leak_watch)


@serves("cryptofunk.HighMemoryUsage: v1")
@diagnostic("watch what a workload uses", of="{cluster}")
def watch_pod_load(
    cluster: str,
    connection: KubernetesConnection,
    metrics: HttpConnection,
    workload: Workload,
    policy: PodLoadPolicy,
) -> tuple[LevelSample, ...]:
    """Looks until every container of it was below its limit for ``hold`` seconds, or was not within ``wait``."""

    def measure() -> float:
        with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
            return highest_share(opened, workload, _meter(metrics, policy))

    return watch_level(measure, policy.high_percent, wait=policy.wait, hold=policy.hold)
