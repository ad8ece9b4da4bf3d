"""Everything that the planner for a killed container gets to know, read in one go; nothing is changed.

Operations ``kubernetes.read_pod``, ``describe_pod`` and ``prometheus.query``: octollm.PodOOMKilled.d1-d3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.crash_look import diagnose_pod
from nightshift.remediation.clients.kubernetes.resources import AUTOSCALERS
from nightshift.remediation.clients.prometheus import query, selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_policy import PodCrashLoopPolicy
from nightshift.remediation.kubernetes.memory_planner import MemoryDiagnosis, killed_container
from nightshift.remediation.kubernetes.objects import Pod
from nightshift.remediation.kubernetes.saturation import Use

_METRIC = "container_memory_working_set_bytes"
"""What the kernel's decision follows; ``container_memory_usage_bytes`` has the page cache in it."""
_POINTS = 12

Prometheus = tuple[str, HttpConnection]
"""The connection's name, and how it is reached."""


@serves("octollm.PodOOMKilled: d1 d2")
def diagnose_memory(
    cluster: Cluster, namespace: str, name: str, *, watch: float, prometheus: Prometheus | None
) -> MemoryDiagnosis | None:
    """The pod, and how much its killed container used; None: neither it nor one in its place exists.

    Args:
        cluster: open.
        namespace: of the pod.
        name: of the pod.
        watch: seconds over which its use is looked at.
        prometheus: where that is measured; None: nowhere.

    Raises:
        NightshiftError: something could not be read; nothing is concluded from a part.
    """
    crash = diagnose_pod(cluster, namespace, name, PodCrashLoopPolicy())
    if crash is None:
        return None
    killed = killed_container(crash.pod)
    uses = (
        ()
        if killed is None or prometheus is None
        else tuple(memory_over_time(prometheus, crash.pod, killed.name, watch))
    )
    return MemoryDiagnosis(crash=crash, uses=uses, autoscalers=tuple(cluster.list(AUTOSCALERS, crash.pod.namespace)))


@serves("octollm.PodOOMKilled: d3")
def memory_over_time(prometheus: Prometheus, pod: Pod, container: str, watch: float) -> Iterator[Use]:
    """What a container used in so many seconds: at even intervals, the oldest first, unknown moments left out."""
    labels = {"namespace": pod.namespace, "pod": pod.name, "container": container}
    series, now = selector(_METRIC, labels), None
    for point in reversed(range(_POINTS)):
        ago = round(watch * point / (_POINTS - 1))
        found = query(*prometheus, f"max({series} offset {ago}s)" if ago else f"max({series})")
        for sample in found[:1]:
            now, amount = sample.value
            if math.isfinite(amount):
                yield Use(at=now - ago, amount=round(amount))
