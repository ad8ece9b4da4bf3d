"""Measures of a sweep, and what they mean: pure, from numbers to findings."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import combinations
from statistics import median
from typing import Literal

from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Value, format_bytes

_ENOUGH = 4
"""Sweeps that a forecast needs."""
_MOST = 24
"""The newest ones that it looks at."""
_NEAR = 0.9
"""So much of its limit makes a measure worth a look."""


class Level(StrEnum):
    """How a measure stands."""

    WELL = "ok"
    NEAR = "look"
    """Near its limit; nothing is opened."""
    FINDING = "finding"


class Forecast(Value):
    """When it makes sense to ask how soon a measure will reach a level at its present pace."""

    within: float
    """Seconds; what is there sooner is told."""
    level: float = 100.0
    then: str = "full"
    """What it is then, for people."""
    opens: bool = True
    """Whether that is a finding, or only worth a look."""


class Measure(Value):
    """One number about one part of a system, or what kept us from having it."""

    key: str
    """The same in every sweep: ``disk/web1//data``."""
    what: str
    """For people: ``disk web1 /data``. Printable."""
    value: float | None = None
    """null: it has none, and ``trouble`` says how it stands."""
    unit: Literal["%", "s", "B", ""] = ""
    limit: float | None = None
    """Beyond it is a finding."""
    falls: bool = False
    """Whether less is worse, as with the days that a certificate is good."""
    trouble: str = ""
    """What is wrong, in words; empty: nothing, as far as the number tells. Printable."""
    flows: tuple[str, ...] = ()
    """Flows that repair this, the best first."""
    runbooks: tuple[str, ...] = ()
    """Names of the only alerts whose runbooks do; empty: any with one of these flows."""
    target: tuple[tuple[str, str], ...] = ()
    """Kinds and names of what they act on, outermost first."""
    forecast: Forecast | None = None
    """null: it makes no sense to ask."""
    remark: str = ""
    """What makes it worth a look, though nothing is opened. Printable."""
    stuck: str = ""
    """What is wrong unless it is less than at the last sweep, as with a queue that nobody works off. Printable."""
    grown: Level = Level.WELL
    """How a counter stands that has grown since the last sweep."""
    unseen: bool = False
    """Whether this is a connection that could not be looked at, so that nothing is known of its parts."""

    @property
    def part(self) -> str:
        """The connection that it is of, by its key."""
        return part_of(self.key)

    @property
    def shown(self) -> str:
        """The number for people."""
        if self.value is None:
            return "—"
        if self.unit == "s":
            return format_duration(max(0.0, self.value))
        if self.unit == "B":
            return format_bytes(round(self.value))
        return f"{round(self.value, 1):g}%" if self.unit == "%" else f"{self.value:,.0f}"


def part_of(key: str) -> str:
    """The connection of a measure: the second word of its key."""
    return (*key.split("/"), "")[1]


class Judged(Value):
    """A measure and how it stands."""

    measure: Measure
    level: Level
    why: str = ""
    """Why it is no ``ok``; printable."""
    change: float | None = None
    """Since the last sweep; null: it was not measured then."""

    @property
    def arrow(self) -> str:
        """Its way since the last sweep."""
        if self.change is None:
            return ""
        steps = 0.05 if self.measure.unit == "%" else 0.5
        return "→" if abs(self.change) <= steps else "↑" if self.change > 0 else "↓"

    @property
    def trend(self) -> str:
        """The same with by how much, for people."""
        if self.change is None:
            return "new" if self.measure.value is not None else ""
        if self.arrow == "→":
            return "→"
        return f"{self.arrow} {self.measure.model_copy(update={'value': abs(self.change)}).shown}"


Past = Sequence[tuple[float, float]]
"""Moments (Unix seconds) and values of one measure, the oldest first."""


def seconds_to(level: float, past: Past) -> float | None:
    """Seconds until it reaches this level at the pace of the last sweeps; None: it does not, or too little is known.

    The slope is the median of all pairs' (Theil and Sen), so that one clean-up or one burst does not bend it.
    """
    newest = list(past)[-_MOST:]
    if len(newest) < _ENOUGH:
        return None
    slopes = [(b - a) / (t - s) for (s, a), (t, b) in combinations(newest, 2) if t > s]
    slope, value = median(slopes or [0.0]), newest[-1][1]
    if slope <= 0 or value >= level:
        return None
    return (level - value) / slope


def judge(measure: Measure, past: Past, now: float) -> Judged:
    """How a measure stands: the worst of what its number, its way and its words tell.

    Args:
        measure: of this sweep.
        past: the same in former sweeps.
        now: Unix seconds of this sweep.
    """
    change = measure.value - past[-1][1] if measure.value is not None and past else None
    found = (_stands(measure), _moved(measure, change), _soon(measure, past, now), _remarked(measure))
    level, why = max(found, key=lambda one: _WORSE.index(one[0]))
    return Judged(measure=measure, level=level, why=why, change=change)


_WORSE = (Level.WELL, Level.NEAR, Level.FINDING)
_Stand = tuple[Level, str]
_FINE: _Stand = (Level.WELL, "")


def _moved(measure: Measure, change: float | None) -> _Stand:
    """What only two sweeps can tell: what did not become less, and a counter that grew."""
    if measure.stuck and measure.value:
        if change is None:
            return Level.NEAR, measure.stuck
        return (Level.FINDING, f"{measure.stuck}, and it does not become less") if change >= 0 else _FINE
    if change is not None and change > 0 and measure.grown is not Level.WELL:
        more = measure.model_copy(update={"value": change}).shown
        return measure.grown, f"{more} more since the last sweep"
    return _FINE


def _soon(measure: Measure, past: Past, now: float) -> _Stand:
    forecast = measure.forecast
    if forecast is None or measure.value is None:
        return _FINE
    left = seconds_to(forecast.level, [*past, (now, measure.value)])
    if left is None or left >= forecast.within:
        return _FINE
    why = f"{forecast.then} in {format_duration(left)} at its present pace"
    return Level.FINDING if forecast.opens else Level.NEAR, why


def _remarked(measure: Measure) -> _Stand:
    return (Level.NEAR, measure.remark) if measure.remark else _FINE


def _stands(measure: Measure) -> _Stand:
    if measure.trouble:
        return Level.FINDING, measure.trouble
    if measure.value is None or measure.limit is None:
        return _FINE
    limit = measure.model_copy(update={"value": measure.limit}).shown
    if measure.falls:
        if measure.value < measure.limit:
            return Level.FINDING, f"less than {limit}"
        return (Level.NEAR, f"near {limit}") if measure.value < measure.limit / _NEAR else (Level.WELL, "")
    if measure.value > measure.limit:
        return Level.FINDING, f"more than {limit}"
    return (Level.NEAR, f"near {limit}") if measure.value > measure.limit * _NEAR else (Level.WELL, "")
