"""How long after a repair nothing can be called a failure yet, and when a measurement through Prometheus is one at all.

Pure. An alert looks back: ``rate(x[5m])`` and ``predict_linear(x[6h], …)`` still see the trouble for so long after it
is over. A target that is dead, a scrape that is missed, a Prometheus that just started: none of them says "healthy".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.models import Value

SCRAPES = 2
"""So many scrapes may be waited for: one that was missed, and the one after it."""
STALE_AFTER = 3.0
"""Scrape intervals after which a value is old, and a pause between two scrapes a gap."""
USUAL_SCRAPE_INTERVAL = 60.0
"""Seconds, where it was not measured."""


class Windows(Value):
    """How far back an alert looks, and how long what it watches takes to change."""

    range: Seconds = 0
    """The longest window of ``rate``, ``increase`` or ``predict_linear`` in its expression; a subquery adds its own."""
    evaluation: Seconds = 60
    """Interval at which its rule group is evaluated."""
    keep_firing: Seconds = 0
    """Its ``keep_firing_for``."""
    rollout: Seconds = 0
    """How long a change takes to reach what it measures: pods that are replaced, caches that fill."""


def settles_after(windows: Windows, scrape_interval: float) -> float:
    """Seconds after a repair until a failure means something: before, the alert may speak of the time before it.

    Args:
        windows: of the alert.
        scrape_interval: seconds, as measured.
    """
    return windows.rollout + windows.range + SCRAPES * scrape_interval + windows.evaluation + windows.keep_firing


def earliest_failure(repaired_at: float, windows: Windows, scrape_interval: float) -> float:
    """The first moment at which "it did not help" can be said; Unix time, as the repair's."""
    return repaired_at + settles_after(windows, scrape_interval)


@dataclass(frozen=True)
class Scraping:
    """How a target was scraped of late, from its ``up`` series."""

    last_at: float
    """Unix time."""
    is_up: bool
    interval: float
    """Seconds between scrapes, the median."""
    longest_pause: float
    """Seconds, of those that reach into the window of what is measured."""

    @classmethod
    def of(cls, points: Sequence[tuple[float, float]], window: float = math.inf) -> Scraping | None:
        """From the points of ``up``, (time, value); None for fewer than two, of which nothing can be said.

        Args:
            points: of so long a time that the usual pause can be told; it may be longer than the window.
            window: seconds that what is measured looks back; what was missed before tells nothing about it.
        """
        ordered = sorted(points)
        if len(ordered) < 2:
            return None
        pauses = [later - earlier for (earlier, _), (later, _) in pairwise(ordered)]
        newest, up = ordered[-1]
        within = [pause for (later, _), pause in zip(ordered[1:], pauses, strict=True) if newest - later <= window]
        return cls(newest, up == 1, median(pauses), max(within))


@dataclass(frozen=True)
class Reading:
    """One value and where it comes from."""

    value: float
    at: float
    """Unix time of its scrape, not of the query."""


def why_unknown(
    reading: Reading | None, scraping: Scraping | None, *, now: float, started: float | None, window: float = 0
) -> str:
    """Why a value does not tell how the target is; empty when it does.

    Args:
        reading: the value; None when there is no such series now.
        scraping: of its target.
        now: by Prometheus's clock, Unix time.
        started: when Prometheus started; None when it does not tell, and then its gaps have to show it.
        window: seconds that the expression looks back.
    """
    if reading is None:
        return "there is no such series now"
    if not math.isfinite(reading.value):
        return "its value is no number"
    if scraping is None:
        return "its target has no series 'up', or was scraped only once, so a dead one could not be told"
    if not scraping.is_up:
        return "its target does not answer Prometheus (up is 0)"
    old = now - min(reading.at, scraping.last_at)
    if old > STALE_AFTER * scraping.interval:
        return f"its last value is {format_duration(old)} old, at one every {format_duration(scraping.interval)}"
    if started is not None and now - started < window + SCRAPES * scraping.interval:
        return f"Prometheus started only {format_duration(now - started)} ago"
    if window and scraping.longest_pause > STALE_AFTER * scraping.interval:
        return f"nothing was scraped for {format_duration(scraping.longest_pause)} within its window"
    return ""
