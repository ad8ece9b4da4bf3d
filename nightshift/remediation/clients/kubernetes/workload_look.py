"""Whose a pod is, and how all pods of that workload are; nothing is changed.

Operations ``kubernetes.read_deployment``, ``rollout_history``, ``rollout_status`` and ``list_pods``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import ForbiddenError, ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import (
    CLAIMS,
    CONFIG_MAPS,
    DAEMON_SETS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    WORKLOADS,
)
from nightshift.remediation.clients.kubernetes.revisions import revisions
from nightshift.remediation.kubernetes.objects import Owner, Pod, Revision, Workload, WorkloadKind
from nightshift.remediation.kubernetes.pods_verification import PodsSample
from nightshift.remediation.kubernetes.revisions import Health
from nightshift.remediation.kubernetes.rollback import Release, RollbackPolicy


def workload_of(cluster: Cluster, pod: Pod) -> Workload | None:
    """The Deployment, StatefulSet or DaemonSet that keeps this pod; None: another owner, or nobody."""
    return _keeper(cluster, pod.namespace, pod.meta.controller)


def _keeper(cluster: Cluster, namespace: str, owner: Owner | None) -> Workload | None:
    if owner is None:
        return None
    try:
        if owner.kind == "ReplicaSet":
            return _keeper(cluster, namespace, cluster.get(REPLICA_SETS, owner.name, namespace).meta.controller)
        if owner.kind not in list(WorkloadKind):
            return None
        found = cluster.get(WORKLOADS[WorkloadKind(owner.kind)], owner.name, namespace)
    except ObjectNotFoundError:
        return None
    return found if found.uid == owner.uid else None


def workload_named_by(cluster: Cluster, namespace: str, pod: str) -> Workload | None:
    """The workload whose pods are called so: for a pod that is gone, whose name is all that is left of it."""
    made_by, _, suffix = pod.rpartition("-")
    for replica_set in cluster.list(REPLICA_SETS, namespace):
        if replica_set.name == made_by:
            return _keeper(cluster, namespace, replica_set.meta.controller)
    for kind in (STATEFUL_SETS,) if suffix.isdigit() else (DAEMON_SETS,):
        found = next((one for one in cluster.list(kind, namespace) if one.name == made_by), None)
        if found is not None:
            return found
    return None


def release_of(cluster: Cluster, workload: Workload, policy: RollbackPolicy | None) -> Release:
    """The workload with what it was."""
    found = revisions(cluster, workload)
    if policy is None:
        return Release(workload=workload, revisions=found)
    lost = _lost(cluster, workload.namespace, [one for one in found if one.template.digest != workload.template.digest])
    return Release(workload=workload, revisions=found, health=Health(proven_after=policy.proven_after, lost=lost))


def _lost(cluster: Cluster, namespace: str, earlier: Sequence[Revision]) -> dict[str, tuple[str, ...]]:
    """What earlier revisions need and is gone, by digest: tools prune what the newest release does not name."""
    gone: set[str] = set()
    for need in dict.fromkeys(need for revision in earlier for need in revision.template.needs):
        kind, _, name = need.partition("/")
        with suppress(ForbiddenError):
            try:
                cluster.document(CONFIG_MAPS if kind == "configmap" else CLAIMS, name, namespace)
            except ObjectNotFoundError:
                gone.add(need)
    lost = {one.template.digest: tuple(need for need in one.template.needs if need in gone) for one in earlier}
    return {digest: needs for digest, needs in lost.items() if needs}


def pods_of(cluster: Cluster, workload: Workload) -> list[Pod]:
    """The pods of a workload that are to stay; those that finished or are ending are left out."""
    if workload.selector is None:
        return []
    found = cluster.list(PODS, workload.namespace, labels=workload.selector)
    return [pod for pod in found if not pod.is_finished and not pod.is_terminating]


def sample_pods(cluster: Cluster, of: Workload | Pod) -> PodsSample:
    """One look at the pods of a workload, or at all that have the same controller as a pod that no workload keeps.

    Args:
        cluster: open.
        of: as diagnosed; a workload is read anew.

    Raises:
        NightshiftError: something could not be read, or the workload is gone.
    """
    if isinstance(of, Workload):
        now = cluster.get(WORKLOADS[of.kind], of.name, of.namespace)
        return PodsSample(at=time.monotonic(), pods=tuple(pods_of(cluster, now)), workload=now)
    owner = of.meta.controller
    same = [
        found
        for found in cluster.list(PODS, of.namespace)
        if (found.uid == of.uid if owner is None else found.meta.controller == owner)
        and not (found.is_finished or found.is_terminating)
    ]
    return PodsSample(at=time.monotonic(), pods=tuple(same))
