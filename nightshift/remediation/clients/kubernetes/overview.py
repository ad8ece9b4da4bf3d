"""Looks over a whole namespace or cluster, page by page: what ends soon, what is short of pods, what a quota leaves.

Operations ``certmanager.list_certificates`` (octollm.CertificateExpiringInSevenDays.d1, d2),
``kubernetes.list_deployments`` (octollm.DeploymentReplicasMismatch.d1), ``kubernetes.list_pvcs``
(octollm.PersistentVolumeClaimPending.d1) and ``kubernetes.read_resource_quota`` (octollm.PersistentVolumeClaimPending).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.parsing.common import amount
from nightshift.remediation.clients.kubernetes.resources import CERTIFICATES, CLAIMS, DEPLOYMENTS, QUOTAS
from nightshift.remediation.kubernetes.objects import Certificate, Claim, Workload


def certificates_ending(cluster: Cluster, namespace: str | None, now: datetime, within: timedelta) -> list[Certificate]:
    """Those that end within so long or were never issued, the first to end first; None: of all namespaces.

    Raises:
        NightshiftError: they could not be read.
    """
    until = now + within
    found = (one for one in cluster.list(CERTIFICATES, namespace) if one.not_after is None or one.not_after <= until)
    return sorted(found, key=lambda one: (one.not_after or now, one.namespace, one.name))


def short_deployments(cluster: Cluster, namespace: str | None) -> Iterator[Workload]:
    """Deployments with fewer available pods than they want; None: of all namespaces.

    Raises:
        NightshiftError: they could not be read.
    """
    return (one for one in cluster.list(DEPLOYMENTS, namespace) if one.available < one.replicas)


def unbound_claims(cluster: Cluster, namespace: str | None) -> Iterator[Claim]:
    """Claims that wait for a volume, or lost theirs; None: of all namespaces.

    Raises:
        NightshiftError: they could not be read.
    """
    return (one for one in cluster.list(CLAIMS, namespace) if one.phase != "Bound")


@dataclass(frozen=True, kw_only=True)
class QuotaUse:
    """One limited amount of a namespace; cpu in millicores, the rest in whole units or bytes."""

    quota: str
    uid: str
    resource: str
    hard: int
    used: int


def quota_uses(cluster: Cluster, namespace: str) -> list[QuotaUse]:
    """What the quotas of a namespace limit, the fullest first.

    Raises:
        NightshiftError: they could not be read.
    """
    found = [
        QuotaUse(
            quota=quota.name,
            uid=quota.uid,
            resource=resource,
            hard=quota_amount(resource, hard),
            used=quota_amount(resource, quota.used.get(resource, "0")),
        )
        for quota in cluster.list(QUOTAS, namespace)
        for resource, hard in quota.hard.items()
    ]
    return sorted(found, key=lambda one: -one.used / max(one.hard, 1))


def quota_amount(resource: str, written: str) -> int:
    """As :class:`.UpdateQuota` counts it."""
    return amount(written, scale=1000 if resource.rpartition(".")[2] == "cpu" else 1)
