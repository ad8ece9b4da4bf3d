"""What an incident leaves to do: proposals, changes that stand, and what went wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nightshift.remediation.inventory import proposes
from nightshift.remediation.ledger.journal import Kind, Row
from nightshift.remediation.models import Plan, UndoWhen
from nightshift.remediation.report import IncidentFacts
from nightshift.remediation.text import counted, printable
from nightshift.remediation.undoing import done_actions


@dataclass(frozen=True)
class Beside:
    """What the ledger knows of the time around an incident."""

    before: int = 0
    """Incidents of the same trouble in the 30 days before."""
    changes: tuple[str, ...] = ()
    """Recorded changes of the system in the 2 hours before; printable."""
    undelivered: int = 0
    """Pages that no channel took."""


@dataclass(frozen=True)
class Item:
    """Something to do, for people to take."""

    what: str
    why: str


@proposes(
    "trading_signals.general: update_runbook update_monitoring",
    "octollm.general: post_runbook post_prevent workflow_document",
)
def items_of(incident: IncidentFacts, rows: Sequence[Row], beside: Beside) -> tuple[Item, ...]:
    """Proposals that are open, changes to keep or take back, and where runbook and monitoring fell short."""
    return tuple(_items(incident, rows, beside))


def _items(incident: IncidentFacts, rows: Sequence[Row], beside: Beside) -> Iterator[Item]:
    planned = [row.entry["plan"] for row in rows if row.kind is Kind.PLANNED]
    for proposal in Plan.model_validate(planned[-1]).proposals if planned else ():
        yield Item(proposal.title, proposal.reason)
    for one in done_actions(rows):
        if one.action.undo_when is not UndoWhen.NONE:
            command = f"`nightshift undo {incident.id} {one.short_id}`"
            yield Item(f"Keep or take back: {one.action.title}", f"the change stands; {command} takes it back")
    for row in rows:
        if row.kind in (Kind.FAILED, Kind.UNKNOWN):
            why = printable(str(row.entry.get("reason") or "its outcome is not known"), 300)
            yield Item(f"Look why it {row.kind}: {row.entry.get('title', 'an action')}", why)
    if incident.outcome == "escalated":
        reason = incident.reason or "no reason was recorded"
        yield Item("Extend the runbook by what helped in the end", f"the flow could not help: {reason}")
    if beside.before:
        yield Item(
            "Find the cause that stays", f"the same trouble came {counted(beside.before, 'time')} in 30 days before"
        )
    if beside.undelivered:
        yield Item("Mend the channel", f"{counted(beside.undelivered, 'page')} arrived nowhere")
