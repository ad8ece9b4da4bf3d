"""One value that must stay at or below its limit: looks after a repair, and whether they show that it helped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Finding, Verdict


@dataclass(frozen=True, kw_only=True)
class LevelSample:
    """One look after the repair."""

    at: float
    """Seconds of a clock that only goes forward."""
    value: float | None
    """None: it could not be measured."""
    unknown: str = ""
    """Why not."""


def judge_level(samples: Sequence[LevelSample], at_most: float, hold: float, shown: Callable[[float], str]) -> Verdict:
    """Healthy when, for ``hold``, every look measured a value within the limit.

    Args:
        samples: in the order they were made.
        at_most: the limit.
        hold: seconds.
        shown: a value in words for people.
    """
    last = samples[-1] if samples else LevelSample(at=0, value=None, unknown="Nobody looked after the repair.")
    if last.value is None:
        return Verdict(healthy=False, inconclusive=True, reason=f"It cannot be told whether it helped: {last.unknown}")
    held, said = held_for(samples, at_most), shown(last.value)
    finding = Finding(title=said, troubling=last.value > at_most)
    if last.value > at_most:
        return Verdict(healthy=False, reason=f"{said}, still above the limit.", findings=(finding,))
    if held < hold:
        short = f"{said}, for {format_duration(held)} only, of {format_duration(hold)} to be watched."
        return Verdict(healthy=False, inconclusive=True, reason=short, findings=(finding,))
    return Verdict(healthy=True, reason=f"{said}, for {format_duration(held)}.", findings=(finding,))


def held_for(samples: Sequence[LevelSample], at_most: float) -> float:
    """Seconds for which every look, the last one included, was within the limit; an unknown one is not."""
    since = samples[-1].at
    for sample in reversed(samples):
        if sample.value is None or sample.value > at_most:
            break
        since = sample.at
    return samples[-1].at - since
