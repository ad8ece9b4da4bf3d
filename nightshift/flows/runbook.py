"""The frame around every runbook: claim the incident, run the procedure, end with one outcome, leave the report."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run
from prefect.states import Completed
from sqlalchemy.exc import SQLAlchemyError

from nightshift.catalogue import Catalogue, System
from nightshift.catalogue.by_hand import trouble_by_hand
from nightshift.catalogue.kept import catalogue_in
from nightshift.catalogue.ladder import channels_of, more_to_call
from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.naming import named
from nightshift.flows.unheard import work_on_unheard
from nightshift.remediation.budgets import ACTIONS, Budget, Per
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.decisions import Requester
from nightshift.remediation.errors import ConfigurationError, LeaseLostError, NightshiftError, WaitsForCauseError
from nightshift.remediation.faults import point
from nightshift.remediation.inventory import serves
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.ledger.undo_request import UndoRequest
from nightshift.remediation.models import Outcome, Quantity, Severity, Target
from nightshift.remediation.permission import Limits
from nightshift.remediation.run_names import run_name, run_tags
from nightshift.settings import settings

Procedure = Callable[[Incident], Conclusion]
"""The six verbs of one runbook."""

STATE_NAMES = {
    Outcome.RESOLVED: "Resolved",
    Outcome.EXPECTED: "Nothing to do",
    Outcome.NOT_APPROVED: "Not approved",
    Outcome.ESCALATED: "Escalated",
}
NOWHERE = Path(os.devnull)
"""Where results are kept: they are not. A flow that says nothing about it makes Prefect ask its server, twice."""
_GOOD_ENDS = (Outcome.RESOLVED, Outcome.EXPECTED)
"""Nobody needs to be called."""


@dataclass(frozen=True)
class Request:
    """The parameters of every runbook flow."""

    flow: str
    system: str
    target: str
    incident: int | None
    attempt: int
    dry_run: bool


def answer(request: Request, procedure: Procedure) -> State[str]:
    """Work on the incident with this procedure; the returned state names the outcome."""
    work_on_unheard()
    config = settings()
    ledger = Ledger.connect(config.ledger_url(), pool_size=2)
    try:
        catalogue = catalogue_in(config.runbooks)
        run_id = UUID(str(flow_run.get_id()))
        incident_id = request.incident or _open_by_hand(ledger, catalogue, request)
        point("before_claim")
        claim = ledger.incidents.claim(incident_id, request.attempt, run_id, config.claim_seconds)
        if claim is None and (cause := _cause_of(ledger, incident_id)) is not None:
            return _waiting(cause)
        if claim is None:
            message = f"Incident {incident_id} has ended or is worked on by another run."
            return Completed(name="Not needed", message=message)
        point("after_claim")
        with ClaimKeeper(ledger, claim, config.claim_seconds) as keeper:
            incident = _incident(ledger, catalogue, keeper)
            name = run_name(request.incident, request.system, request.target)
            with named(name, run_tags(incident.id, incident.system.id, incident.alert, incident.severity.value)):
                incident.take_answer()
                try:
                    conclusion = _conclude(procedure, incident)
                    _wait_instead(incident, conclusion)
                except WaitsForCauseError as waits:
                    return _released(incident, claim, waits.cause)
                return _finish(incident, claim, conclusion)
    finally:
        ledger.close()


def _incident(ledger: Ledger, catalogue: Catalogue, keeper: ClaimKeeper) -> Incident:
    claim = keeper.claim
    row = ledger.incidents.get(claim.incident_id)
    if row is None or row.system not in catalogue.systems:
        raise ConfigurationError(f"The system of incident {claim.incident_id} is not in the catalogue any more.")
    system = catalogue.systems[row.system]
    if row.runbook not in system.runbooks:
        raise ConfigurationError(f"{row.system} has no runbook {row.runbook!r} any more.")
    return Incident(
        id=row.id,
        title=row.title,
        target=Target.from_key(row.target),
        system=system,
        alert=row.runbook,
        runbook=system.runbooks[row.runbook],
        severity=Severity(row.severity),
        limits=_limits(system, dry_run=bool(row.options.get("dry_run"))),
        ledger=ledger,
        keeper=keeper,
        flow_run_id=claim.flow_run_id,
        opened_at=row.opened_at,
        undoes=UndoRequest.of(row.options),
        requester=Requester.of(row.options),
    )


def _limits(system: System, *, dry_run: bool) -> Limits:
    overall = Quantity(amount=settings().actions_per_hour, unit=ACTIONS)
    return Limits(
        budgets=(*system.budgets, Budget(per=Per.OVERALL, at_most=overall, within=3600)),
        cooldown=system.cooldown,
        breaker=system.breaker,
        freezes=system.local_freezes,
        fleets=system.fleets_of_system,
        dry_run=dry_run,
    )


@serves("octollm.general: workflow_investigate workflow_remediate")
def _conclude(procedure: Procedure, incident: Incident) -> Conclusion:
    try:
        return incident.resumed() or procedure(incident)
    except (LeaseLostError, WaitsForCauseError):
        raise
    except NightshiftError as error:
        return Conclusion(Outcome.ESCALATED, str(error))
    except (SQLAlchemyError, httpx.HTTPError, PrefectException):
        raise  # the ledger or Prefect is away: this run cannot go on, a later attempt can
    except Exception as error:  # noqa: BLE001 - a mistake of ours must page at once, not after the last attempt
        get_run_logger().exception("Unexpected error")
        return Conclusion(
            Outcome.ESCALATED, f"Nightshift itself failed: {type(error).__name__}. See the log of the run."
        )


def _cause_of(ledger: Ledger, incident_id: int) -> int | None:
    with ledger.reading() as connection:
        return ledger.causes.of(connection, incident_id)


def _wait_instead(incident: Incident, conclusion: Conclusion) -> None:
    """What did not help while the cause is open is no reason to call anybody about the effect.

    Raises:
        WaitsForCauseError: there is such a cause.
    """
    if conclusion.outcome in _GOOD_ENDS:
        return
    if (cause := _cause_of(incident.ledger, incident.id)) is not None:
        raise WaitsForCauseError(cause)


def _released(incident: Incident, claim: Claim, cause: int) -> State[str]:
    """Give the incident back; the next attempt looks again when the cause is over."""
    if not incident.ledger.causes.release(claim, cause):
        raise LeaseLostError
    return _waiting(cause)


def _waiting(cause: int) -> State[str]:
    message = f"Incident {cause} is its cause. When that is over, another run looks whether anything is left to do."
    return Completed(name=f"Waits for incident {cause}", message=message)


@serves("octollm.general: workflow_close")
def _finish(incident: Incident, claim: Claim, conclusion: Conclusion) -> State[str]:
    good = conclusion.outcome in _GOOD_ENDS
    pages, clear = ([], _all_clear(incident, conclusion)) if good else (_pages(incident, conclusion), None)
    point("before_finish")
    if not incident.ledger.incidents.finish(claim, conclusion.outcome, conclusion.reason, pages, clear):
        raise LeaseLostError
    point("after_finish")
    get_run_logger().info("%s: %s", STATE_NAMES[conclusion.outcome], conclusion.reason)
    try:
        create_markdown_artifact(
            key=f"incident-{incident.id}",
            markdown=report_of(incident.ledger, incident.id),
            description=f"{STATE_NAMES[conclusion.outcome]}: {incident.title}",
        )
    except (httpx.HTTPError, PrefectException) as error:
        # The report is in the ledger; `nightshift report` shows it.
        get_run_logger().warning("The report could not be kept as an artifact: %s", type(error).__name__)
    return Completed(name=STATE_NAMES[conclusion.outcome], message=conclusion.reason)


def _all_clear(incident: Incident, conclusion: Conclusion) -> tuple[str, str]:
    subject = f"[{incident.system.id}] {STATE_NAMES[conclusion.outcome]}: {incident.title}"
    return subject, f"{conclusion.reason}\n\nNobody is needed any more. nightshift report {incident.id}"


@serves("cryptofunk.HighErrorRate: r4.1")
def _pages(incident: Incident, conclusion: Conclusion) -> list[tuple[str, str, str]]:
    subject = f"[{incident.system.id}] {STATE_NAMES[conclusion.outcome]}: {incident.title}"
    body = f"{conclusion.reason}\n\nIncident {incident.id}: nightshift report {incident.id}"
    body += more_to_call(incident.system, incident.severity, incident.alert)
    return [(channel, subject, body) for channel in channels_of(incident.system, incident.severity)]


def _open_by_hand(ledger: Ledger, catalogue: Catalogue, request: Request) -> int:
    """An incident for a run that a person started in the Prefect UI."""
    trouble = trouble_by_hand(catalogue, request.flow, request.system, request.target)
    with ledger.engine.begin() as connection:
        # This run claims it in a moment; should it die before, dispatch takes over.
        options = {"dry_run": request.dry_run}
        return ledger.incidents.open(connection, trouble, options=options, dispatch_after_seconds=60)[0]
