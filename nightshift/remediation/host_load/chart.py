"""A picture of memory over time, as block characters for Markdown and terminals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.disk_space.chart import usage_chart
from nightshift.remediation.host_load.objects import MemoryPoint
from nightshift.remediation.models import format_bytes


@dataclass(frozen=True)
class _Share:
    at: float
    used_percent: float


def memory_chart(points: Sequence[MemoryPoint], limit: float | None = None) -> str:
    """Memory over time, newest at the right; 100 % is the most that was seen, or the limit where that is more.

    Fixed-width text; fewer than two measurements give a sentence instead.
    """
    largest = max([*(point.amount for point in points), limit or 0.0], default=0.0)
    if largest <= 0:
        return "Too few measurements for a picture."
    shares = [_Share(point.at, 100 * point.amount / largest) for point in points]
    marked = None if limit is None else 100 * limit / largest
    return f"100 % = {format_bytes(round(largest))}\n{usage_chart(shares, marked)}"
