"""Incidents for people and for programs: in a list, one by one, and as their journal goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from sqlalchemy import Row
from sqlalchemy.exc import OperationalError

from nightshift.gateway.cli import breaker_view
from nightshift.gateway.cli.opened import flow_run_url, incident_row
from nightshift.gateway.cli.output import err
from nightshift.gateway.cli.plan_view import plan_view
from nightshift.gateway.cli.texts import from_markdown, inert, iso, moment, shown
from nightshift.remediation.decisions import Progress
from nightshift.remediation.journal_in_words import describe, describe_decision
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.journal import Row as JournalRow
from nightshift.remediation.models import Outcome, Plan, Target
from nightshift.remediation.text import counted

STYLES = {
    "open": "yellow",
    "working": "cyan",
    "waiting": "bold yellow",
    "verifying": "cyan",
    "resolved": "green",
    "expected": "green",
    "not_approved": "magenta",
    "escalated": "red",
    "joined": "dim",
}
_ROW_STYLES = {
    Kind.DONE: "green",
    Kind.FAILED: "red",
    Kind.UNKNOWN: "red",
    Kind.LOST: "red",
    Kind.REFUSED: "yellow",
    Kind.ASKED: "bold yellow",
    Kind.PAGED: "red",
    Kind.ENDED: "bold",
}
_LOOK_AGAIN_SECONDS = 0.5
_MOST_ALERTS = 10
"""Alerts of one incident that are shown to people one by one."""


def summary(row: Row[Any]) -> dict[str, Any]:
    """The incident for programs."""
    names = ("id", "system", "flow", "severity", "title", "status", "outcome", "reason", "attempt", "options")
    return {
        **{name: getattr(row, name) for name in names},
        "alert": row.runbook,
        "target": row.target,
        "target_label": Target.from_key(row.target).label,
        "opened_at": iso(row.opened_at),
        "ended_at": iso(row.ended_at),
        "acknowledged_by": row.acknowledged_by,
        "acknowledged_at": iso(row.acknowledged_at),
        "flow_run_url": flow_run_url(row.flow_run_id),
        "cause": row.cause_id,
        "cause_rule": row.cause_rule,
        "under_cause_since": iso(row.under_cause_since),
    }


def table(rows: list[Row[Any]]) -> RenderableType:
    """The incidents for people."""
    if not rows:
        return Text("No incidents.")
    listing = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "opened (UTC)", "state", "severity", "system", "alert", "target"):
        listing.add_column(column, overflow="fold")
    for row in rows:
        state = row.outcome or row.status
        listing.add_row(
            str(row.id),
            moment(row.opened_at),
            Text(state, style=STYLES.get(state, "")),
            Text(row.severity),
            Text(row.system),
            shown(row.runbook, limit=60),
            shown(Target.from_key(row.target).label, limit=80),
        )
    return listing


def _waits_for_people(approval: Row[Any], progress: Progress | None) -> str:
    until, number = f"{moment(approval.expires_at)} UTC", approval.incident_id
    if approval.unless_denied:
        return f"somebody to deny; it acts at {until} unless somebody denies: nightshift deny {number} --comment WHY"
    partly = f" ({inert(progress.in_words)})" if progress is not None and progress.needed > 1 else ""
    return f"an approval until {until}{partly}: nightshift approve {number}"


def waits_for(row: Row[Any], approval: Row[Any] | None, progress: Progress | None = None) -> str:
    """What has to happen next, in words."""
    match row.status:
        case "open" if row.under_cause_since is not None:
            return f"the end of incident {row.cause_id}, its cause"
        case "open" if row.sends:
            return f"a worker to start its flow run (sent {counted(row.sends, 'time')})"
        case "open" if row.attempt > 1:
            return f"attempt {row.attempt}, at {moment(row.next_dispatch_at)} UTC"
        case "open":
            return "the gateway to hand it to Prefect"
        case "waiting" if approval is not None:
            return _waits_for_people(approval, progress)
        case "waiting":
            return "its flow run to go on after the decision"
        case "working":
            return "its flow run, which is at work"
        case "verifying":
            return "the symptom to stay away"
        case _ if row.outcome in (Outcome.ESCALATED, Outcome.NOT_APPROVED) and row.acknowledged_by is None:
            return f"a person to take it over: nightshift incidents acknowledge {row.id}"
        case _:
            return "nothing"


def details(ledger: Ledger, incident_id: int) -> dict[str, Any]:
    """Everything about an incident, for programs."""
    row = incident_row(ledger, incident_id)
    approval, journal = ledger.approvals.open_one(incident_id), ledger.journal.of(incident_id)
    plan, progress = _plan(journal), ledger.approvals.progress(approval) if approval else None
    return {
        **summary(row),
        "waits_for": waits_for(row, approval, progress),
        "breaker": breaker_view.in_words(ledger, row),
        "alerts": [_alert(alert) for alert in ledger.inbox.of(incident_id)],
        "alert_kinds": [dict(kind._mapping) for kind in ledger.causes.kinds_of(incident_id)],  # noqa: SLF001 - its name
        "effects": [summary(effect) for effect in ledger.causes.waiting_for(incident_id)],
        "plan": plan.model_dump(mode="json") | {"digest": plan.digest} if plan else None,
        "approval": _approval(approval, progress) if approval and progress else None,
        "decisions": [{"at": iso(entry.at), **entry.entry} for entry in journal if entry.kind is Kind.DECIDED],
        "journal": [journal_entry(entry) for entry in journal],
    }


def page(ledger: Ledger, incident_id: int) -> Iterator[RenderableType]:
    """Everything that helps to judge an incident, for people."""
    row = incident_row(ledger, incident_id)
    approval, journal = ledger.approvals.open_one(incident_id), ledger.journal.of(incident_id)
    progress = ledger.approvals.progress(approval) if approval else None
    state = row.outcome or row.status
    yield Text.assemble((f"Incident {row.id}  ", "bold"), from_markdown(row.title, "bold"))
    yield _facts(
        {
            "State": Text(state, style=STYLES.get(state, "")),
            "Reason": from_markdown(row.reason or ""),
            "Waits for": Text(waits_for(row, approval, progress)),
            "System": Text(f"{row.system}, {row.severity}"),
            "Alert": shown(row.runbook),
            "Target": shown(Target.from_key(row.target).label),
            "Caused by": Text(_cause(row)),
            "Breaker": Text(inert(breaker_view.in_words(ledger, row))),
            "Flow": Text(f"{row.flow}, attempt {row.attempt}" if row.flow else "none: a person was paged"),
            "Dry run": Text("yes: nothing will be changed" if row.options.get("dry_run") else ""),
            "Opened": Text(f"{moment(row.opened_at)} UTC"),
            "Ended": Text(f"{moment(row.ended_at)} UTC" if row.ended_at else ""),
            "Taken by": shown(row.acknowledged_by or ""),
            "Prefect": Text(flow_run_url(row.flow_run_id) or ""),
        }
    )
    yield from _alerts(ledger, incident_id)
    if effects := ledger.causes.waiting_for(incident_id):
        yield Text("\nIncidents that it caused", style="bold")
        yield table(effects)
    if plan := _plan(journal):
        yield Text("\nPlan", style="bold")
        yield from plan_view(plan)
    if decisions := [entry for entry in journal if entry.kind is Kind.DECIDED]:
        yield Text("\nDecisions", style="bold")
        for entry in decisions:
            yield Text.assemble((f"{moment(entry.at)}  ", "dim"), from_markdown(describe_decision(entry.entry)))


def journal_entry(row: JournalRow) -> dict[str, Any]:
    """A row of the journal for programs."""
    action = str(row.action_id) if row.action_id else None
    return {"sequence": row.sequence, "at": iso(row.at), "kind": row.kind, "action_id": action, "entry": row.entry}


def journal_line(row: JournalRow) -> RenderableType:
    """A row of the journal for people."""
    line = Text.assemble((f"{row.at:%H:%M:%S}  ", "dim"), from_markdown(describe(row), _ROW_STYLES.get(row.kind, "")))
    if row.kind is Kind.ASKED:
        line.append(f"  →  nightshift approve {row.incident_id}", style="bold")
    if row.kind is Kind.CLAIMED and (url := flow_run_url(row.entry.get("flow_run_id"))):
        return Group(line, Text(f"          {url}", style="dim"))
    return line


def follow(ledger: Ledger, incident_id: int, show: Callable[[JournalRow], None]) -> Row[Any]:
    """Show the journal of an incident from its beginning until it has ended; returns the ended incident.

    A ledger that goes away meanwhile is asked again until it is back.
    """
    last, away = 0, False
    while True:
        try:
            row = incident_row(ledger, incident_id)  # before its journal, so that nothing of the end is missed
            entries = ledger.journal.of(incident_id, after=last)
        except OperationalError:
            if not away:
                err.print("The ledger does not answer; still looking.", style="yellow")
            away = True
            time.sleep(_LOOK_AGAIN_SECONDS)
            continue
        away = False
        for entry in entries:
            show(entry)
            last = entry.sequence
        if row.status == "ended":
            return row
        time.sleep(_LOOK_AGAIN_SECONDS)


def _facts(facts: dict[str, Text]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        if value.plain:
            grid.add_row(name, value)
    return grid


def _plan(journal: list[JournalRow]) -> Plan | None:
    """The newest plan that was made."""
    entry = next((row.entry for row in reversed(journal) if row.kind is Kind.PLANNED), None)
    return Plan.model_validate(entry["plan"]) if entry else None


def _approval(approval: Row[Any], progress: Progress) -> dict[str, Any]:
    return {
        "digest": approval.digest,
        "requested_at": iso(approval.requested_at),
        "expires_at": iso(approval.expires_at),
        "acts_unless_denied": approval.unless_denied,
        "approved_by": list(progress.approved_by),
        "needed": progress.needed,
        "requester": approval.requester,
    }


def _alert(alert: Row[Any]) -> dict[str, Any]:
    names = ("source", "fingerprint", "status", "labels", "annotations", "generator_url", "deliveries", "note")
    return {
        **{name: getattr(alert, name) for name in names},
        "cause_rule": alert.cause_rule,
        "starts_at": iso(alert.starts_at),
        "ends_at": iso(alert.ends_at),
        "first_seen": iso(alert.first_seen),
        "last_seen": iso(alert.last_seen),
    }


def _cause(row: Row[Any]) -> str:
    if row.cause_id is None:
        return ""
    state = "" if row.under_cause_since is not None else "; that is over"
    return f"incident {row.cause_id}, by the rule {row.cause_rule}{state}"


def _alerts(ledger: Ledger, incident_id: int) -> Iterator[RenderableType]:
    """One by one while they are few, else counted by name."""
    kinds = ledger.causes.kinds_of(incident_id)
    total = sum(kind.alerts for kind in kinds)
    if not total:
        return
    names = len({kind.name for kind in kinds})
    head = f"\n{counted(total, 'alert')}, {counted(names, 'kind')}" if total > _MOST_ALERTS else "\nAlerts"
    yield Text(head, style="bold")
    if total > _MOST_ALERTS:
        for kind in kinds:
            role = f"effects, by the rule {kind.rule}" if kind.rule else "what it is about"
            name = shown(kind.name or "(no name)", limit=100)
            yield Text(f"{kind.alerts:>7,}  ").append_text(name).append(f"  {kind.firing:,} firing; {role}", "dim")
    yield from (_alert_line(alert) for alert in ledger.inbox.of(incident_id, limit=_MOST_ALERTS))
    if total > _MOST_ALERTS:
        yield Text(f"… and {total - _MOST_ALERTS:,} more: nightshift incidents show {incident_id} --json", style="dim")


def _alert_line(alert: Row[Any]) -> Text:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items()))
    head = Text.assemble((f"{moment(alert.starts_at)}  ", "dim"), f"{alert.status} from ", shown(alert.source), "  ")
    return head.append_text(shown(labels, limit=600)).append_text(shown(f"  {alert.note or ''}", "dim"))
