"""Look at a volume claim of a Kubernetes cluster."""

from __future__ import annotations

from nightshift.remediation.clients.kubernetes.claim_look import diagnose_claim
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.resources import CLAIMS
from nightshift.remediation.clients.kubernetes.watching import watch
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.kubernetes.claim_planner import ClaimDiagnosis
from nightshift.tasks.steps import diagnostic


@diagnostic("find why a claim is not bound", of="{cluster} {namespace}/{name}")
def look_at_claim(cluster: str, connection: KubernetesConnection, namespace: str, name: str) -> ClaimDiagnosis:
    """The claim with its class, the volumes there are, its pods and events (``kubernetes.describe_pvc``)."""
    with open_cluster(cluster, connection) as opened:
        return diagnose_claim(opened, namespace, name)


@diagnostic("wait for a claim", of="{cluster} {namespace}/{name}")
def wait_until_bound(
    cluster: str, connection: KubernetesConnection, namespace: str, name: str, seconds: float
) -> ClaimDiagnosis:
    """What is seen once it is bound, or the time is over: what is young is still being worked on."""
    with open_cluster(cluster, connection, within=seconds + 60) as opened:
        for change in watch(opened, CLAIMS, namespace, seconds=seconds, fields={"metadata.name": name}):
            if change.object.phase == "Bound":
                break
        return diagnose_claim(opened, namespace, name)
