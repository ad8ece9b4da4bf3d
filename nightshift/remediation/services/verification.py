"""Does a service answer, and stay? Judged from looks over the watch time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Finding, Verdict

_ENOUGH = 3


class Look(Protocol):
    """One look at a service."""

    @property
    def at(self) -> float:
        """Seconds of a clock that only goes forward."""

    @property
    def well(self) -> bool:
        """Whether it worked."""

    @property
    def run(self) -> str:
        """What tells this run of it from any other; the same throughout where that is not known."""


def held_for(looks: Sequence[Look]) -> float:
    """Seconds on end, up to the last look, in which the run of the last look worked."""
    since = None
    for look in reversed(looks):
        if not look.well or look.run != looks[-1].run:
            break
        since = look.at
    return looks[-1].at - since if since is not None else 0.0


def judge_answering(looks: Sequence[Look], hold: float, said: str, findings: Sequence[Finding] = ()) -> Verdict:
    """Healthy when the same run of it worked for the last ``hold`` seconds, looked at often enough.

    Args:
        looks: in their order.
        hold: seconds.
        said: the last look in words.
        findings: what was seen at last.
    """
    if not looks:
        return Verdict(healthy=False, inconclusive=True, reason="It was not looked at after the restart.")
    held = held_for(looks)
    reason = f"{said[:1].upper()}{said[1:]}, for {format_duration(held)} of {format_duration(hold)}."
    healthy = looks[-1].well and held >= hold and len(looks) >= _ENOUGH
    return Verdict(healthy=healthy, reason=reason, findings=tuple(findings))
