"""Everything that the planner for a killed container gets to know, read in one go; nothing is changed.

Operations ``kubernetes.read_pod``, ``describe_pod`` and ``prometheus.query``: octollm.PodOOMKilled.d1-d3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.crash_look import diagnose_pod
from nightshift.remediation.clients.kubernetes.resources import AUTOSCALERS
from nightshift.remediation.clients.prometheus import query, selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_policy import PodCrashLoopPolicy
from nightshift.remediation.kubernetes.memory_planner import OOM_KILLED, MemoryDiagnosis, killed_container
from nightshift.remediation.kubernetes.objects import ContainerStatus, Pod
from nightshift.remediation.kubernetes.saturation import Use

_METRIC = "container_memory_working_set_bytes"
"""What the kernel's decision follows; ``container_memory_usage_bytes`` has the page cache in it."""
_RESTARTS = "kube_pod_container_status_restarts_total"
"""The cluster itself tells only how often a container was started again in all its life."""
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
    killed, uses = killed_container(crash.pod), tuple[Use, ...]()
    if killed is not None and prometheus is not None:
        # What runs since has little memory yet: with it, a leak would look like a spike.
        ended = seconds_since_kill(killed, crash.now)
        uses = tuple(memory_over_time(prometheus, crash.pod, killed.name, watch, ended=ended))
        kills = max(crash.kills_last_hour, _restarts_within_an_hour(prometheus, crash.pod, killed.name))
        crash = replace(crash, kills_last_hour=kills)
    return MemoryDiagnosis(crash=crash, uses=uses, autoscalers=tuple(cluster.list(AUTOSCALERS, crash.pod.namespace)))


def seconds_since_kill(killed: ContainerStatus, now: datetime) -> int:
    """How long ago its run was ended for memory, by the cluster's clock; 0: that is not told."""
    ends = [end for end in (killed.terminated, killed.last_termination) if end is not None and end.reason == OOM_KILLED]
    at = ends[0].finished_at if ends else None
    return max(0, math.ceil((now - at).total_seconds())) if at is not None else 0


def _restarts_within_an_hour(prometheus: Prometheus, pod: Pod, container: str) -> int:
    """Of one that was last killed for memory; 0 where nobody counts them, as without kube-state-metrics."""
    series = selector(_RESTARTS, {"namespace": pod.namespace, "pod": pod.name, "container": container})
    found = query(*prometheus, f"max(increase({series}[1h]))")
    return max((round(one.value[1]) for one in found if math.isfinite(one.value[1])), default=0)


@serves("octollm.PodOOMKilled: d3")
def memory_over_time(
    prometheus: Prometheus, pod: Pod, container: str, watch: float, *, ended: int = 0
) -> Iterator[Use]:
    """What a container used in so many seconds: at even intervals, the oldest first, unknown moments left out.

    Args:
        prometheus: where that is measured.
        pod: that it runs in.
        container: its name.
        watch: seconds.
        ended: so many seconds ago they were over.
    """
    labels = {"namespace": pod.namespace, "pod": pod.name, "container": container}
    series, now = selector(_METRIC, labels), None
    for point in reversed(range(_POINTS)):
        ago = ended + round(watch * point / (_POINTS - 1))
        found = query(*prometheus, f"max({series} offset {ago}s)" if ago else f"max({series})")
        for sample in found[:1]:
            now, amount = sample.value
            if math.isfinite(amount):
                yield Use(at=now - ago, amount=round(amount))
