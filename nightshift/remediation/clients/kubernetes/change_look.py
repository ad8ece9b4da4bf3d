"""What changed in a cluster, who wrote it and when, from the object itself; nothing is changed.

Operations ``kubernetes.rollout_status``, ``read_configmap`` and ``prometheus.query_range``:
octollm.NewDeploymentDetected.d1, octollm.HPAScaledUp.d1, octollm.ConfigMapChanged.d1. What a ConfigMap holds is not
read into anything: who wrote it when is (its hazard: sorting by creation shows no change).
"""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.parsing.common import Json, metadata, part
from nightshift.remediation.clients.kubernetes.parsing.common import listed as listed_in
from nightshift.remediation.clients.kubernetes.resources import (
    AUTOSCALERS,
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    STATEFUL_SETS,
)
from nightshift.remediation.clients.kubernetes.revisions import revisions
from nightshift.remediation.clients.kubernetes.workload_look import pods_of
from nightshift.remediation.clients.prometheus import query_range, selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.change_planner import HOUR, STEP, ChangeSeen
from nightshift.remediation.kubernetes.change_record import ChangeRecord
from nightshift.remediation.kubernetes.configuring import AutoscalerBounds
from nightshift.remediation.kubernetes.objects import Autoscaler, KubernetesObject, Metadata, Revision, Workload
from nightshift.remediation.kubernetes.ownership import owner_of
from nightshift.remediation.kubernetes.revisions import released_at
from nightshift.remediation.kubernetes.rollout_state import rollout_status
from nightshift.remediation.text import listed, printable

_REPLICAS = "kube_horizontalpodautoscaler_status_current_replicas"
_CONTROLLERS = ("kube-controller-manager",)
"""They follow a change, they do not bring it."""
_RECENT = timedelta(minutes=30)
"""A release that is older is not what the alert is about: the Deployment was scaled or relabelled since."""


@serves("octollm.NewDeploymentDetected: d1")
def look_at_release(cluster: Cluster, namespace: str, name: str) -> ChangeSeen | None:
    """The newest release of a Deployment, or that it only scaled or was relabelled; None: it exists no more.

    Raises:
        NightshiftError: something could not be read.
    """
    try:
        workload = cluster.get(DEPLOYMENTS, name, namespace)
    except ObjectNotFoundError:
        return None
    known = revisions(cluster, workload)
    released, (who, written) = released_at(workload, known), _written(workload.meta)
    since = datetime.now(UTC) - _RECENT
    if written is not None and written < since:
        who, written = (), None  # an autoscaler, whose writing is not told from that of other controllers
    young = released is not None and released >= since
    returned = released is None and workload.revision > 0 and written is not None
    what = f"{_named(workload)} changed without a new release"
    if young or returned:
        what = _release_in_words(workload, known)
    record = ChangeRecord(
        kind="release" if young or returned else "scaling",
        what=what,
        who=who,
        at=released if young else written,
        namespace=workload.namespace,
        services=(workload.name,),
    )
    return ChangeSeen(record=record, name=workload.name, owner=owner_of(workload), rollout=rollout_status(workload))


@serves("octollm.HPAScaledUp: d1")
def look_at_scaling(
    cluster: Cluster, namespace: str, name: str, metrics: tuple[str, HttpConnection]
) -> ChangeSeen | None:
    """An autoscaler and how it scaled within the last hour; None: it exists no more.

    Raises:
        NightshiftError: something could not be read.
    """
    try:
        document = cluster.document(AUTOSCALERS, name, namespace)
    except ObjectNotFoundError:
        return None
    scaler = AUTOSCALERS.parse(document)
    labels = {"namespace": scaler.namespace, "horizontalpodautoscaler": scaler.name}
    now = time.time()
    points = query_range(*metrics, f"max({selector(_REPLICAS, labels)})", now - HOUR, now, STEP)
    bounds = f"between {scaler.min_replicas} and {scaler.max_replicas}"
    service = f"{printable(scaler.target_kind, 40)} {printable(scaler.target_name, 100)}"
    steps = [(at, value) for (_, before), (at, value) in itertools.pairwise(points) if value != before]
    record = ChangeRecord(
        kind="scaling",
        what=f"{printable(scaler.name, 100)} keeps {service} at {scaler.desired_replicas} pods, {bounds}",
        who=("HorizontalPodAutoscaler",),
        at=datetime.fromtimestamp(steps[-1][0]).astimezone() if steps else None,
        namespace=scaler.namespace,
        services=(scaler.target_name,),
    )
    waits = part(document, "spec", "behavior", "scaleDown").get("stabilizationWindowSeconds")
    values = [value for _, value in points]
    return ChangeSeen(
        record=record,
        name=scaler.name,
        owner=owner_of(scaler),
        replicas=values,
        scaler=scaler,
        stabilization=waits,
        bounds=_bounds(document, scaler, waits),
    )


