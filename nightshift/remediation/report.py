"""The report of an incident, written from the ledger alone, so that anyone gets the same one at any time.

Timeline, evidence, plan, who approved, what each action did, before and after, and what is left for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightshift.remediation.durations import format_duration
from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.models import Plan, Target, format_bytes
from nightshift.remediation.text import counted, printable

HEADLINES = {
    "resolved": "✅ Resolved",
    "expected": "☑️ Nothing to do",
    "not_approved": "✋ Not approved",
    "escalated": "📟 Escalated to a person",
    None: "⏳ In progress",
}


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
    alerts: int


def render_report(incident: IncidentFacts, rows: Sequence[Row]) -> str:
    """The report as Markdown; everything the target or the alert controls is escaped."""
    parts = [
        _headline(incident),
        _measurements(rows),
        _section("What was done", _actions(rows)),
        _section("Approval", _approvals(rows)),
        _section("Plan", _plan(rows)),
        _section("Left for people", _left_for_people(rows)),
        _section("Evidence", _evidence(rows)),
        _section("Timeline", _timeline(rows)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def render_plan(plan: Plan) -> str:
    """A plan as Markdown: what the approver sees, and what the report shows."""
    lines = [f"**Goal:** {plan.goal}"]
    if plan.actions:
        lines += ["", "| # | Action | Why | Risk | At most | Undo |", "|--:|---|---|---|--:|---|"]
        lines += [
            f"| {number} | {action.title} | {action.reason} | {action.risk} | {action.bound} | {action.undo} |"
            for number, action in enumerate(plan.actions, 1)
        ]
    if plan.expected:
        lines += ["", f"**Expected:** {plan.expected}"]
    if plan.refusals:
        lines += ["", "**Not done, and why:**", ""]
        lines += [
            f"- {refusal.what}: {refusal.reason}" + (f" *({refusal.lifted_by})*" if refusal.lifted_by else "")
            for refusal in plan.refusals
        ]
    return "\n".join(lines)


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
                counted(incident.alerts, "alert"),
            )
        ),
        "",
        f"Opened {incident.opened_at:%Y-%m-%d %H:%M:%S} UTC{took}, attempt {incident.attempt}.",
    ]
    if incident.reason:
        lines += ["", f"> {incident.reason}"]
    return "\n".join(lines)


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
        lines += ["", f"**After:** {judged['measured']}", "", judged["reason"]]
        if judged.get("chart"):
            lines += ["", "```", judged["chart"], "```"]
    return "\n".join(lines)


def _actions(rows: Sequence[Row]) -> str:
    ended = [row for row in rows if row.kind in (Kind.DONE, Kind.FAILED, Kind.UNKNOWN, Kind.REFUSED)]
    if not ended:
        return ""
    lines = ["| Time | Action | Result | Freed |", "|---|---|---|--:|"]
    freed = 0
    for row in ended:
        effect = row.entry.get("effect") or {}
        amount = effect.get("amount") or {}
        in_bytes = amount.get("amount", 0) if amount.get("unit") == "bytes" else 0
        freed += in_bytes
        result = row.entry.get("summary") or row.entry.get("reason", "")
        lines.append(
            f"| {row.at:%H:%M:%S} | {row.entry.get('title', '')} | {row.kind}: {printable(result, 400)} | "
            f"{format_bytes(in_bytes) if in_bytes else ''} |"
        )
    if freed:
        lines.append(f"| | **Total** | | **{format_bytes(freed)}** |")
    return "\n".join(lines)


def _approvals(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        if row.kind is Kind.ASKED:
            lines.append(f"- {row.at:%H:%M:%S} asked for approval of plan `{row.entry['digest'][:12]}`")
        elif row.kind is Kind.DECIDED:
            lines.append(f"- {row.at:%H:%M:%S} {describe_decision(row.entry)}")
    return "\n".join(lines)


def describe_decision(entry: dict[str, Any]) -> str:
    """One decision in words."""
    if entry.get("expired"):
        return "nobody answered in time: **expired**"
    verdict = "**approved**" if entry["approve"] else "**denied**"
    comment = f": “{printable(entry['comment'], 400)}”" if entry.get("comment") else ""
    return f"{verdict} by {printable(entry['person'])} ({printable(entry['via'])}){comment}"


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


def _evidence(rows: Sequence[Row]) -> str:
    """What the first look saw: later looks see a world that was already repaired."""
    first = next((row.entry for row in rows if row.kind is Kind.DIAGNOSED), None)
    return first["evidence"] if first else ""


def _timeline(rows: Iterable[Row]) -> str:
    return "\n".join(f"- `{row.at:%H:%M:%S}` {describe(row)}" for row in rows)


def describe(row: Row) -> str:
    """One journal row as a line for people, in Markdown."""
    return _IN_WORDS[row.kind](row)


def _note(row: Row) -> str:
    return printable(str(row.entry.get("summary") or row.entry.get("reason") or row.entry.get("note") or ""), 400)


def _ended_action(row: Row) -> str:
    note = _note(row)
    return f"{row.kind}: {row.entry.get('title', '')}" + (f" — {note}" if note else "")


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
    Kind.ASKED: lambda row: f"approval asked until {row.entry['expires_at'][:16].replace('T', ' ')} UTC",
    Kind.DECIDED: lambda row: describe_decision(row.entry),
    Kind.INTENT: lambda row: f"about to: {row.entry['action']['title']}",
    Kind.DONE: _ended_action,
    Kind.FAILED: _ended_action,
    Kind.UNKNOWN: _ended_action,
    Kind.REFUSED: _ended_action,
    Kind.OBSERVED: lambda row: f"looked whether this was done: {row.entry['title']} → {row.entry['observation']}",
    Kind.MEASURED: lambda row: f"measured: {row.entry['measured']}",
    Kind.JUDGED: lambda row: f"{'healthy' if row.entry['healthy'] else 'not healthy'}: {row.entry['reason']}",
    Kind.PAGED: lambda row: f"paged {printable(row.entry['channel'])}: {printable(row.entry['subject'], 400)}",
    Kind.STOPPED: lambda row: f"{row.entry['author']} stopped {row.entry['scope']}: {_note(row)}",
    Kind.STARTED: lambda row: f"{row.entry['author']} lifted stop {row.entry['stop']}",
    Kind.ENDED: lambda row: f"ended as {row.entry['outcome']}: {row.entry['reason']}",
}


def _seconds(start: datetime, end: datetime) -> str:
    return format_duration((end - start).total_seconds())


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
