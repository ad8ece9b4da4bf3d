"""Look at a node of a Kubernetes cluster and at everything on it."""

from __future__ import annotations

from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.node_look import diagnose_node
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.kubernetes.node_diagnosis import NodeDiagnosis
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0
"""For one look at a whole cluster of some thousand pods."""


@diagnostic("look at a node", of="{cluster} {node}")
def look_at_node(cluster: str, connection: KubernetesConnection, node: str) -> NodeDiagnosis:
    """The node, its pods, their budgets, and the room elsewhere (``kubernetes.describe_node``, ``list_pods``)."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        return diagnose_node(opened, node)
