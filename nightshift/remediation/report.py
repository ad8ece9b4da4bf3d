"""The report of an incident, written from the ledger alone, so that anyone gets the same one at any time.

Timeline, evidence, plan, who approved, what each action did, before and after, and what is left for people.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightshift.remediation.alternatives import alternatives_of
from nightshift.remediation.durations import format_duration
from nightshift.remediation.journal_in_words import at_silence, describe, describe_decision, subject_of, timeline
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
        _section("Timeline", timeline(rows)),
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
        f"{action.reason} *{action.limits[:1].upper()}{action.limits[1:]}; {undo_in_words(action)}.*",
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
            people += f", {at_silence(row)}" if row.entry.get("unless_denied") else ""
            lines.append(f"- {row.at:%H:%M:%S} asked for approval of plan `{row.entry['digest'][:12]}`{people}")
        elif row.kind is Kind.DECIDED:
            lines.append(f"- {row.at:%H:%M:%S} {describe_decision(row.entry)}")
        elif row.kind in (Kind.ANSWER_REFUSED, Kind.WITHDRAWN):
            lines.append(f"- {row.at:%H:%M:%S} {describe(row)}")
    return "\n".join(lines)


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
            lines.append(f"- {row.at:%H:%M:%S} {printable(row.entry['channel'])}: {subject_of(row)} — {state}")
        elif row.kind in (Kind.ESCALATED, Kind.ACKNOWLEDGED):
            lines.append(f"- {row.at:%H:%M:%S} {describe(row)}")
    return "\n".join(lines)


def _evidence(rows: Sequence[Row]) -> str:
    """What the first look saw: later looks see a world that was already repaired."""
    first = next((row.entry for row in rows if row.kind is Kind.DIAGNOSED), None)
    return first["evidence"] if first else ""


def _chosen_by(row: Row) -> str:
    chosen_by = row.entry.get("chosen_by")
    return f", an alternative that {printable(chosen_by, 100)} chose" if chosen_by else ""


def _seconds(start: datetime, end: datetime) -> str:
    return format_duration((end - start).total_seconds())


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
