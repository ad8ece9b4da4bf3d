"""Silences as a sweep sees them: about to end while their trouble lasts, too long, or wider than their incident."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from nightshift.remediation.durations import format_duration
from nightshift.remediation.silencing import HeldAlert, Silence
from nightshift.remediation.sweeps.measures import Measure
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.remediation.text import counted, listed, printable

_MOST = 50
"""Silences that are told one by one."""
_OF_INCIDENT = re.compile(r"\(incident (\d{1,9})\)$")
"""How a comment ends that `nightshift silence` wrote."""


def silences_seen(
    source: str,
    silences: Iterable[Silence],
    held: Sequence[HeldAlert],
    ours: Callable[[Mapping[str, str]], bool],
    incidents: Mapping[str, int],
    named: frozenset[tuple[str, str]],
    now: float,
    rule: SweepRule,
) -> Iterator[Measure]:
    """The silences of a system that hold now.

    Args:
        source: name of the Alertmanager.
        silences: of it.
        held: all alerts that it holds, with what silences them.
        ours: whether labels are those of an alert of this system.
        incidents: numbers of the incidents of held alerts, by fingerprint.
        named: exact labels that mean this system whatever else a silence names, such as those of its alerts.
        now: Unix time, by the Alertmanager's clock.
        rule: limits.
    """
    found = []
    for silence in silences:
        covered = [alert for alert in held if silence.id in alert.status.silenced_by]
        mine = [alert for alert in covered if ours(alert.labels)]
        exact = {(one.name, one.value) for one in silence.matchers if one.exact}
        if silence.active and (mine or exact & named):
            found.append(_seen(source, silence, covered, mine, incidents, now, rule))
    found.sort(key=lambda one: (not one.trouble, one.value))
    yield from found[:_MOST]
    if len(found) > _MOST:
        yield Measure(key=f"silences/{source}", what=f"more silences in {source}", value=len(found) - _MOST)


def _seen(
    source: str,
    silence: Silence,
    covered: Sequence[HeldAlert],
    mine: Sequence[HeldAlert],
    incidents: Mapping[str, int],
    now: float,
    rule: SweepRule,
) -> Measure:
    left = silence.ends_at.timestamp() - now
    lasted = now - silence.starts_at.timestamp()
    troubles = []
    if mine and left < rule.silence_ends_within:
        fires = listed(sorted({_called(alert, incidents) for alert in mine}))
        troubles.append(f"it ends while {fires} still {'fires' if len(mine) == 1 else 'fire'}")
    if left > rule.silence_lasts:
        troubles.append("it does not end soon")
    if lasted > rule.silence_lasts:
        troubles.append(f"it has lasted for {format_duration(lasted)}")
    if wider := _wider(silence, covered, incidents):
        troubles.append(wider)
    wanted = ", ".join(sorted(map(str, silence.matchers)))
    return Measure(
        key=f"silence/{source}/{silence.id}",
        what=f"silence by {printable(silence.author, 40)} on {printable(wanted, 120)}, left",
        value=round(left),
        unit="s",
        trouble="; ".join(troubles),
        remark="" if silence.label("alertname") else "it names no alert, so that it silences others, too",
    )


def _called(alert: HeldAlert, incidents: Mapping[str, int]) -> str:
    number = incidents.get(alert.fingerprint)
    name = printable(alert.labels.get("alertname", "an alert"), 60)
    return name if number is None else f"{name} (incident {number})"


def _wider(silence: Silence, covered: Sequence[HeldAlert], incidents: Mapping[str, int]) -> str:
    """What it silences besides the alerts of its incident: the one that its comment names, or else the oldest."""
    numbers = {incidents[alert.fingerprint] for alert in covered if alert.fingerprint in incidents}
    written = _OF_INCIDENT.search(silence.comment)
    if written is None and not numbers:
        return ""
    own = int(written.group(1)) if written is not None else min(numbers)
    others = [alert for alert in covered if incidents.get(alert.fingerprint) != own]
    if not others:
        return ""
    which = listed(sorted({_called(alert, incidents) for alert in others}))
    return f"it is wider than incident {own}: {counted(len(others), 'other alert')} ({which})"
