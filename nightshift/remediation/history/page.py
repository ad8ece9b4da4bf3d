"""The report about alerts as Markdown; every name is escaped, since whoever sends an alert names it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nightshift.remediation.durations import format_duration
from nightshift.remediation.history.facts import Measured, Recorded
from nightshift.remediation.history.summary import AlertHistory, advice, unheard
from nightshift.remediation.text import counted, listed, printable

MOST = 100
"""Alerts in the table."""
_COLUMNS = ("alert", "fired", "fires now", "longest", "came back", "taken after", "repaired after", "how it ended")


def as_markdown(
    recorded: Recorded, histories: Sequence[AlertHistory], measured: Sequence[Measured] = (), system: str = ""
) -> str:
    """How often each alert fired, how it was answered, and what that asks people to do.

    Args:
        recorded: the time that it is about.
        histories: of each alert.
        measured: what Prometheus says beside.
        system: name for people; empty: of all systems.
    """
    lines = [f"# Alerts{f' of {printable(system)}' if system else ''}", ""]
    lines += [f"From {_utc(recorded.since)} to {_utc(recorded.until)} UTC: {summary(histories)}.", ""]
    if recorded.cut:
        lines += ["There was more than is read at once: take a shorter time.", ""]
    if histories:
        lines += [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
        lines += [f"| {' | '.join(row(one))} |" for one in histories[:MOST]]
        lines += [f"\nand {counted(len(histories) - MOST, 'more alert')}"] if len(histories) > MOST else []
        lines += [""]
    noted = [f"- **{printable(one.name)}** {said}" for one in histories for said in advice(one)]
    lines += ["## What to look at", "", *(noted or ["Nothing stands out."]), ""]
    lines += _beside(histories, measured)
    return "\n".join(lines)


def summary(histories: Sequence[AlertHistory]) -> str:
    """One line about all of them."""
    fired, noted = sum(one.fired for one in histories), sum(bool(advice(one)) for one in histories)
    return f"{counted(len(histories), 'alert')} fired {counted(fired, 'time')}, {noted} to look at"


def row(one: AlertHistory) -> tuple[str, ...]:
    """The cells of an alert."""
    ended = ", ".join(f"{number} {outcome.replace('_', ' ')}" for outcome, number in sorted(one.outcomes.items()))
    name = printable(one.name, 80)
    return (
        f"{printable(one.system, 40)} {name}".strip(),
        f"{one.fired:,}" + (f" ({one.effects:,} as effects)" if one.effects else ""),
        f"{one.firing:,}",
        format_duration(one.longest) if one.fired else "—",
        f"{one.repeated:,}",
        _length(one.to_acknowledge),
        _length(one.to_repair),
        ended or "no incident",
    )


def _length(seconds: float | None) -> str:
    return "—" if seconds is None else format_duration(seconds)


def _beside(histories: Sequence[AlertHistory], measured: Sequence[Measured]) -> Iterator[str]:
    if not measured:
        return
    yield from ("## By Prometheus", "")
    for one in measured:
        name = printable(one.prometheus, 60)
        if one.complaint:
            yield f"- {name}: not known; {printable(one.complaint, 300)}"
            continue
        lost = [
            f"{printable(gone.name, 80)} ({counted(gone.times, 'time')})"
            for gone in unheard(histories, one.system, one.periods)
        ]
        times = sum(period.times for period in one.periods)
        yield f"- {name}: {counted(len(one.periods), 'alert')} fired {counted(times, 'time')}"
        for period in sorted(one.periods, key=lambda period: -period.longest)[:10]:
            longest = format_duration(period.longest)
            yield f"  - {printable(period.name, 80)}: {counted(period.times, 'time')}, at most {longest} on end"
        if lost:
            gone = listed(lost, most=20)
            yield f"- **{name}: fired and never arrived here:** {gone}. Does Alertmanager send them on?"
    yield ""


def _utc(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
