"""Watch one measured value until it stayed within its limit for long enough."""

from __future__ import annotations

import time
from collections.abc import Callable

from nightshift.remediation.errors import TargetUnreachableError
from nightshift.remediation.kubernetes.levels import LevelSample, held_for

_LONGEST_PAUSE = 15.0
_LOOKS = 20


def watch_level(measure: Callable[[], float], at_most: float, *, wait: float, hold: float) -> tuple[LevelSample, ...]:
    """Looks until the value was within its limit for ``hold`` seconds, or was not within ``wait``."""
    began, samples = time.monotonic(), list[LevelSample]()
    while True:
        samples.append(_look(measure))
        held, waited = held_for(samples, at_most), time.monotonic() - began
        if held >= hold or waited >= wait + (hold if held > 0 else 0):
            return tuple(samples)
        time.sleep(max(1.0, min(_LONGEST_PAUSE, hold / _LOOKS)))


def _look(measure: Callable[[], float]) -> LevelSample:
    """One look; a Prometheus that cannot tell ends nothing: what counts is whether it can at the end."""
    try:
        return LevelSample(at=time.monotonic(), value=measure())
    except TargetUnreachableError as error:
        return LevelSample(at=time.monotonic(), value=None, unknown=str(error))
