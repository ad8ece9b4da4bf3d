"""Everything that the planner for missing replicas gets to know, read in one go; nothing is changed.

Operations ``kubernetes.list_deployments``, ``list_pods``, ``describe_pod``: octollm.DeploymentReplicasMismatch.d1-d3.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import DEPLOYMENTS, NODES
from nightshift.remediation.clients.kubernetes.workload_look import pods_of, release_of
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.objects import Pod, Workload
from nightshift.remediation.kubernetes.replicas_planner import ReplicasDiagnosis
from nightshift.remediation.kubernetes.replicas_policy import ReplicasPolicy


@serves("octollm.DeploymentReplicasMismatch: d1 d2 d3")
def diagnose_replicas(cluster: Cluster, namespace: str, name: str, policy: ReplicasPolicy) -> ReplicasDiagnosis | None:
    """The Deployment, its pods and its revisions; None: it exists no more.

    Raises:
        NightshiftError: something could not be read; nothing is concluded from a part.
    """
    try:
        workload = cluster.get(DEPLOYMENTS, name, namespace)
    except ObjectNotFoundError:
        return None
    pods = pods_of(cluster, workload)
    return ReplicasDiagnosis(
        release=release_of(cluster, workload, policy.rollback),
        pods=pods,
        nodes=tuple(cluster.list(NODES)),
        missing_since=_missing_since(workload, pods),
        now=cluster.now(),
    )


def _missing_since(workload: Workload, pods: Sequence[Pod]) -> datetime | None:
    """The earliest sign of it: a pod that is not ready, or a condition of the Deployment that says so."""
    signs = [_not_ready_since(pod) for pod in pods if not pod.is_ready]
    available, failure = workload.condition("Available"), workload.condition("ReplicaFailure")
    if available is not None and not available.is_true:
        signs.append(available.since)
    if failure is not None and failure.is_true:
        signs.append(failure.since)
    return min((since for since in signs if since is not None), default=None)


def _not_ready_since(pod: Pod) -> datetime | None:
    ready = pod.condition("Ready")
    return ready.since if ready is not None and ready.since is not None else pod.meta.created_at
