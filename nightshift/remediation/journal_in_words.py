"""The entries of the journal as people read them: in reports, on the command line, in reviews."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

from nightshift.remediation.durations import format_duration
from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.text import counted, printable

_SYSTEM = re.compile(r"^\[[\w.-]+\] ")
"""What the subject of a message begins with; in a report it is known."""
_MOST_ALERTS = 3
"""Alerts in a row that are told one by one in the timeline."""


def timeline(rows: Iterable[Row]) -> str:
    """Line by line; alerts that came one after the other are counted."""
    lines = []
    for (kind, status), together in groupby(rows, lambda row: (row.kind, row.entry.get("status"))):
        group = list(together)
        if kind is Kind.ALERT and len(group) > _MOST_ALERTS:
            words = [f"{len(group):,} alerts {printable(str(status))}, until {group[-1].at:%H:%M:%S}"]
        else:
            words = [describe(row) for row in group]
        lines += [f"- `{row.at:%H:%M:%S}` {line}" for row, line in zip(group, words, strict=False)]
    return "\n".join(lines)


def describe(row: Row) -> str:
    """One journal row as a line for people, in Markdown."""
    return _IN_WORDS[row.kind](row)


def _note(row: Row) -> str:
    return printable(str(row.entry.get("summary") or row.entry.get("reason") or row.entry.get("note") or ""), 400)


def _ended_action(row: Row) -> str:
    note = _note(row)
    return f"{row.kind}: {row.entry.get('title', '')}" + (f" — {note}" if note else "")


def _judged(entry: Mapping[str, Any]) -> str:
    if entry["healthy"]:
        return "healthy"
    return "not known" if entry.get("inconclusive") else "not healthy"


def _undoing(row: Row) -> str:
    what = counted(len(row.entry["actions"]), "action")
    if "author" not in row.entry:
        return f"takes back {what} that did not help"
    author, incident = printable(row.entry["author"]), row.entry["incident"]
    return f"{author} asked to take back {what}, in incident {incident}: {_note(row)}"


def _swallowed(row: Row) -> str:
    entry = row.entry
    if "incident" in entry:
        return f"swallowed incident {entry['incident']}: {_why(row)}"
    kinds = ", ".join(f"{number:,} {printable(name)}" for name, number in entry["kinds"].items())
    return f"swallowed {counted(entry['alerts'], 'alert')} ({kinds}): {_why(row)}"


def _why(row: Row) -> str:
    return f"{printable(row.entry['why'], 300)} (rule {printable(row.entry['rule'])})"


def _of_alert(row: Row) -> str:
    if row.entry.get("contradicted"):
        return "fires on, though there was nothing to do"
    return "came back" if row.entry.get("came_back") else str(row.entry.get("status", ""))


_IN_WORDS: Mapping[Kind, Callable[[Row], str]] = {
    Kind.ALERT: lambda row: f"alert {_of_alert(row)} {_note(row)}".rstrip(),
    Kind.OPENED: lambda row: f"incident opened: {row.entry['title']}",
    Kind.DISPATCHED: lambda row: f"handed to Prefect (attempt {row.entry['attempt']}, send {row.entry['send']})",
    Kind.CLAIMED: lambda row: f"a flow run took over (attempt {row.entry['attempt']})",
    Kind.LOST: lambda row: f"attempt {row.entry['attempt']} was lost: {_note(row)}",
    Kind.DIAGNOSED: lambda row: f"diagnosed: {row.entry['measured']}",
    Kind.PLANNED: lambda row: (
        f"planned {counted(len(row.entry['plan']['actions']), 'action')}: " + str(row.entry["plan"]["goal"])
    ),
    Kind.ASKED: lambda row: (
        f"told people that it {at_silence(row)}"
        if row.entry.get("unless_denied")
        else f"approval asked until {_utc(row.entry['expires_at'])}"
    ),
    Kind.DECIDED: lambda row: describe_decision(row.entry),
    Kind.INTENT: lambda row: f"about to: {row.entry['action']['title']}",
    Kind.DONE: _ended_action,
    Kind.FAILED: _ended_action,
    Kind.UNKNOWN: _ended_action,
    Kind.REFUSED: _ended_action,
    Kind.UNDOING: _undoing,
    Kind.OBSERVED: lambda row: f"looked whether this was done: {row.entry['title']} → {row.entry['observation']}",
    Kind.MEASURED: lambda row: f"measured: {row.entry['measured']}",
    Kind.JUDGED: lambda row: f"{_judged(row.entry)}: {row.entry['reason']}",
    Kind.PAGED: lambda row: f"paged {printable(row.entry['channel'])}: {subject_of(row)}",
    Kind.ESCALATED: lambda row: f"escalated {_how_late(row)}: {_called(row)}",
    Kind.DELIVERED: lambda row: (
        f"{printable(row.entry['channel'])} took message {row.entry['message']} "
        f"({counted(row.entry['tries'], 'try', 'tries')})"
    ),
    Kind.ACKNOWLEDGED: lambda row: f"taken over by {printable(row.entry['person'])}",
    Kind.SILENCED: lambda row: (
        f"{printable(row.entry['author'])} silenced {counted(row.entry['alerts'], 'alert')} "
        f"for {format_duration(row.entry['seconds'])}: {_note(row)}"
    ),
    Kind.STOPPED: lambda row: f"{row.entry['author']} stopped {row.entry['scope']}: {_note(row)}",
    Kind.STARTED: lambda row: f"{row.entry['author']} lifted stop {row.entry['stop']}",
    Kind.MODE_SET: lambda row: f"{row.entry['author']} set the mode {row.entry['mode']}: {_note(row)}",
    Kind.MODE_RESET: lambda row: f"{row.entry['author']} reset the mode",
    Kind.REARMED: lambda row: f"{row.entry['author']} re-armed the breaker: {_note(row)}",
    Kind.SWALLOWED: _swallowed,
    Kind.JOINED: lambda row: f"is an effect of incident {row.entry['cause']}: {_why(row)}",
    Kind.PAUSED: lambda row: f"pauses until incident {row.entry['cause']} is over, its cause: {_why(row)}",
    Kind.RELEASED: lambda row: f"attempt {row.entry['attempt']} ended, to wait for incident {row.entry['cause']}",
    Kind.WENT_ON: lambda row: f"goes on, as incident {row.entry['cause']} is over (attempt {row.entry['attempt']})",
    Kind.HANDED_OVER: lambda row: f"handed over to the runbook {printable(row.entry['to'], 100)}: {row.entry['why']}",
    Kind.HANDED_BACK: lambda row: f"{counted(row.entry['alerts'], 'effect')} fired on and went back to be looked at",
    Kind.PERSON_CHANGED: lambda row: (
        f"{printable(row.entry['author'])}: {row.entry['change']} of {printable(row.entry['person'])}"
    ),
    Kind.NOT_IDENTIFIED: lambda row: (
        f"somebody did not show who they are ({printable(row.entry['person'] or 'unknown name')}): {_note(row)}"
    ),
    Kind.ANSWER_REFUSED: lambda row: f"an answer did not count: {_note(row)}",
    Kind.WITHDRAWN: lambda row: f"the approval of {printable(row.entry['person'])} no longer counts: {_note(row)}",
    Kind.ENDED: lambda row: f"ended as {row.entry['outcome']}: {row.entry['reason']}",
    Kind.REVIEWED: lambda row: f"its review was written: artifact {row.entry['artifact']}",
}


def describe_decision(entry: dict[str, Any]) -> str:
    """One decision in words."""
    count = f"{entry.get('approvals', 0)} of {entry.get('needed', 1)}"
    if entry.get("expired") and entry.get("approve"):
        return "nobody denied it in time: **approved** by nobody"
    if entry.get("expired") and entry.get("unless_denied"):
        return "no channel took the notice in time, so silence is no yes: **expired**"
    if entry.get("expired"):
        partly = f"only {count} approved" if entry.get("approvals") else "nobody answered"
        return f"{partly} in time: **expired**"
    verdict = "**approved**" if entry["approve"] else "**denied**"
    comment = f": “{printable(entry['comment'], 400)}”" if entry.get("comment") else ""
    quorum = f", {count}" if entry["approve"] and entry.get("needed", 1) > 1 else ""
    return f"{verdict} by {printable(entry['person'])} ({printable(entry['via'])}){quorum}{comment}"


def subject_of(row: Row) -> str:
    """Of a message, without the system, which is known."""
    return printable(_SYSTEM.sub("", row.entry["subject"]), 400)


def _how_late(row: Row) -> str:
    return f"after {format_duration(row.entry['after'])}" if row.entry["after"] else "at once"


def _called(row: Row) -> str:
    roles = ", ".join(printable(role) for role in row.entry["roles"])
    channels = ", ".join(printable(channel) for channel in row.entry["channels"])
    return " in ".join(part for part in (roles, channels) if part) or "nobody new"


def at_silence(row: Row) -> str:
    """What happens when nobody answers."""
    return f"acts at {_utc(row.entry['expires_at'])} unless somebody denies"


def _utc(moment: str) -> str:
    return f"{moment[:16].replace('T', ' ')} UTC"
