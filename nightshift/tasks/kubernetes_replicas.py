"""Look at a Deployment that lacks pods."""

from __future__ import annotations

from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.replicas_look import diagnose_replicas
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.kubernetes.replicas_planner import ReplicasDiagnosis
from nightshift.remediation.kubernetes.replicas_policy import ReplicasPolicy
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0


@diagnostic("look at a deployment", of="{cluster} {namespace}/{name}")
def look_at_replicas(
    cluster: str, connection: KubernetesConnection, namespace: str, name: str, policy: ReplicasPolicy
) -> ReplicasDiagnosis | None:
    """The Deployment, its pods, their nodes and its revisions; None: it exists no more."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        return diagnose_replicas(opened, namespace, name, policy)
