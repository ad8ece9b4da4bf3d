"""One attempt at an incident, as a flow run makes it, with the real gate, claim keeper and ledger, without Prefect."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from lab.ward import bugs
from lab.ward.patient import Patient, kinds, plan
from nightshift.remediation.budgets import ACTIONS, Budget, Per
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.errors import LeaseLostError
from nightshift.remediation.execution import Execution
from nightshift.remediation.faults import point
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Mode, Outcome, Plan, Quantity, Target
from nightshift.remediation.permission import Limits
from nightshift.remediation.undo_of_incident import Undoing

MARGIN_SECONDS = 0.8


@dataclass(frozen=True)
class Order:
    """What a process is to work on, and where it is to die or freeze."""

    database_url: str
    port: int
    incident: int
    attempt: int
    run_id: str
    bed: str
    target: str
    runbook: str
    steps: tuple[str, ...]
    mode: str = "auto"
    undone: bool = False
    """Whether nothing of it helps."""
    at_most: int | None = None
    """Budget: actions per system."""
    claim_seconds: float = 1.5
    pace: float = 1
    bug: str | None = None
    faults: tuple[tuple[str, str], ...] = field(default=())
    """Injection points, each with what :mod:`nightshift.remediation.faults` is to do there."""
    folder: str = ""
    """Where faults are armed."""


class _SuspendedError(Exception):
    """A person is asked; the process ends and another one goes on with the answer."""


def work(order: Order) -> str:
    """The whole attempt; returns in a word how it ended."""
    os.environ["NIGHTSHIFT_FAULTS"] = order.folder
    for place, fault in order.faults:
        (Path(order.folder) / f"{place}.{os.getpid()}").write_text(fault)
    if order.bug is not None:
        bugs.BUGS[order.bug].sow()
    try:
        return _work(order, Ledger.connect(order.database_url, pool_size=2))
    except LeaseLostError:
        return "lost"
    except _SuspendedError:
        return "suspended"
    except SQLAlchemyError:
        return "without ledger"


def _work(order: Order, ledger: Ledger) -> str:
    point("before_claim")
    claim = ledger.incidents.claim(order.incident, order.attempt, UUID(order.run_id), order.claim_seconds)
    if claim is None:
        return "not needed"
    point("after_claim")
    with ClaimKeeper(ledger, claim, order.claim_seconds) as keeper:
        return _attempt(order, ledger, keeper)


def _attempt(order: Order, ledger: Ledger, keeper: ClaimKeeper) -> str:
    target, who = Target.from_key(order.target), f"{order.incident}/{order.attempt}/{os.getpid()}"
    patient = Patient(order.port, order.bed)
    patient.levels(who)
    gate = Gate(
        ledger,
        keeper,
        order.runbook,
        kinds(order.port, who, order.pace),
        {},
        Mode(order.mode),
        lambda shown: _ask(ledger, keeper.claim, shown),
        Limits(budgets=_budgets(order)),
        lease_margin=MARGIN_SECONDS * order.pace,
    )
    if (judged := _judged(ledger, order.incident)) is None:
        wanted = plan(order.bed, target, order.steps, undone=order.undone)
        execution = gate.carry_out(wanted, enough=lambda: False)
        ledger.incidents.move(keeper.claim, "verifying")
        outcome, reason = _verdict(order, execution, patient.levels(who)), execution.reason
        if order.undone:
            judged = {"healthy": False, "reason": "It is as ill as before.", "ended": outcome, "before": reason}
            ledger.journal.record(order.incident, Kind.JUDGED, judged)
    if judged is not None:
        words = Undoing(ledger, order.incident, gate).after_failure(target, judged)
        outcome, reason = Outcome(judged["ended"]), " ".join([str(judged["reason"]), *words])
    point("before_finish")
    if not ledger.incidents.finish(keeper.claim, outcome, reason):
        raise LeaseLostError
    point("after_finish")
    return "ended"


def _judged(ledger: Ledger, incident: int) -> dict[str, Any] | None:
    """What an earlier attempt found: then there is nothing left but to take back."""
    found = [row.entry for row in ledger.journal.of(incident) if row.kind is Kind.JUDGED]
    return found[-1] if found else None


def _budgets(order: Order) -> tuple[Budget, ...]:
    if order.at_most is None:
        return ()
    return (Budget(per=Per.SYSTEM, at_most=Quantity(amount=order.at_most, unit=ACTIONS), within=3600),)


def _verdict(order: Order, execution: Execution, levels: dict[str, int]) -> Outcome:
    """Success is the symptom gone, as measured: what an action said about itself counts for nothing."""
    if execution.ended is not None:
        return execution.ended
    helped = not order.undone and all(levels.get(step) for step in order.steps)
    return Outcome.RESOLVED if helped else Outcome.ESCALATED


def _ask(ledger: Ledger, claim: Claim, shown: Plan) -> None:
    point("before_asking")
    ledger.approvals.ask(claim.incident_id, shown, claim.flow_run_id, 60)
    point("after_asking")
    ledger.incidents.move(claim, "waiting")
    raise _SuspendedError