def _bounds(document: Json, scaler: Autoscaler, waits: int | None) -> AutoscalerBounds | None:
    metrics = (part(one, "resource") for one in listed_in(document, "spec", "metrics"))
    cpu = [part(metric, "target").get("averageUtilization") for metric in metrics if metric.get("name") == "cpu"]
    try:
        return AutoscalerBounds(
            min_replicas=scaler.min_replicas,
            max_replicas=scaler.max_replicas,
            cpu_percent=cpu[0] if cpu else None,
            stabilization_seconds=waits,
        )
    except ValidationError:
        return None  # it scales by something else, or with bounds that are not ours to set


@serves("octollm.ConfigMapChanged: d1")
def look_at_configuration(cluster: Cluster, namespace: str, name: str) -> ChangeSeen | None:
    """A ConfigMap, who wrote it last, and which workloads use it; None: it exists no more.

    Raises:
        NightshiftError: something could not be read.
    """
    try:
        meta = metadata(cluster.get(CONFIG_MAPS, name, namespace))
    except ObjectNotFoundError:
        return None
    who, written = _written(meta)
    at = written or meta.created_at
    users = [
        workload
        for kind in (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)
        for workload in cluster.list(kind, meta.namespace)
        if _uses(workload, meta.name)
    ]
    stale = [workload for workload in users if _began_before(cluster, workload, at)]
    record = ChangeRecord(
        kind="configuration",
        what=f"ConfigMap {printable(f'{meta.namespace}/{meta.name}', 160)} changed",
        who=who,
        at=at,
        namespace=meta.namespace,
        services=tuple(workload.name for workload in users),
    )
    fresh = [workload for workload in users if workload not in stale]
    owner = owner_of(KubernetesObject(meta=meta))
    return ChangeSeen(record=record, name=meta.name, owner=owner, stale=stale, fresh=fresh)


def _written(meta: Metadata) -> tuple[tuple[str, ...], datetime | None]:
    """Who wrote it last, and when; what controllers write into its status is left out."""
    found = [m for m in meta.managers if m.at is not None and not m.subresource and m.manager not in _CONTROLLERS]
    last = max((manager.at for manager in found if manager.at is not None), default=None)
    return tuple(printable(manager.manager, 80) for manager in found if manager.at == last), last


def _release_in_words(workload: Workload, known: tuple[Revision, ...]) -> str:
    now = next((revision for revision in known if revision.number == workload.revision), None)
    older = [revision for revision in known if 0 < revision.number < workload.revision]
    images = listed([printable(image, 120) for image in workload.template.images])
    before = listed([printable(image, 120) for image in older[0].template.images]) if older else ""
    came = f"from {before} to {images}" if before and before != images else f"with {images}"
    cause = f" ({printable(now.change_cause, 120)})" if now is not None and now.change_cause else ""
    back = "" if released_at(workload, known) else " again"
    return f"Revision {workload.revision} of {_named(workload)}{back}, {came}{cause}"


def _named(workload: Workload) -> str:
    return f"{workload.kind} {printable(f'{workload.namespace}/{workload.name}', 160)}"


def _uses(workload: Workload, name: str) -> bool:
    template = workload.template
    mounted = any(volume.kind == "configMap" and volume.source == name for volume in template.volumes)
    return mounted or any(f"configmap/{name}" in container.env_from for container in template.containers)


def _began_before(cluster: Cluster, workload: Workload, at: datetime | None) -> bool:
    return at is None or any(pod.started_at is not None and pod.started_at < at for pod in pods_of(cluster, workload))
