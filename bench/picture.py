"""The result as a picture: how latencies are spread, and how a storm of 200 alerts passes. SVG, without a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.figures import Result, at, percentile

_WIDTH, _LEFT, _RIGHT = 760, 96, 16
_ROW, _PLOT = 34, 220
_COLOURS = {"nightshift": "seagreen", "tuned": "darkorange", "stock": "firebrick", "ansible-rulebook": "purple"}
_NAMES = {
    "nightshift": "Nightshift",
    "tuned": "Prefect, tuned",
    "stock": "Prefect",
    "ansible-rulebook": "Ansible",
}
_LINES = {"accepted": "steelblue", "diagnosed": "darkorange", "reported": "seagreen"}


def picture(result: Result) -> str:
    """An SVG document of what was measured; parts without measurements are left out."""
    measured: Mapping[str, Sequence[float]] = result.get("first_task_s", {})
    firsts = {name: measured[name] for name in _NAMES if measured.get(name)}
    timeline: Mapping[str, Sequence[float]] = at(result, "storm_200.timeline") or {}
    height, parts = 8, []
    if firsts:
        parts += _latencies(firsts, height)
        height += 56 + _ROW * len(firsts)
    if timeline.get("reported"):
        parts += _storm(timeline, height)
        height += _PLOT + 64
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif"'
    background = f'<rect width="{_WIDTH}" height="{height}" fill="white"/>'
    return "\n".join([f'{head} font-size="12">', "<title>make bench</title>", background, *parts, "</svg>\n"])


def _latencies(firsts: Mapping[str, Sequence[float]], top: float) -> list[str]:
    """A row of dots for each worker, its median as a bar."""
    longest = max(max(values) for values in firsts.values())
    scale = _Scale(longest)
    bottom = top + 28 + _ROW * len(firsts)
    parts = [_text(_LEFT, top + 14, "Alert posted → first task runs (a dot per alert, a bar at the median)")]
    for row, (pool, values) in enumerate(firsts.items()):
        y = top + 28 + _ROW * row + _ROW / 2
        middle, colour = percentile(values, 50), _COLOURS[pool]
        parts.append(_text(_LEFT - 8, y + 4, _NAMES[pool], "end"))
        parts += [f'<circle cx="{scale.x(v):.1f}" cy="{y:.1f}" r="4" fill="{colour}" opacity="0.45"/>' for v in values]
        parts.append(f'<path d="M{scale.x(middle):.1f} {y - 11:.1f}v22" stroke="{colour}" stroke-width="3"/>')
        parts.append(_text(scale.x(middle) + 6, y - 8, f"{middle:.2f} s"))
    return [*parts, *scale.axis(bottom)]


def _storm(timeline: Mapping[str, Sequence[float]], top: float) -> list[str]:
    """How many alerts were accepted, diagnosed and reported by when."""
    longest, most = max(timeline["reported"]), len(timeline["reported"])
    scale = _Scale(longest)
    bottom = top + 28 + _PLOT
    parts = [_text(_LEFT, top + 14, "200 alerts about 200 targets at once")]
    for name, colour in _LINES.items():
        moments = sorted(timeline.get(name, ()))
        if not moments:
            continue
        steps = [(moment, number) for number, moment in enumerate(moments, 1)]
        line = " ".join(f"{scale.x(t):.1f},{bottom - (_PLOT - 10) * n / most:.1f}" for t, n in [(0.0, 0), *steps])
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        place = list(_LINES).index(name)
        parts.append(_text(_WIDTH - _RIGHT - 4, bottom - 12 - 16 * place, name, "end", colour))
    parts += [_text(_LEFT - 8, bottom - (_PLOT - 10) * n / most + 4, str(n), "end") for n in (0, most // 2, most)]
    return [*parts, f'<path d="M{_LEFT} {top + 28}V{bottom}" stroke="gray"/>', *scale.axis(bottom)]


class _Scale:
    """Seconds from 0 to a little more than the longest, along the width."""

    def __init__(self, longest: float) -> None:
        self._longest = longest * 1.05 or 1.0

    def x(self, seconds: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / self._longest

    def axis(self, y: float) -> list[str]:
        """The line, with about eight round numbers below it."""
        step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1e9) if self._longest / s <= 10)
        marks = [number * step for number in range(int(self._longest / step) + 1)]
        parts = [f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="gray"/>']
        parts += [f'<path d="M{self.x(mark):.1f} {y:.1f}v4" stroke="gray"/>' for mark in marks]
        return [*parts, *(_text(self.x(mark), y + 17, f"{mark:g} s", "middle") for mark in marks)]


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "black") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'
