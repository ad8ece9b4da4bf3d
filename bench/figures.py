"""What the bench measures, as numbers: how they are spread, what they should be, and how they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Result = dict[str, Any]
"""Everything measured, by the names of :data:`KEYS`; None: it could not be measured."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "alert_to_first_step_s": ("median", "p95"),
    "ratio_to_stock_worker": (),
    "ratio_to_tuned_worker": (),
    "ratio_to_ansible_rulebook": (),
    "storm_200": ("seconds", "cpu_seconds_per_alert", "peak_mib", "done", "lost"),
    "storm_one_cause_1000": ("incidents", "flow_runs", "accounted", "seconds_to_repair"),
    "intake": ("alerts_per_s", "p99_ms", "single_p50_ms"),
    "idle": ("core_percent", "mib"),
    "gate_ms": (),
    "growth_ratio": (),
}
"""What ``latest.json`` always has; there is more in it."""


def nothing_measured() -> Result:
    """A result in which everything is still missing."""
    return {name: dict.fromkeys(parts) if parts else None for name, parts in KEYS.items()}


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent lie, between two neighbours in proportion.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True)
class Spread:
    """Many measurements of one thing."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of these; at least one.

        Raises:
            ValueError: there are none.
        """
        if not values:
            raise ValueError("nothing was measured")
        return cls(tuple(values))

    @property
    def median(self) -> float:
        """Half are below it."""
        return percentile(self.values, 50)

    def told(self, scale: float = 1.0, digits: int = 3) -> dict[str, float | int]:
        """For the result: minimum, median, p95, maximum, and how many."""
        named = {"min": 0, "median": 50, "p95": 95, "max": 100}
        told = {name: round(percentile(self.values, percent) * scale, digits) for name, percent in named.items()}
        return {**told, "count": len(self.values)}


@dataclass(frozen=True)
class Goal:
    """One line of the table."""

    what: str
    goal: str
    value: str
    met: bool | None
    """None: not measured."""


def at(result: Mapping[str, Any], path: str) -> Any:
    """A figure by its dotted name; None when it is missing."""
    found: Any = result
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


@dataclass(frozen=True)
class _Wanted:
    what: str
    path: str
    unit: str
    text: str
    reached: Callable[[float], bool]


def _at_most(what: str, path: str, limit: float, unit: str) -> _Wanted:
    return _Wanted(what, path, unit, f"≤ {limit:,g}{unit}", lambda value: value <= limit)


def _at_least(what: str, path: str, limit: float, unit: str) -> _Wanted:
    return _Wanted(what, path, unit, f"≥ {limit:,g}{unit}", lambda value: value >= limit)


def _exactly(what: str, path: str, wanted: float) -> _Wanted:
    return _Wanted(what, path, "", f"{wanted:,g}", lambda value: value == wanted)


_FIRST, _STORM, _CAUSE = "alert → first diagnostic task", "200 alerts, 200 targets", "1,000 alerts, one cause"
LATENCY: tuple[_Wanted, ...] = (
    _at_most(f"{_FIRST}, median", "alert_to_first_step_s.median", 0.6, " s"),
    _at_most(f"{_FIRST}, p95", "alert_to_first_step_s.p95", 1.2, " s"),
    _at_least("times faster than the stock worker", "ratio_to_stock_worker", 8, ""),
    _at_least("times faster than the tuned one", "ratio_to_tuned_worker", 5, ""),
    _at_least("times faster than ansible-rulebook", "ratio_to_ansible_rulebook", 1, ""),
)
GOALS: tuple[_Wanted, ...] = (
    *LATENCY,
    _at_most(f"{_STORM}: seconds", "storm_200.seconds", 60, " s"),
    _at_most(f"{_STORM}: CPU-s per alert", "storm_200.cpu_seconds_per_alert", 0.6, " s"),
    _at_most(f"{_STORM}: peak memory", "storm_200.peak_mib", 1024, " MiB"),
    _exactly(f"{_STORM}: done", "storm_200.done", 200),
    _exactly(f"{_STORM}: lost", "storm_200.lost", 0),
    _exactly(f"{_CAUSE}: incidents", "storm_one_cause_1000.incidents", 1),
    _exactly(f"{_CAUSE}: flow runs", "storm_one_cause_1000.flow_runs", 1),
    _exactly(f"{_CAUSE}: accounted for", "storm_one_cause_1000.accounted", 1000),
    _at_most(f"{_CAUSE}: repair starts after", "storm_one_cause_1000.seconds_to_repair", 1.5, " s"),
    _at_least("intake, bodies of 50: alerts/s", "intake.alerts_per_s", 2000, ""),
    _at_most("intake, bodies of 50: p99", "intake.p99_ms", 100, " ms"),
    _at_most("intake, a single alert: p50", "intake.single_p50_ms", 10, " ms"),
    _at_most("idle: of one core", "idle.core_percent", 5, " %"),
    _at_most("idle: memory", "idle.mib", 700, " MiB"),
    _at_most("gate, all steps", "gate_ms", 10, " ms"),
    _at_most("growth: worst figure, old to new", "growth_ratio", 1.2, ""),
)


def goals(result: Result, *, quick: bool) -> list[Goal]:
    """The table: each goal with what was measured."""
    return [_goal(wanted, at(result, wanted.path)) for wanted in (LATENCY if quick else GOALS)]


def _goal(wanted: _Wanted, value: float | None) -> Goal:
    if value is None:
        return Goal(wanted.what, wanted.text, "not measured", None)
    return Goal(wanted.what, wanted.text, f"{value:,.4g}{wanted.unit}", wanted.reached(value))


_LOWER_IS_BETTER = (
    "first_task_alone_s",
    "gate_ms",
    "storm_one_cause_1000.seconds_to_repair",
    "intake.p99_ms",
    "intake.single_p50_ms",
    "storm.seconds",
    "storm.cpu_seconds_per_alert",
    "storm.peak_mib",
)
_HIGHER_IS_BETTER = ("intake.alerts_per_s",)


def worse(before: Result, after: Result) -> dict[str, float]:
    """How many times worse each figure is than before; only those that were measured both times.

    Storms are compared only if they are of as many alerts and all were done: what is left undone costs nothing.

    Raises:
        ValueError: none was.
    """
    if any(at(figures, f"storm.{left}") for left in ("lost", "unfinished") for figures in (before, after)):
        before = {name: found for name, found in before.items() if name != "storm"}
    pairs = {path: (at(before, path), at(after, path)) for path in (*_LOWER_IS_BETTER, *_HIGHER_IS_BETTER)}
    measured = {path: pair for path, pair in pairs.items() if all(pair)}
    if not measured:
        raise ValueError("nothing was measured twice")
    return {
        path: round(old / new if path in _HIGHER_IS_BETTER else new / old, 2) for path, (old, new) in measured.items()
    }
