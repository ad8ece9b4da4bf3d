"""Look at a volume claim of a Kubernetes cluster."""

from __future__ import annotations

from nightshift.remediation.clients.kubernetes.claim_look import diagnose_claim
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import CLAIMS
from nightshift.remediation.clients.kubernetes.watching import watch
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.disk_space.diagnosis import Blindness
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.claim_diagnosis import ClaimDiagnosis
from nightshift.remediation.kubernetes.claim_policy import ClaimExpansion
from nightshift.remediation.text import printable
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 30.0
"""For one look at a claim; what the cluster does not say by then is not known."""


@diagnostic("find why a claim is not bound", of="{cluster} {namespace}/{name}")
def look_at_claim(cluster: str, connection: KubernetesConnection, namespace: str, name: str) -> ClaimDiagnosis:
    """The claim with its class, the volumes there are, its pods and events (``kubernetes.describe_pvc``)."""
    with open_cluster(cluster, connection) as opened:
        return diagnose_claim(opened, namespace, name)


@serves("octollm.PersistentVolumeClaimPending: v1")
@diagnostic("wait for a claim", of="{cluster} {namespace}/{name}")
def wait_until_bound(
    cluster: str, connection: KubernetesConnection, namespace: str, name: str, seconds: float
) -> ClaimDiagnosis:
    """What is seen once it is bound, or the time is over: what is young is still being worked on."""
    return _watched(cluster, connection, namespace, name, seconds)


@diagnostic("wait for a claim after the repair", of="{cluster} {namespace}/{name}")
def wait_for_new_claim(
    cluster: str, connection: KubernetesConnection, namespace: str, name: str, seconds: float
) -> ClaimDiagnosis | None:
    """What is seen once it is bound, or the time is over; nothing where the claim is gone."""
    try:
        return _watched(cluster, connection, namespace, name, seconds)
    except ObjectNotFoundError:
        return None


@diagnostic("look whether a claim is there", of="{cluster} {namespace}/{name}")
def is_gone(cluster: str, connection: KubernetesConnection, namespace: str, name: str) -> bool:
    """Whether there is no claim of this name."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        try:
            opened.get(CLAIMS, name, namespace)
        except ObjectNotFoundError:
            return True
    return False


def _watched(
    cluster: str, connection: KubernetesConnection, namespace: str, name: str, seconds: float
) -> ClaimDiagnosis:
    with open_cluster(cluster, connection, within=seconds + 60) as opened:
        for change in watch(opened, CLAIMS, namespace, seconds=seconds, fields={"metadata.name": name}):
            if change.object.phase == "Bound":
                break
        return diagnose_claim(opened, namespace, name)


@diagnostic("look at the claim of a volume", of="{name}")
def look_at_claim_of_volume(
    rule: ClaimExpansion, connection: KubernetesConnection, name: str
) -> ClaimDiagnosis | Blindness:
    """The claim as its cluster shows it, or why it does not: then people look, and the rest of the repair goes on."""
    try:
        with open_cluster(rule.cluster, connection, within=LOOK_SECONDS) as opened:
            return diagnose_claim(opened, rule.namespace or connection.namespace, name)
    except NightshiftError as error:
        return Blindness(what=f"the claim {printable(name)} in its cluster", why=printable(str(error), 300))


@diagnostic("wait for a larger volume", of="{name}")
def wait_until_grown(rule: ClaimExpansion, connection: KubernetesConnection, name: str) -> ClaimDiagnosis:
    """What is seen once the volume is as large as was asked for, or the time for it is over."""
    namespace, seconds = rule.namespace or connection.namespace, rule.grown_within
    with open_cluster(rule.cluster, connection, within=seconds + 60) as opened:
        for change in watch(opened, CLAIMS, namespace, seconds=seconds, fields={"metadata.name": name}):
            if change.object.capacity_bytes >= change.object.requested_bytes:
                break
        return diagnose_claim(opened, namespace, name)
