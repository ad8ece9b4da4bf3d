"""From single firings to what is said of each alert: how often, how long, how soon answered, and whether it is noise.

Follows cryptofunk.general.alert_history and test_watcher.general.alert_history_prom: the documents' queries show raw
samples of an hour, or only what fires now.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from statistics import median

from nightshift.remediation.durations import format_duration
from nightshift.remediation.history.facts import Answered, Firing, Periods, Recorded
from nightshift.remediation.inventory import proposes
from nightshift.remediation.models import Outcome
from nightshift.remediation.text import counted

REPEATED_WITHIN = 3600.0
"""Seconds: the same alert that fires again so soon after its end was not repaired for good."""
SHORT = 300.0
"""Seconds: who is called by an alert that is over by then finds nothing."""
OFTEN = 5
"""Firings, or ends, from which on a share of them says something."""
_NEEDED_PEOPLE = (Outcome.ESCALATED, Outcome.NOT_APPROVED)


@dataclass(frozen=True)
class AlertHistory:
    """One alert of a system over a time."""

    system: str
    name: str
    """Hostile text."""
    fired: int
    firing: int
    """How many of them fire still."""
    seconds: float
    """All firings together."""
    longest: float
    short: int
    """Firings that were over within :data:`SHORT`."""
    repeated: int
    """Firings within :data:`REPEATED_WITHIN` of the end of the same alert."""
    effects: int
    """Firings that joined as effects of another trouble."""
    incidents: int
    outcomes: Mapping[str, int] = field(default_factory=dict)
    to_acknowledge: float | None = None
    """Seconds until a person took it, in the middle; None: nobody did."""
    to_repair: float | None = None
    """Seconds from the opening to the measured end of those resolved, in the middle."""
    silenced: int = 0
    untaken: int = 0
    """Incidents that needed a person and that nobody has taken."""


def summarise(recorded: Recorded) -> tuple[AlertHistory, ...]:
    """Each alert of the time, those that fired most first."""
    firings: dict[tuple[str, str], list[Firing]] = defaultdict(list)
    answered: dict[tuple[str, str], list[Answered]] = defaultdict(list)
    for firing in recorded.firings:
        firings[firing.system, firing.name].append(firing)
    for one in recorded.answered:
        answered[one.system, one.name].append(one)
    found = [_of(key, firings[key], answered[key], recorded) for key in {**firings, **answered}]
    return tuple(sorted(found, key=lambda one: (-one.fired, one.system, one.name)))


def _of(
    key: tuple[str, str], firings: Sequence[Firing], answered: Sequence[Answered], recorded: Recorded
) -> AlertHistory:
    lengths = [_seconds(max(one.began, recorded.since), one.ended or recorded.until) for one in firings]
    over = [_seconds(one.began, one.ended) for one in firings if one.ended is not None]
    taken = [_seconds(one.opened, one.acknowledged) for one in answered if one.acknowledged is not None]
    repaired = [_seconds(one.opened, one.ended) for one in answered if one.ended and one.outcome == Outcome.RESOLVED]
    return AlertHistory(
        system=key[0],
        name=key[1],
        fired=len(firings),
        firing=sum(one.ended is None for one in firings),
        seconds=sum(lengths),
        longest=max(lengths, default=0.0),
        short=sum(length < SHORT for length in over),
        repeated=_repeated(firings),
        effects=sum(one.effect for one in firings),
        incidents=len(answered),
        outcomes=dict(Counter(one.outcome or "in progress" for one in answered)),
        to_acknowledge=median(taken) if taken else None,
        to_repair=median(repaired) if repaired else None,
        silenced=sum(one.silences for one in answered),
        untaken=sum(one.outcome in _NEEDED_PEOPLE and one.acknowledged is None for one in answered),
    )


def _seconds(start: datetime, end: datetime) -> float:
    """Never negative: clocks of Alertmanager and ledger differ."""
    return max(0.0, (end - start).total_seconds())


def _repeated(firings: Sequence[Firing]) -> int:
    same: dict[str, list[Firing]] = defaultdict(list)
    for one in sorted(firings, key=lambda one: one.began):
        same[one.identity].append(one)
    return sum(
        before.ended is not None and _seconds(before.ended, after.began) <= REPEATED_WITHIN
        for of in same.values()
        for before, after in pairwise(of)
    )


@proposes("trading_signals.general: update_monitoring", "octollm.general: post_prevent")
def advice(one: AlertHistory) -> tuple[str, ...]:
    """What the figures of an alert ask people to do about its rule or its repair, a sentence each."""
    said: list[str] = []
    ended = one.incidents - one.outcomes.get("in progress", 0)
    nothing = one.outcomes.get(Outcome.EXPECTED, 0)
    if one.fired >= OFTEN and 2 * one.short >= one.fired:
        length = format_duration(SHORT)
        said.append(f"noisy: {one.short} of {one.fired} firings were over within {length}; let its rule wait longer")
    if ended >= OFTEN and 2 * nothing >= ended:
        said.append(f"noisy: nothing was to do in {nothing} of {ended} incidents; look at its threshold")
    if one.repeated >= 2:
        within = format_duration(REPEATED_WITHIN)
        said.append(f"comes back: {counted(one.repeated, 'time')} within {within} of its end; its cause stays")
    if one.silenced:
        said.append(f"silenced by people {counted(one.silenced, 'time')}; is it worth an alert?")
    if one.untaken:
        said.append(f"nobody took {counted(one.untaken, 'incident')} that needed a person")
    return tuple(said)


def unheard(histories: Iterable[AlertHistory], system: str, periods: Iterable[Periods]) -> tuple[Periods, ...]:
    """Alerts that fired by a system's Prometheus, and of which nothing ever arrived here."""
    arrived = {one.name for one in histories if one.system in (system, "") and one.fired}
    return tuple(one for one in periods if one.name not in arrived)


def periods_of(name: str, points: Sequence[tuple[float, float]], step: float) -> Periods:
    """Times that an alert fired: points above zero that follow each other without a gap are one.

    Args:
        name: of the alert.
        points: Unix time and how many fired, the oldest first.
        step: seconds between two points.
    """
    times, longest, began, last = 0, 0.0, 0.0, float("-inf")
    for at, value in points:
        if not value > 0:
            continue
        if at - last > 1.5 * step:
            times, began = times + 1, at
        last = at
        longest = max(longest, at - began + step)
    return Periods(name, times, longest)
