"""Look at a pod that crashes and at all of its workload; wait for what they need, and for them to stay up."""

from __future__ import annotations

import time

from nightshift.remediation.clients.kubernetes.cluster import Cluster, open_cluster
from nightshift.remediation.clients.kubernetes.crash_look import diagnose_pod
from nightshift.remediation.clients.kubernetes.service_look import ready_endpoints
from nightshift.remediation.clients.kubernetes.workload_look import sample_pods
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.errors import TargetUnreachableError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import CrashDiagnosis
from nightshift.remediation.kubernetes.crash_policy import PodCrashLoopPolicy
from nightshift.remediation.kubernetes.objects import Pod, Workload
from nightshift.remediation.kubernetes.pods_verification import PodsSample, is_calm, judge
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0
_CALM_SECONDS = 120.0
"""Ready for so long, a pod is no longer between two crashes."""
_LONGEST_PAUSE = 15.0
_LOOKS = 20


@diagnostic("look at a pod", of="{cluster} {namespace}/{pod}")
def look_at_pod(
    cluster: str, connection: KubernetesConnection, namespace: str, pod: str, policy: PodCrashLoopPolicy
) -> CrashDiagnosis | None:
    """The pod, its last words, its workload and what it needs; None: neither it nor one in its place exists."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        return diagnose_pod(opened, namespace, pod, policy)


@diagnostic("see whether all pods are well", of="{cluster}")
def pods_are_calm(cluster: str, connection: KubernetesConnection, kept: Workload | Pod) -> bool:
    """Whether all pods are ready, and have been for long enough to be no longer between two crashes."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        return is_calm(sample_pods(opened, kept), opened.now(), _CALM_SECONDS)


@diagnostic("wait for a service", of="{cluster} {namespace}/{service}")
def wait_for_service(
    cluster: str, connection: KubernetesConnection, namespace: str, service: str, seconds: float
) -> bool:
    """Whether somebody answers behind it within so many seconds."""
    until = time.monotonic() + seconds
    while True:
        with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
            if ready_endpoints(opened, namespace, service):
                return True
        if time.monotonic() >= until:
            return False
        time.sleep(max(1.0, min(_LONGEST_PAUSE, seconds / _LOOKS)))


@serves(
    "octollm.PodCrashLoopBackOff: r5.4 v1",
    "octollm.HighErrorRate: r1.5",
    "octollm.PodOOMKilled: v1",
    "octollm.DeploymentReplicasMismatch: v1",
)
@diagnostic("watch pods", of="{cluster}")
def watch_pods(
    cluster: str,
    connection: KubernetesConnection,
    kept: Workload | Pod,
    *,
    wait: float,
    hold: float,
) -> tuple[PodsSample, ...]:
    """Looks at all pods until they were well for ``hold`` seconds, or were not within ``wait``.

    Operation ``kubernetes.wait_ready``: octollm.CertificateExpiringInSevenDays.r1.6, and every repair of pods.
    """
    began, samples = time.monotonic(), list[PodsSample]()
    while True:
        with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
            samples += _look(opened, kept)
            now = opened.now()
        waited = time.monotonic() - began
        well = bool(samples) and is_calm(samples[-1], now, 0)
        if (samples and judge(samples, hold).healthy) or waited >= wait + (hold if well else 0):
            return tuple(samples)
        time.sleep(max(1.0, min(_LONGEST_PAUSE, (hold or wait) / _LOOKS)))


def _look(cluster: Cluster, kept: Workload | Pod) -> list[PodsSample]:
    """One look; none while the cluster does not answer, since that says nothing about the pods."""
    try:
        return [sample_pods(cluster, kept)]
    except TargetUnreachableError:
        return []
