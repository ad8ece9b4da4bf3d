"""The report of an incident, written from the ledger alone, so that anyone gets the same one at any time.

Timeline, evidence, plan, who approved, what each action did, before and after, and what is left for people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from nightshift.remediation.alternatives import alternatives_of
from nightshift.remediation.durations import format_duration
from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.models import Action, Plan, Target, UndoWhen, format_bytes
from nightshift.remediation.symptom import in_words
from nightshift.remediation.text import counted, listed, printable
from nightshift.remediation.undoing import Done, done_actions

HEADLINES = {
    "resolved": "✅ Resolved",
    "expected": "☑️ Nothing to do",
    "not_approved": "✋ Not approved",
    "escalated": "📟 Escalated to a person",
    "joined": "↪️ Effect of another incident",
    None: "⏳ In progress",
}
_EFFECT_STATES = {"open": "waits", "joined": "swallowed", "not_approved": "not approved"}
_DEVICE_AND_INODE = re.compile(r"#\d+:\d+$")
"""End of a file's identity among the items of an action."""
_SYSTEM = re.compile(r"^\[[\w.-]+\] ")
"""What the subject of a message begins with; in a report it is known."""
_MOST_ALERTS = 3
"""Alerts in a row that are told one by one in the timeline."""
_PATH_WIDTH = 56
"""Letters of a path that fit on a line of Prefect's form, which does not wrap words."""


@dataclass(frozen=True)
class AlertKind:
    """The alerts of one name in an incident."""

    name: str
    rule: str | None
    """By which they joined as effects; None: what the incident is about."""
    alerts: int


@dataclass(frozen=True)
class Cause:
    """The incident that this one is, or was, an effect of."""

    id: int
    rule: str
    open: bool
    """Whether it stands for this one still."""


@dataclass(frozen=True)
class CausedIncident:
    """An incident that this one caused."""

    id: int
    title: str
    state: str
    rule: str


@dataclass(frozen=True)
class IncidentFacts:
    """The part of an incident that a report shows."""

    id: int
    system: str
    runbook: str
    target: str
    severity: str
    title: str
    status: str
    outcome: str | None
    reason: str | None
    opened_at: datetime
    ended_at: datetime | None
    attempt: int
    kinds: tuple[AlertKind, ...] = ()
    """Its alerts, counted."""
    cause: Cause | None = None
    effects: tuple[CausedIncident, ...] = ()
    """Incidents that had begun by themselves."""

    @property
    def alerts(self) -> str:
        """How many, in words."""
        number = counted(sum(kind.alerts for kind in self.kinds), "alert")
        names = len({kind.name for kind in self.kinds})
        return f"{number}, {counted(names, 'kind')}" if names > 1 else number


