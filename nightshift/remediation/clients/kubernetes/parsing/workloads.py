"""Workloads, their revisions, disruption budgets and autoscalers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nightshift.remediation.clients.kubernetes.parsing.common import (
    Json,
    conditions,
    digest,
    metadata,
    part,
    selector,
    text,
)
from nightshift.remediation.clients.kubernetes.parsing.pods import containers, needs, volumes
from nightshift.remediation.kubernetes.objects import (
    CHANGE_CAUSE_ANNOTATION,
    REVISION_ANNOTATION,
    Autoscaler,
    DisruptionBudget,
    Revision,
    Template,
    Workload,
    WorkloadKind,
)

HASH_LABEL = "pod-template-hash"
"""Written into a template by its controller: no part of what was asked for."""


def bare_template(document: Json) -> dict[str, Any]:
    """A pod template as a person would have written it, of a workload or of one of its revisions."""
    meta = {key: value for key, value in part(document, "metadata").items() if key != "creationTimestamp"}
    labels = {key: value for key, value in part(meta, "labels").items() if key != HASH_LABEL}
    return {**document, "metadata": {**meta, "labels": labels}}


def template(document: Json) -> Template:
    """A pod template."""
    bare, spec = bare_template(document), part(document, "spec")
    return Template(
        digest=digest(bare),
        labels=dict(bare["metadata"]["labels"]),
        annotations=dict(part(bare, "metadata", "annotations")),
        containers=containers(spec),
        volumes=volumes(spec),
        needs=needs(spec),
    )


def workload(document: Json, *, kind: WorkloadKind) -> Workload:
    """A Deployment, StatefulSet or DaemonSet."""
    spec, status = part(document, "spec"), part(document, "status")
    strategy = part(spec, "strategy" if kind is WorkloadKind.DEPLOYMENT else "updateStrategy")
    rolling = part(strategy, "rollingUpdate")
    meta = metadata(document)
    return Workload(
        meta=meta,
        conditions=conditions(document),
        kind=kind,
        **_counts(kind, spec, status),
        observed_generation=status.get("observedGeneration") or 0,
        paused=bool(spec.get("paused")),
        strategy=text(strategy, "type"),
        max_unavailable=text(rolling, "maxUnavailable"),
        max_surge=text(rolling, "maxSurge"),
        progress_deadline_seconds=spec.get("progressDeadlineSeconds"),
        min_ready_seconds=spec.get("minReadySeconds") or 0,
        revision_history_limit=spec.get("revisionHistoryLimit"),
        selector=selector(spec.get("selector")),
        template=template(part(spec, "template")),
        revision=_number(meta.annotations.get(REVISION_ANNOTATION, "")),
        current_revision=text(status, "currentRevision"),
        update_revision=text(status, "updateRevision"),
    )


def _counts(kind: WorkloadKind, spec: Json, status: Json) -> dict[str, int]:
    if kind is WorkloadKind.DAEMON_SET:
        names = {
            "replicas": "desiredNumberScheduled",
            "existing": "currentNumberScheduled",
            "updated": "updatedNumberScheduled",
            "ready": "numberReady",
            "available": "numberAvailable",
            "unavailable": "numberUnavailable",
        }
        return {ours: status.get(theirs) or 0 for ours, theirs in names.items()}
    wanted, available = spec.get("replicas"), status.get("availableReplicas") or 0
    existing = status.get("replicas") or 0
    return {
        "replicas": 1 if wanted is None else wanted,
        "existing": existing,
        "updated": status.get("updatedReplicas") or 0,
        "ready": status.get("readyReplicas") or 0,
        "available": available,
        "unavailable": status.get("unavailableReplicas") or max(existing - available, 0),
    }


deployment: Callable[[Json], Workload] = partial(workload, kind=WorkloadKind.DEPLOYMENT)
stateful_set: Callable[[Json], Workload] = partial(workload, kind=WorkloadKind.STATEFUL_SET)
daemon_set: Callable[[Json], Workload] = partial(workload, kind=WorkloadKind.DAEMON_SET)


def replica_set(document: Json) -> Revision:
    """A ReplicaSet as a revision of its Deployment."""
    spec, status, meta = part(document, "spec"), part(document, "status"), metadata(document, managers=False)
    return Revision(
        meta=meta,
        number=_number(meta.annotations.get(REVISION_ANNOTATION, "")),
        template=template(part(spec, "template")),
        replicas=spec.get("replicas") or 0,
        ready=status.get("readyReplicas") or 0,
        available=status.get("availableReplicas") or 0,
        change_cause=meta.annotations.get(CHANGE_CAUSE_ANNOTATION, ""),
    )


def controller_revision(document: Json) -> Revision:
    """A ControllerRevision of a StatefulSet or DaemonSet: it keeps a patch that holds the template."""
    meta = metadata(document, managers=False)
    kept = {key: value for key, value in part(document, "data", "spec", "template").items() if key != "$patch"}
    return Revision(
        meta=meta,
        number=document.get("revision") or 0,
        template=template(kept),
        change_cause=meta.annotations.get(CHANGE_CAUSE_ANNOTATION, ""),
    )


def disruption_budget(document: Json) -> DisruptionBudget:
    """A PodDisruptionBudget of policy/v1."""
    spec, status = part(document, "spec"), part(document, "status")
    return DisruptionBudget(
        meta=metadata(document),
        conditions=conditions(document),
        selector=selector(spec.get("selector")),
        min_available=text(spec, "minAvailable"),
        max_unavailable=text(spec, "maxUnavailable"),
        disruptions_allowed=status.get("disruptionsAllowed") or 0,
        current_healthy=status.get("currentHealthy") or 0,
        desired_healthy=status.get("desiredHealthy") or 0,
        expected_pods=status.get("expectedPods") or 0,
        observed_generation=status.get("observedGeneration") or 0,
        unhealthy_eviction=text(spec, "unhealthyPodEvictionPolicy") or "IfHealthyBudget",
    )


def autoscaler(document: Json) -> Autoscaler:
    """A HorizontalPodAutoscaler of autoscaling/v2."""
    spec, status = part(document, "spec"), part(document, "status")
    target = part(spec, "scaleTargetRef")
    return Autoscaler(
        meta=metadata(document),
        conditions=conditions(document),
        target_kind=text(target, "kind"),
        target_name=text(target, "name"),
        min_replicas=spec.get("minReplicas") or 1,
        max_replicas=spec.get("maxReplicas") or 0,
        current_replicas=status.get("currentReplicas") or 0,
        desired_replicas=status.get("desiredReplicas") or 0,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
