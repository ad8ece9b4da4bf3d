"""Everything that is known of a claim: itself, the storage there is, who uses it, and what was said about it.

Operations ``kubernetes.describe_pvc``, ``list_storage_classes`` and ``list_pvs``:
octollm.PersistentVolumeClaimPending.d1-d4.
"""

from __future__ import annotations

import re

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.resources import (
    CLAIMS,
    EVENTS,
    PODS,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    VOLUMES,
)
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.claim_diagnosis import ClaimDiagnosis
from nightshift.remediation.kubernetes.objects import Pod


@serves("octollm.PersistentVolumeClaimPending: d1 d2 d3 d4 r3.1 r3.2")
def diagnose_claim(cluster: Cluster, namespace: str, name: str) -> ClaimDiagnosis:
    """The claim with everything that decides whether it is bound, and whether it can grow.

    Raises:
        ObjectNotFoundError: there is no such claim any more.
        NightshiftError: something could not be read; nothing is concluded from a part.
    """
    claim = cluster.get(CLAIMS, name, namespace)
    about = {"involvedObject.kind": "PersistentVolumeClaim", "involvedObject.name": claim.name}
    return ClaimDiagnosis(
        claim=claim,
        classes=tuple(cluster.list(STORAGE_CLASSES)),
        # Thousands that belong to other claims are not kept.
        volumes=tuple(one for one in cluster.list(VOLUMES) if one.phase != "Bound" or one.name == claim.volume),
        consumers=tuple(pod for pod in cluster.list(PODS, namespace) if _uses(pod, claim.name)),
        events=tuple(cluster.list(EVENTS, namespace, fields=about)),
        stateful_set=_template_of(cluster, namespace, claim.name),
        now=cluster.now(),
    )


def _template_of(cluster: Cluster, namespace: str, claim: str) -> str:
    """The StatefulSet that names its claims so: ``<template>-<set>-<number>``."""
    names = (found.name for found in cluster.list(STATEFUL_SETS, namespace))
    return next((name for name in names if re.fullmatch(rf".+-{re.escape(name)}-\d+", claim)), "")


def _uses(pod: Pod, claim: str) -> bool:
    named = (volume.kind == "persistentVolumeClaim" and volume.source == claim for volume in pod.volumes)
    return not pod.is_finished and any(named)
