"""What a node in trouble uses, and who uses it: findings for the report. Pure.

Follows octollm.NodeNotReady.d3-d5 and r2.1-r2.3: a node that does not report is not measured, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nightshift.remediation.durations import format_duration
from nightshift.remediation.kubernetes.load import Consumer, Kind
from nightshift.remediation.kubernetes.saturation import grows_steadily
from nightshift.remediation.models import Finding, format_bytes
from nightshift.remediation.text import printable

_MOST = 5
HIGH_PERCENT = 90
"""Of CPU or memory: from here on it is told as troubling."""


@dataclass(frozen=True, kw_only=True)
class NodeUse:
    """As Prometheus has it."""

    percent: Sequence[tuple[Kind, float]] = ()
    """Of the node, in use."""
    consumers: Sequence[Consumer] = ()
    """Of its memory, the hungriest first; the first ones with their memory over time."""
    unseen: Sequence[str] = ()
    """What could not be measured, and why."""


def findings_of_use(use: NodeUse) -> Iterator[Finding]:
    """CPU and memory of the node, its hungriest workloads, and which of them grow."""
    for kind, percent in use.percent:
        yield Finding(title=f"{percent:.0f} % of its {kind} in use", troubling=percent >= HIGH_PERCENT)
    for consumer in use.consumers[:_MOST]:
        grows = grows_steadily(consumer.uses)
        leaks = f"its memory grows without a pause for {format_duration(grows)}: it may leak" if grows else ""
        title = f"{consumer.name} uses {format_bytes(consumer.used)} of its memory"
        yield Finding(title=title, detail=leaks, troubling=bool(grows))
    for what in use.unseen:
        yield Finding(title=f"Not measured: {printable(what, 300)}")
