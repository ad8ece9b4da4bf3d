"""The report of an incident, written from the ledger alone, so that anyone gets the same one at any time.

Timeline, evidence, plan, who approved, what each action did, before and after, and what is left for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightshift.remediation.durations import format_duration
from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.models import Plan, Target, format_bytes
from nightshift.remediation.text import printable

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
        f"Incident {incident.id} · {incident.system} · {incident.runbook} · "
        f"**{printable(Target.from_key(incident.target).label)}** · {incident.severity} · "
        f"{incident.alerts} alert{'' if incident.alerts == 1 else 's'}",
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
    entry = row.entry
    title = entry.get("title", "")
    summary = printable(str(entry.get("summary") or entry.get("reason") or ""), 400)
    match row.kind:
        case Kind.ALERT:
            return f"alert {entry.get('status', '')} {printable(str(entry.get('note', '')), 400)}".rstrip()
        case Kind.OPENED:
            return f"incident opened: {title}"
        case Kind.DISPATCHED:
            return f"handed to Prefect (attempt {entry['attempt']}, send {entry['send']})"
        case Kind.CLAIMED:
            return f"a flow run took over (attempt {entry['attempt']})"
        case Kind.LOST:
            return f"attempt {entry['attempt']} was lost: {summary}"
        case Kind.DIAGNOSED:
            return f"diagnosed: {entry['measured']}"
        case Kind.PLANNED:
            return f"planned {len(entry['plan']['actions'])} action(s): {entry['plan']['goal']}"
        case Kind.ASKED:
            return f"approval asked until {entry['expires_at'][:19]} UTC"
        case Kind.DECIDED:
            return describe_decision(entry)
        case Kind.INTENT:
            return f"about to: {entry['action']['title']}"
        case Kind.DONE | Kind.FAILED | Kind.UNKNOWN:
            return f"{row.kind}: {title}" + (f" — {summary}" if summary else "")
        case Kind.REFUSED:
            return f"refused: {title} — {summary}"
        case Kind.OBSERVED:
            return f"looked whether this was done: {title} → {entry['observation']}"
        case Kind.MEASURED:
            return f"measured: {entry['measured']}"
        case Kind.JUDGED:
            return f"{'healthy' if entry['healthy'] else 'not healthy'}: {entry['reason']}"
        case Kind.PAGED:
            return f"paged {printable(entry['channel'])}: {printable(entry['subject'], 400)}"
        case Kind.ENDED:
            return f"ended as {entry['outcome']}: {entry['reason']}"


def _seconds(start: datetime, end: datetime) -> str:
    return format_duration((end - start).total_seconds())


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
