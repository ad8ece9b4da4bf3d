"""Measure a pod that crashes: its memory, and where its requests fail; and its memory again after a repair."""

from __future__ import annotations

import time
from collections.abc import Sequence

from nightshift.remediation.clients.jaeger import failed_traces
from nightshift.remediation.clients.kubernetes.memory_look import Prometheus, memory_over_time
from nightshift.remediation.clients.resource_use import Meter
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import CrashDiagnosis
from nightshift.remediation.kubernetes.crash_measures import CrashMeasures, memory_in_words
from nightshift.remediation.kubernetes.load import Kind
from nightshift.remediation.kubernetes.objects import Pod
from nightshift.remediation.kubernetes.saturation import Use
from nightshift.remediation.requests.failing_calls import FailingCall, failing_calls
from nightshift.remediation.text import printable
from nightshift.tasks.steps import diagnostic

_WATCH = 3600.0
"""Seconds over which memory and traces are looked at."""
Jaeger = tuple[str, HttpConnection]
"""The connection's name, and how it is reached."""


@serves("octollm.PodCrashLoopBackOff: r2.1 r5.1")
@diagnostic("measure a pod that crashes", of="{diagnosis.pod.name}")
def measure_crash(diagnosis: CrashDiagnosis, prometheus: Prometheus | None, jaeger: Jaeger | None) -> CrashMeasures:
    """Its memory over the last hour, and its failed requests; what is not measured is said (``jaeger.find_traces``)."""
    failing, limits, unseen = diagnosis.failing, diagnosis.limits, list[str]()
    uses, calls = tuple[Use, ...](), tuple[FailingCall, ...]()
    if prometheus is not None and failing is not None:
        try:
            uses = tuple(memory_over_time(prometheus, diagnosis.pod, failing.name, _WATCH))
        except NightshiftError as error:
            unseen.append(f"its memory: {error}")
    if jaeger is not None and diagnosis.release is not None:
        service, now = diagnosis.release.workload.name, time.time()
        try:
            calls = failing_calls(failed_traces(*jaeger, service, start=now - _WATCH, end=now))
        except NightshiftError as error:
            unseen.append(f"its traces: {error}")
    limit = limits.memory_bytes if limits is not None else None
    return CrashMeasures(uses=uses, limit=limit, calls=calls, unseen=tuple(unseen))


@serves("octollm.PodCrashLoopBackOff: r2.3")
@diagnostic("measure memory after a repair", of="{container}")
def measure_memory(pods: Sequence[Pod], container: str, prometheus: Prometheus) -> str:
    """What the container uses in the hungriest of these pods, in words; empty: nobody measured it."""
    if not pods:
        return ""
    meter = Meter(*prometheus, Kind.MEMORY, _WATCH)
    try:
        used = meter.containers(namespace=pods[0].namespace, container=container)
    except NightshiftError as error:
        return f"its memory was not measured: {printable(str(error), 200)}"
    return memory_in_words(pods, used, container)
