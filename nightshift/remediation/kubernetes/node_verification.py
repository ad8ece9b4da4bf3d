"""Is the node well again, and will it stay so? Did its pods find another place? Judged over the time it must hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.marks import CORDONED_BY
from nightshift.remediation.kubernetes.node_diagnosis import is_well
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.kubernetes.objects import Node
from nightshift.remediation.models import Finding, Verdict
from nightshift.remediation.text import counted, listed, printable


@dataclass(frozen=True, kw_only=True)
class NodeSample:
    """One look after the repair."""

    at: float
    """Seconds of a clock that only goes forward."""
    node: Node | None
    """None: it is gone."""
    well_for: float = 0
    """Seconds for which it has been well by its own conditions."""
    replacements_ready: int = 0
    """Ready nodes that were made since the diagnosis."""
    without_place: tuple[str, ...] = ()
    """Owners (``namespace/name``) of pods that were made since the trouble began and that no node takes."""

    @property
    def is_well(self) -> bool:
        """Ready and without pressure, or replaced by one that is ready."""
        return self.replacements_ready > 0 if self.node is None else is_well(self.node)


@serves("octollm.NodeNotReady: v1")
def judge(before: Node, samples: Sequence[NodeSample], policy: NodeNotReadyPolicy) -> Verdict:
    """Healthy when the node, or one that replaced it, was well for ``hold`` and no evicted pod lacks a place.

    A drained node that is still not ready is not healthy: its pods are safe, but the capacity is missing.

    Args:
        before: the node as diagnosed.
        samples: in the order they were made.
        policy: how long it must hold.
    """
    name = printable(before.name)
    if not samples:
        return Verdict(healthy=False, inconclusive=True, reason=f"{name} was not looked at after the repair.")
    last, held = samples[-1], _held(samples)
    findings = _findings(name, last)
    homeless = listed([printable(workload, 100) for workload in last.without_place])
    if not last.is_well:
        moved = name if last.without_place else f"Its pods run elsewhere, but {name}"
        state = "is gone, and no new node is ready" if last.node is None else "is still not well"
        waits = f" {counted(len(last.without_place), 'workload')} wait for pods: {homeless}." if homeless else ""
        return Verdict(healthy=False, reason=f"{moved} {state}.{waits}", findings=findings)
    if last.without_place:
        reason = f"{name} is well, but pods are missing of {homeless}."
        return Verdict(healthy=False, reason=reason, findings=findings)
    if held < policy.hold:
        reason = f"{name} is well for {format_duration(held)} only, of {format_duration(policy.hold)} to be watched."
        return Verdict(healthy=False, inconclusive=True, reason=reason, findings=findings)
    if last.node is not None and last.node.unschedulable and CORDONED_BY in last.node.meta.annotations:
        return Verdict(healthy=False, reason=f"{name} is well, but still cordoned by Nightshift.", findings=findings)
    what = name if last.node is not None else f"A new node in place of {name}"
    reason = f"{what} is well for {format_duration(held)}, and no evicted pod lacks a place."
    return Verdict(healthy=True, reason=reason, findings=findings)


def is_settled(samples: Sequence[NodeSample], policy: NodeNotReadyPolicy) -> bool:
    """Whether more looks would tell nothing new: well for ``hold``, and no pod lacks a place."""
    return samples[-1].is_well and not samples[-1].without_place and _held(samples) >= policy.hold


def _held(samples: Sequence[NodeSample]) -> float:
    """Seconds for which it was well by its conditions or by looking; one that flaps starts anew with both."""
    since = samples[-1].at
    for sample in reversed(samples):
        if not sample.is_well:
            break
        since = min(since, sample.at)
    return max(samples[-1].at - since, samples[-1].well_for)


def _findings(name: str, last: NodeSample) -> tuple[Finding, ...]:
    state = "gone" if last.node is None else "well" if last.is_well else "not well"
    return (
        Finding(title=f"{name} is {state}", troubling=not last.is_well),
        Finding(
            title=f"{counted(len(last.without_place), 'workload')} of evicted pods without all of its pods",
            detail=listed([printable(workload, 100) for workload in last.without_place], 10),
            troubling=bool(last.without_place),
        ),
    )