def render_report(incident: IncidentFacts, rows: Sequence[Row]) -> str:
    """The report as Markdown; everything the target or the alert controls is escaped."""
    parts = [
        _headline(incident),
        _section("Cause and effects", _correlation(incident)),
        _measurements(rows),
        _section("What was done", _actions(rows)),
        _section("Approval", _approvals(rows)),
        _section("Plan", _plan(rows)),
        _section("Left for people", _left_for_people(rows)),
        _section("Who was told", _told(rows)),
        _section("Evidence", _evidence(rows)),
        _section("Timeline", _timeline(rows)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def render_plan(plan: Plan) -> str:
    """A plan as Markdown: what the approver sees, and what the report shows.

    A list, no table: Prefect's form is too narrow for one and would show neither risk nor undo.
    """
    parts = [f"**Goal:** {plan.goal}"]
    parts += ["\n".join(_numbered(number, action) for number, action in enumerate(plan.actions, 1))]
    parts += [f"**Expected:** {plan.expected}"] if plan.expected else []
    parts += [f"**It counts as solved when** {in_words(plan.symptom)}"] if plan.symptom and plan.actions else []
    if plan.refusals:
        refused = (
            f"- {refusal.what}: {refusal.reason}" + (f" *({refusal.lifted_by})*" if refusal.lifted_by else "")
            for refusal in plan.refusals
        )
        parts += ["**Not done, and why:**", "\n".join(refused)]
    if offered := alternatives_of(plan):
        numbered = "\n".join(f"{number}. {one.title}" for number, one in enumerate(offered, 1))
        parts += ["**Alternatives** to approve instead:", numbered]
    return "\n\n".join(part for part in parts if part)


def _numbered(number: int, action: Action) -> str:
    paths = [_DEVICE_AND_INODE.sub("", item) for item in action.items if _DEVICE_AND_INODE.search(item)]
    files = [printable(path, _PATH_WIDTH) for path in paths]
    parts = (
        f"{number}. **{action.title}**",
        f"{action.reason} *{action.risk.value.capitalize()} risk; at most {action.bound}; {undo_in_words(action)}.*",
        f"Affects {action.impact}." if action.impact else "",
        f"Touches {listed(files)}." if len(files) > 1 else "",  # a title names a single file
    )
    return "\n   ".join(part for part in parts if part)


def _headline(incident: IncidentFacts) -> str:
    took = f", took {_seconds(incident.opened_at, incident.ended_at)}" if incident.ended_at else ""
    lines = [
        f"# {HEADLINES[incident.outcome]}: {incident.title}",
        "",
        " · ".join(
            (
                f"Incident {incident.id}",
                incident.system,
                printable(incident.runbook),
                f"**{printable(Target.from_key(incident.target).label)}**",
                incident.severity,
                incident.alerts,
            )
        ),
        "",
        f"Opened {incident.opened_at:%Y-%m-%d %H:%M:%S} UTC{took}, attempt {incident.attempt}.",
    ]
    if incident.reason:
        lines += ["", f"> {incident.reason}"]
    return "\n".join(lines)


def _correlation(incident: IncidentFacts) -> str:
    lines = []
    if incident.cause is not None:
        state = "which stands for it" if incident.cause.open else "which is over"
        rule = printable(incident.cause.rule)
        lines.append(f"Caused by incident {incident.cause.id}, {state} (rule {rule}).")
    swallowed = [kind for kind in incident.kinds if kind.rule is not None]
    if swallowed:
        number = counted(sum(kind.alerts for kind in swallowed), "alert")
        lines.append(f"Swallowed: {number}, which are effects; nothing was done about them by themselves.")
    lines += [f"- {kind.alerts:,} {printable(kind.name)} (rule {printable(kind.rule or '')})" for kind in swallowed]
    lines += [
        f"- incident {effect.id}, {effect.title}: {_EFFECT_STATES.get(effect.state, effect.state)}"
        f" (rule {printable(effect.rule)})"
        for effect in incident.effects
    ]
    return "\n".join(lines).replace(").\nSwallowed", ").\n\nSwallowed").replace("themselves.\n-", "themselves.\n\n-")


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _last(rows: Sequence[Row], kind: Kind) -> dict[str, Any] | None:
    return next((row.entry for row in reversed(rows) if row.kind is kind), None)


def _measurements(rows: Sequence[Row]) -> str:
    """Before and after, as the flow measured the symptom."""
    first = next((row.entry for row in rows if row.kind is Kind.DIAGNOSED), None)
    if first is None:
        return ""
    judged = _last(rows, Kind.JUDGED)
    lines = [f"**Before:** {first['measured']}"]
    if judged is not None:
        lines += ["", f"**After:** {judged['measured']}"]
        if judged.get("chart"):
            lines += ["", "```", judged["chart"], "```"]
    return "\n".join(lines)


def _actions(rows: Sequence[Row]) -> str:
    ended = [row for row in rows if row.kind in (Kind.DONE, Kind.FAILED, Kind.UNKNOWN, Kind.REFUSED)]
    undo = {one.id: _undo_command(one, row.incident_id) for row in rows[:1] for one in done_actions(rows)}
    if not ended:
        return ""
    # A list, no table: its cells would not wrap in the Prefect UI.
    lines, freed = [], 0
    for number, row in enumerate(ended, 1):
        amount = (row.entry.get("effect") or {}).get("amount") or {}
        freed += amount.get("amount", 0) if amount.get("unit") == "bytes" else 0
        result = row.entry.get("summary") or row.entry.get("reason", "")
        lines.append(
            f"{number}. {row.at:%H:%M:%S} **{row.entry.get('title', '')}**\n   {row.kind}: {printable(result, 400)}"
            + (undo.get(row.action_id, "") if row.kind is Kind.DONE and row.action_id else "")
        )
    if freed:
        lines.append(f"\n**{format_bytes(freed)} freed in all.**")
    return "\n".join(lines)


def _undo_command(done: Done, incident_id: int | None) -> str:
    if done.action.undo_when is UndoWhen.NONE:
        return ""
    return f"\n   To take it back: `nightshift undo {incident_id} {done.short_id}` ({done.action.undo})"


def undo_in_words(action: Action) -> str:
    """What becomes of a change that does not help: shown before it is approved, since approving it approves that."""
    if action.undo_when is UndoWhen.INEFFECTIVE:
        return f"if it does not help: {action.undo}"
    return f"{action.undo}, when a person says so" if action.undo_when is UndoWhen.BY_HAND else action.undo


def _approvals(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        if row.kind is Kind.ASKED:
            people = f" by {row.entry['needed']} people" if row.entry.get("needed", 1) > 1 else ""
            told = ", ".join(printable(channel) for channel in row.entry.get("told", ()))
            people += _chosen_by(row)
            people += f", told to {told}" if told else ""
            people += f", {_at_silence(row)}" if row.entry.get("unless_denied") else ""
            lines.append(f"- {row.at:%H:%M:%S} asked for approval of plan `{row.entry['digest'][:12]}`{people}")
        elif row.kind is Kind.DECIDED:
            lines.append(f"- {row.at:%H:%M:%S} {describe_decision(row.entry)}")
        elif row.kind in (Kind.ANSWER_REFUSED, Kind.WITHDRAWN):
            lines.append(f"- {row.at:%H:%M:%S} {describe(row)}")
    return "\n".join(lines)


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


def _plan(rows: Sequence[Row]) -> str:
    planned = [row.entry["plan"] for row in rows if row.kind is Kind.PLANNED]
    with_actions = [plan for plan in planned if plan["actions"]]
    chosen = (with_actions or planned)[-1:]
    return render_plan(Plan.model_validate(chosen[0])) if chosen else ""


def _left_for_people(rows: Sequence[Row]) -> str:
    planned = _last(rows, Kind.PLANNED)
    proposals = Plan.model_validate(planned["plan"]).proposals if planned else ()
    return "\n".join(
        f"- **{proposal.title}**"
        + (f" — {proposal.reason}" if proposal.reason else "")
        + (f"\n\n  {_indented(proposal.detail)}\n" if proposal.detail else "")
        for proposal in proposals
    )


def _told(rows: Sequence[Row]) -> str:
    """Messages and whether they arrived, calls, and who took it over."""
    arrived = {row.entry["message"]: row.at for row in rows if row.kind is Kind.DELIVERED}
    lines = []
    for row in rows:
        if row.kind is Kind.PAGED:
            at = arrived.get(row.entry.get("message"))
            state = f"delivered {at:%H:%M:%S}" if at else "**not delivered yet**"
            lines.append(f"- {row.at:%H:%M:%S} {printable(row.entry['channel'])}: {_subject(row)} — {state}")
        elif row.kind in (Kind.ESCALATED, Kind.ACKNOWLEDGED):
            lines.append(f"- {row.at:%H:%M:%S} {describe(row)}")
    return "\n".join(lines)


def _subject(row: Row) -> str:
    return printable(_SYSTEM.sub("", row.entry["subject"]), 400)


def _called(row: Row) -> str:
    roles = ", ".join(printable(role) for role in row.entry["roles"])
    channels = ", ".join(printable(channel) for channel in row.entry["channels"])
    return " in ".join(part for part in (roles, channels) if part) or "nobody new"


def _evidence(rows: Sequence[Row]) -> str:
    """What the first look saw: later looks see a world that was already repaired."""
    first = next((row.entry for row in rows if row.kind is Kind.DIAGNOSED), None)
    return first["evidence"] if first else ""


def _timeline(rows: Iterable[Row]) -> str:
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


_IN_WORDS: Mapping[Kind, Callable[[Row], str]] = {
    Kind.ALERT: lambda row: f"alert {row.entry.get('status', '')} {_note(row)}".rstrip(),
    Kind.OPENED: lambda row: f"incident opened: {row.entry['title']}",
    Kind.DISPATCHED: lambda row: f"handed to Prefect (attempt {row.entry['attempt']}, send {row.entry['send']})",
    Kind.CLAIMED: lambda row: f"a flow run took over (attempt {row.entry['attempt']})",
    Kind.LOST: lambda row: f"attempt {row.entry['attempt']} was lost: {_note(row)}",
    Kind.DIAGNOSED: lambda row: f"diagnosed: {row.entry['measured']}",
    Kind.PLANNED: lambda row: (
        f"planned {counted(len(row.entry['plan']['actions']), 'action')}: " + str(row.entry["plan"]["goal"])
    ),
    Kind.ASKED: lambda row: (
        f"told people that it {_at_silence(row)}"
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
    Kind.PAGED: lambda row: f"paged {printable(row.entry['channel'])}: {_subject(row)}",
    Kind.ESCALATED: lambda row: f"escalated after {format_duration(row.entry['after'])}: {_called(row)}",
    Kind.DELIVERED: lambda row: (
        f"{printable(row.entry['channel'])} took message {row.entry['message']} "
        f"({counted(row.entry['tries'], 'try', 'tries')})"
    ),
    Kind.ACKNOWLEDGED: lambda row: f"taken over by {printable(row.entry['person'])}",
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
}


def _chosen_by(row: Row) -> str:
    chosen_by = row.entry.get("chosen_by")
    return f", an alternative that {printable(chosen_by, 100)} chose" if chosen_by else ""


def _at_silence(row: Row) -> str:
    return f"acts at {_utc(row.entry['expires_at'])} unless somebody denies"


def _utc(moment: str) -> str:
    return f"{moment[:16].replace('T', ' ')} UTC"


def _seconds(start: datetime, end: datetime) -> str:
    return format_duration((end - start).total_seconds())


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
