"""What was measured of a pod that crashes: the memory of its failing container, and where its requests failed. Pure.

Follows octollm.PodCrashLoopBackOff.r2.1, r2.3 and r5.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nightshift.remediation.durations import format_duration
from nightshift.remediation.kubernetes.load import ContainerKey
from nightshift.remediation.kubernetes.objects import Pod
from nightshift.remediation.kubernetes.saturation import Use
from nightshift.remediation.models import Finding, format_bytes
from nightshift.remediation.requests.failing_calls import FailingCall
from nightshift.remediation.text import printable


@dataclass(frozen=True, kw_only=True)
class CrashMeasures:
    """Evidence for people; no plan depends on it."""

    uses: Sequence[Use] = ()
    """Working set of the failing container, the oldest first."""
    limit: int | None = None
    """Bytes that it may use; None: it has no limit of its own."""
    calls: Sequence[FailingCall] = ()
    """Where its failed requests began to fail."""
    unseen: Sequence[str] = ()
    """What could not be measured, and why."""


def findings_of_measures(measures: CrashMeasures) -> Iterator[Finding]:
    """How much memory it used at most, and where its requests fail."""
    if measures.uses:
        most, lasts = max(use.amount for use in measures.uses), measures.uses[-1].at - measures.uses[0].at
        title = f"It used at most {_of(most, measures.limit)} within the last {format_duration(max(60.0, lasts))}"
        yield Finding(title=title, data={"bytes": most})
    for call in measures.calls:
        yield Finding(title=f"Failed in {call.words}", troubling=True)
    for what in measures.unseen:
        yield Finding(title=f"Not measured: {printable(what, 300)}")


def memory_in_words(pods: Sequence[Pod], used: Mapping[ContainerKey, int], container: str) -> str:
    """How much the hungriest of these pods uses in this container; empty: nobody measured it."""
    found = [
        (amount, one.limits.memory_bytes)
        for pod in pods
        for one in pod.containers
        if one.name == container and (amount := used.get((pod.namespace, pod.name, container))) is not None
    ]
    if not found:
        return ""
    amount, limit = max(found, key=lambda pair: pair[0])
    return f"{printable(container, 80)} uses at most {_of(amount, limit)}"


def _of(amount: int, limit: int | None) -> str:
    return f"{format_bytes(amount)} of {format_bytes(limit)}" if limit else format_bytes(amount)
