"""A small picture of usage over time, as block characters for Markdown and terminals, and as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from nightshift.remediation.durations import format_duration

_YEAR_9999 = 253_370_764_800
_EIGHTHS = " ▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 60, 8
"""Characters of the plotted area."""
_SVG_WIDTH, _SVG_HEIGHT, _SVG_LEFT, _SVG_TOP = 640, 200, 48, 16


class Measured(Protocol):
    """Usage at one moment, of a filesystem or of a database's volume."""

    @property
    def at(self) -> float:
        """Unix time."""
        ...

    @property
    def used_percent(self) -> float:
        """0 to 100."""
        ...


def usage_chart(samples: Sequence[Measured], limit_percent: float | None = None) -> str:
    """Usage in percent over time, newest at the right; a text block to be shown in a fixed-width font.

    The vertical axis always runs from 0 to 100 %, so that pictures can be compared; ``limit_percent`` is marked with
    ``◄`` at its height. Samples without a sensible time are left out; fewer than two give a sentence instead.
    """
    points = _points(samples)
    if len(points) < 2:
        return "Too few measurements for a picture."
    columns = _columns(points)
    marked = None if limit_percent is None else min(HEIGHT - 1, int(limit_percent / 100 * HEIGHT))
    lines = []
    for row in range(HEIGHT - 1, -1, -1):
        label = f"{100 * (row + 1) // HEIGHT:>3} %" if row in (HEIGHT - 1, HEIGHT // 2 - 1) else " " * 5
        cells = "".join(_EIGHTHS[_eighths(value, row)] for value in columns)
        mark = f"◄ {limit_percent:g} %" if row == marked else ""
        lines.append(f"{label} ┤{cells}{mark}".rstrip())
    first, last = points[0][0], points[-1][0]
    start, end = _clock(first), _clock(last)
    middle = f"{format_duration(last - first)}".center(max(0, WIDTH - len(start) - len(end)))
    return "\n".join([*lines, f"  0 % └{'─' * WIDTH}", f"       {start}{middle}{end}"])


def usage_svg(samples: Sequence[Measured], limit_percent: float | None = None) -> str:
    """The same picture as an SVG document; empty for fewer than two samples. It holds no text from the target."""
    points = _points(samples)
    if len(points) < 2:
        return ""
    first, last = points[0][0], points[-1][0]
    width, height = _SVG_WIDTH - _SVG_LEFT - 8, _SVG_HEIGHT - _SVG_TOP - 24
    line = " ".join(
        f"{_SVG_LEFT + width * (at - first) / (last - first):.1f},{_SVG_TOP + height * (1 - percent / 100):.1f}"
        for at, percent in points
    )
    bottom, right = _SVG_TOP + height, _SVG_LEFT + width
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SVG_WIDTH} {_SVG_HEIGHT}" font-size="11">',
        "<title>Filesystem usage over time</title>",
        f'<path d="M{_SVG_LEFT} {_SVG_TOP}V{bottom}H{right}" fill="none" stroke="gray"/>',
        *(_svg_text(_SVG_LEFT - 6, _SVG_TOP + height * (1 - p / 100) + 4, f"{p} %", "end") for p in (0, 50, 100)),
        _svg_text(_SVG_LEFT, bottom + 16, _clock(first), "start"),
        _svg_text(right, bottom + 16, _clock(last), "end"),
        f'<polyline points="{line}" fill="none" stroke="steelblue" stroke-width="2"/>',
    ]
    if limit_percent is not None:
        y = _SVG_TOP + height * (1 - limit_percent / 100)
        parts.append(f'<path d="M{_SVG_LEFT} {y:.1f}H{right}" stroke="firebrick" stroke-dasharray="4 3"/>')
    return "".join([*parts, "</svg>"])


def has_time(sample: Measured) -> bool:
    """Whether the time of the measurement is one that a clock can show: a number of this era."""
    return math.isfinite(sample.at) and 0 <= sample.at < _YEAR_9999


def _points(samples: Sequence[Measured]) -> list[tuple[float, float]]:
    """Time and percent, by time, one per moment."""
    finite = {s.at: min(100.0, max(0.0, s.used_percent)) for s in samples if has_time(s)}
    points = sorted(finite.items())
    return points if points and points[-1][0] - points[0][0] > 0 else points[:1]


def _columns(points: Sequence[tuple[float, float]]) -> list[float]:
    """The percentage in force at each column: the newest sample at or before its time."""
    first, span = points[0][0], points[-1][0] - points[0][0]
    columns, newest = [], 0
    for column in range(WIDTH):
        at = first + span * column / (WIDTH - 1)
        while newest + 1 < len(points) and (column == WIDTH - 1 or points[newest + 1][0] <= at):
            newest += 1
        columns.append(points[newest][1])
    return columns


def _eighths(percent: float, row: int) -> int:
    return min(8, max(0, round(percent / 100 * HEIGHT * 8) - row * 8))


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def _svg_text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
