"""Is the node well again, and will it stay so? Did its pods find another place? Judged over the time it must hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.durations import format_duration
from nightshift.remediation.kubernetes.node_diagnosis import PRESSURES
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
    replacements_ready: int = 0
    """Ready nodes that were made since the diagnosis."""
    without_place: tuple[str, ...] = ()
    """Workloads (``namespace/name``) of evicted pods that lack pods still."""


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
    if not _well(last):
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
    what = name if last.node is not None else f"A new node in place of {name}"
    reason = f"{what} is well for {format_duration(held)}, and no evicted pod lacks a place."
    return Verdict(healthy=True, reason=reason, findings=findings)


def _well(sample: NodeSample) -> bool:
    node = sample.node
    if node is None:
        return sample.replacements_ready > 0
    under_pressure = any((c := node.condition(kind)) is not None and c.is_true for kind in PRESSURES)
    return node.is_ready and not under_pressure


def _held(samples: Sequence[NodeSample]) -> float:
    """Seconds of the newest run of looks in which it was well; one that flaps starts anew."""
    since = samples[-1].at
    for sample in reversed(samples):
        if not _well(sample):
            break
        since = min(since, sample.at)
    return samples[-1].at - since


def _findings(name: str, last: NodeSample) -> tuple[Finding, ...]:
    state = "gone" if last.node is None else "well" if _well(last) else "not well"
    return (
        Finding(title=f"{name} is {state}", troubling=not _well(last)),
        Finding(
            title=f"{counted(len(last.without_place), 'workload')} of evicted pods without all of its pods",
            detail=listed([printable(workload, 100) for workload in last.without_place], 10),
            troubling=bool(last.without_place),
        ),
    )
