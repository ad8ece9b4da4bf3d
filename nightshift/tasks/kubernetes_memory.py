"""Look at a pod that was killed for memory."""

from __future__ import annotations

from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.memory_look import Prometheus, diagnose_memory
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.kubernetes.memory_planner import MemoryDiagnosis
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0


@diagnostic("look at the memory of a pod", of="{cluster} {namespace}/{pod}")
def look_at_memory(
    cluster: str,
    connection: KubernetesConnection,
    namespace: str,
    pod: str,
    watch: float,
    prometheus: Prometheus | None,
) -> MemoryDiagnosis | None:
    """The pod, its workload and how much it used over so many seconds; None: it exists no more."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        return diagnose_memory(opened, namespace, pod, watch=watch, prometheus=prometheus)
