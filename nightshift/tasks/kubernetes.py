"""Look at a workload of a Kubernetes cluster, read only."""

from __future__ import annotations

from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.resources import WORKLOADS
from nightshift.remediation.clients.kubernetes.revisions import revisions
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.kubernetes.objects import Revision, Workload, WorkloadKind
from nightshift.tasks.steps import diagnostic


@diagnostic("look at a workload", of="{cluster} {namespace}/{name}")
def look_at_workload(
    cluster: str, connection: KubernetesConnection, kind: WorkloadKind, namespace: str, name: str
) -> tuple[Workload, tuple[Revision, ...]]:
    """A workload and what it was (``kubernetes.read_deployment``, ``kubernetes.rollout_history``)."""
    with open_cluster(cluster, connection) as opened:
        workload = opened.get(WORKLOADS[kind], name, namespace)
        return workload, revisions(opened, workload)
