"""The states a workload had; operation ``kubernetes.rollout_history``."""

from __future__ import annotations

from nightshift.remediation.clients.kubernetes.cluster import Cluster, shown
from nightshift.remediation.clients.kubernetes.errors import Json
from nightshift.remediation.clients.kubernetes.parsing.common import part
from nightshift.remediation.clients.kubernetes.parsing.workloads import bare_template, template
from nightshift.remediation.clients.kubernetes.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, REPLICA_SETS
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes.arguments import RolloutUndo
from nightshift.remediation.kubernetes.objects import Revision, Workload, WorkloadKind


def revisions(cluster: Cluster, workload: Workload) -> tuple[Revision, ...]:
    """What it was, newest first; as many as its history keeps."""
    kind = REPLICA_SETS if workload.kind is WorkloadKind.DEPLOYMENT else CONTROLLER_REVISIONS
    found = [
        revision
        for revision in cluster.list(kind, workload.namespace)
        if any(owner.uid == workload.uid and owner.controller for owner in revision.meta.owners)
    ]
    return tuple(sorted(found, key=lambda revision: revision.number, reverse=True))


def template_of(cluster: Cluster, arguments: RolloutUndo) -> Json:
    """The template that an action goes back to, from the ReplicaSet that keeps it.

    Raises:
        TargetChangedError: the Deployment keeps no such template any more.
    """
    for page in cluster.pages(REPLICA_SETS, arguments.namespace, {}):
        for item in page.items:
            owned = any(owner.get("uid") == arguments.uid for owner in item["metadata"].get("ownerReferences") or [])
            found = part(item, "spec", "template")
            if owned and template(found).digest == arguments.to_template:
                return bare_template(found)
    raise TargetChangedError(
        f"{shown(DEPLOYMENTS, arguments.name, arguments.namespace)} keeps the revision {arguments.to_revision} no more."
    )
