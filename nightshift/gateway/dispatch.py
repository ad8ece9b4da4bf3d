"""Dispatch: one Prefect event for each incident that waits for a flow run, no more at a time than are taken.

Which ones go next is :mod:`nightshift.remediation.dispatch_order`, and how many :mod:`nightshift.remediation.pace`.
An event that Prefect did not take changes nothing: the incident stays due. One that was taken but never led to a claim
is sent again (see :meth:`Dispatching.sent`), unless it left a run that waits for a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Row

from nightshift.gateway.metrics import Metrics
from nightshift.gateway.prefect_api import PrefectApi, PrefectUnavailableError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Target
from nightshift.remediation.text import printable

EVENT = "incident.opened"
_NAMESPACE = UUID("2c7f3d0e-6a55-5f0e-8a0a-4b9a3b0a7e61")
_SENDS_OF_THE_FIRST_ID = 2


def dispatch(ledger: Ledger, prefect: PrefectApi, metrics: Metrics, in_flight: int) -> int:
    """Send the events that are due, while fewer are on their way than are taken; ``in_flight`` is the bound of that.

    Returns how many incidents were dealt with. One whose run still waits for a worker gets no second run: without a
    worker for a night there would be hundreds of them in the morning.

    Raises:
        PrefectUnavailableError: nothing was sent, everything stays due.
    """
    with ledger.engine.begin() as connection:
        incidents = ledger.dispatching.take(connection, in_flight)
    if not incidents:
        return 0
    # Nothing is locked meanwhile: a run that starts at once claims its incident at once.
    try:
        unstarted = _unstarted(prefect, incidents)
        sending = [incident for incident in incidents if incident.id not in unstarted]
        if sending:
            prefect.send_events([event(incident) for incident in sending])
    except PrefectUnavailableError:
        metrics.dispatch_failures.inc()
        with ledger.engine.begin() as connection:
            ledger.dispatching.give_back(connection, incidents)
        raise
    with ledger.engine.begin() as connection:
        waiting = [incident for incident in incidents if incident.id in unstarted]
        ledger.dispatching.postpone(connection, waiting)
        ledger.dispatching.sent(connection, sending)
    metrics.dispatched.inc(len(sending))
    return len(incidents)


def _unstarted(prefect: PrefectApi, incidents: Sequence[Row[Any]]) -> set[int]:
    """Those for which a new event would make a second run beside one that still waits for a worker."""
    renewed = [incident for incident in incidents if incident.sends >= _SENDS_OF_THE_FIRST_ID]
    if not renewed:
        return set()
    waiting = prefect.waiting({incident.flow for incident in renewed})
    return {
        incident.id
        for incident in renewed
        if not waiting.complete or (incident.id, incident.attempt) in waiting.attempts
    }


def event(incident: Row[Any]) -> dict[str, Any]:
    """The event that starts a flow run.

    The server keeps one event per id. The second send has the id of the first, in case that one was lost before it
    was kept; each later one has a new id, in case the one before was kept without starting anything, as by a server
    that was killed in between.
    """
    target = Target.from_key(incident.target)
    return {
        "id": str(uuid5(_NAMESPACE, f"{incident.id}/{incident.attempt}/{max(0, incident.sends - 1)}")),
        "event": EVENT,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {
            "prefect.resource.id": f"incident.{incident.id}",
            "prefect.resource.name": f"incident {incident.id} {printable(str(target), 100)}",
            "runbook.flow": incident.flow,
            "system": incident.system,
        },
        "payload": {
            "incident": incident.id,
            "attempt": incident.attempt,
            "system": incident.system,
            "target": incident.target,
            "alert": incident.runbook,
            "severity": incident.severity,
        },
    }
