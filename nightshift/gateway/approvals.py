"""Approvals: tells waiting flow runs that people decided, and turns silence into a no.

What is told is only that there is an answer; the run reads the decision itself in the ledger. The person's comment is
never sent: the server renders templates in what it is given.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Row

from nightshift.gateway.attempts import Attempts
from nightshift.gateway.prefect_api import PrefectApi, Resumed
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.approvals import ANSWERED_IN_LEDGER, form_key

log = logging.getLogger(__name__)

FORM_SECONDS = 30.0
"""Prefect first suspends a run and then stores its form. In between, and for ever should the run die just there, no
answer fits."""


def expire(ledger: Ledger) -> int:
    """Approvals whose time has run out become a no; returns how many."""
    return len(ledger.approvals.expire())


def deliver(ledger: Ledger, prefect: PrefectApi, attempts: Attempts) -> int:
    """Resume the runs whose approvals were decided; returns how many.

    Raises:
        PrefectUnavailableError: the rest is told later.
    """
    # A run whose plan was replaced by an alternative waits with the form of that plan, whatever became of the other.
    answered = [*ledger.approvals.replaced(), *ledger.approvals.undelivered()]
    return sum(_deliver_one(ledger, prefect, attempts, approval) for approval in answered)


def _deliver_one(ledger: Ledger, prefect: PrefectApi, attempts: Attempts, approval: Row[Any]) -> bool:
    run = prefect.flow_run(approval.flow_run_id)
    if run is None or run.ended:
        # It cannot be told; the next attempt finds the decision in the ledger.
        _next_attempt(ledger, attempts, approval, "The waiting run ended before it was answered.")
        return False
    if not run.paused or f"{form_key(approval)}-" not in run.waits_for:
        return False  # on its way to waiting, or answered in the Prefect form, or waiting for another answer by now
    decision = "approve" if approval.status == "approved" else "deny"
    answer = prefect.resume(run.id, {"decision": decision, "name": ANSWERED_IN_LEDGER, "comment": ""})
    if answer is Resumed.REJECT and run.seconds < FORM_SECONDS:
        return False
    if answer is Resumed.REJECT:
        log.error("Prefect refuses our answer to a form", extra={"incident": approval.incident_id})
        _next_attempt(ledger, attempts, approval, "The waiting run did not take the answer.")
        prefect.mark_crashed(run.id, "The answer to its form was refused; another run continues.")
    if answer is not Resumed.ACCEPT:
        return False
    ledger.approvals.delivered(approval.id)
    return True


def _next_attempt(ledger: Ledger, attempts: Attempts, approval: Row[Any], why: str) -> None:
    incident = ledger.incidents.get(approval.incident_id)
    if incident is None or incident.status != "waiting" or incident.flow_run_id != approval.flow_run_id:
        return
    with ledger.engine.begin() as connection:
        attempts.next(connection, incident, why)
