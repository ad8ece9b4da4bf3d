"""Does memory leak? Judged from its slope over hours, not from its level at one moment.

test_watcher.MemoryLeakDetected.d3: the document takes ``rate()`` of a gauge, for which every fall is a restart; here it
is the slope of the least squares, as ``deriv()``, of what was scraped since the process was started.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from nightshift.remediation.durations import format_duration
from nightshift.remediation.host_load.objects import MemoryPoint
from nightshift.remediation.models import format_bytes

TEN_MINUTES = 600.0
_FEWEST = 8
_FELL = 0.5
"""A value below this share of the one before it is that of a fresh start."""


@dataclass(frozen=True)
class Growth:
    """How the memory of one service went."""

    slope: float
    """Bytes per second, by the least squares."""
    over: float
    """Seconds that were looked at: since its last fresh start."""
    now: float
    """Bytes."""
    rising: bool
    """Whether the least of each quarter of the time is above that of the quarter before."""

    @property
    def in_words(self) -> str:
        """For people: ``1.2 GiB, +15.0 MiB in 10 minutes over 3h``."""
        change = self.slope * TEN_MINUTES
        sign = "+" if change >= 0 else "-"
        shown = format_bytes(round(abs(change)))
        return f"{format_bytes(round(self.now))}, {sign}{shown} in 10 minutes over {format_duration(self.over)}"

    def is_leak(self, per_10_minutes: float, least: float) -> bool:
        """Whether it rose steadily, fast enough, and for long enough."""
        return self.rising and self.slope * TEN_MINUTES > per_10_minutes and self.over >= least

    def full_in(self, left: float) -> float:
        """Seconds until so many bytes more are used; infinite when it does not grow."""
        return left / self.slope if self.slope > 0 else math.inf


def growth_of(points: Sequence[MemoryPoint]) -> Growth | None:
    """How the memory went since the last fresh start; None: too few measurements to say."""
    measured = sorted((p for p in points if math.isfinite(p.amount) and p.amount >= 0), key=lambda p: p.at)
    begins = [number + 1 for number, (a, b) in enumerate(pairwise(measured)) if b.amount < _FELL * a.amount]
    run = measured[begins[-1] :] if begins else measured
    if len(run) < _FEWEST or run[-1].at <= run[0].at:
        return None
    size = len(run) / 4
    lows = [min(p.amount for p in run[int(i * size) : int((i + 1) * size)]) for i in range(4)]
    rising = all(low < high for low, high in pairwise(lows))
    return Growth(slope=_slope(run), over=run[-1].at - run[0].at, now=run[-1].amount, rising=rising)


def _slope(points: Sequence[MemoryPoint]) -> float:
    middle = sum(p.at for p in points) / len(points)
    mean = sum(p.amount for p in points) / len(points)
    spread = sum((p.at - middle) ** 2 for p in points)
    return sum((p.at - middle) * (p.amount - mean) for p in points) / spread
