"""Dispatch: one Prefect flow run for each incident that waits for one, no more at a time than are taken.

Which ones go next is :mod:`nightshift.remediation.dispatch_order`, and how many :mod:`nightshift.remediation.pace`.
A run that Prefect did not make changes nothing: the incident stays due. One that was made but never led to a claim
is followed by another (see :meth:`Dispatching.sent`), unless it waits for a worker. See
``docs/decisions/0070-the-gateway-makes-the-flow-run.md``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from nightshift.gateway.metrics import Metrics
from nightshift.gateway.prefect_api import Deployment, NewRun, PrefectApi, PrefectUnavailableError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.run_names import run_name, run_tags

_LONGEST_SECONDS = 8.0
"""For the runs of one turn. What was taken and not sent after 20 seconds is due again, for any gateway."""
_log = logging.getLogger(__name__)


@dataclass
class _Turn:
    """What became of the incidents of one turn."""

    left: list[Row[Any]]
    sent: list[Row[Any]] = field(default_factory=list)
    held: list[Row[Any]] = field(default_factory=list)
    """Their runs wait for a worker, or their deployment is paused or missing."""


def dispatch(ledger: Ledger, prefect: PrefectApi, metrics: Metrics, in_flight: int) -> int:
    """Have runs made for what is due, while fewer are on their way than are taken; ``in_flight`` is the bound of that.

    Returns how many incidents were dealt with. One whose run still waits for a worker gets no second run: without a
    worker for a night there would be hundreds of them in the morning.

    Raises:
        PrefectUnavailableError: what was not sent by then stays due.
    """
    with ledger.reading() as connection:
        if not ledger.dispatching.is_due(connection):
            return 0
    with ledger.engine.begin() as connection:
        incidents = ledger.dispatching.take(connection, in_flight)
    if not incidents:
        return 0
    turn = _Turn(list(incidents))
    # Nothing is locked meanwhile: a run that starts at once claims its incident at once.
    try:
        _make_runs(prefect, turn)
    except PrefectUnavailableError:
        metrics.dispatch_failures.inc()
        raise
    finally:
        _note(ledger, turn)
        metrics.dispatched.inc(len(turn.sent))
    return len(incidents) - len(turn.left)


def _note(ledger: Ledger, turn: _Turn) -> None:
    dispatching = ledger.dispatching
    becomes = ((dispatching.sent, turn.sent), (dispatching.postpone, turn.held), (dispatching.give_back, turn.left))
    with ledger.engine.begin() as connection:
        for note, incidents in becomes:
            if incidents:
                note(connection, incidents)


def _make_runs(prefect: PrefectApi, turn: _Turn) -> None:
    """Deal with one after the other, the most urgent first, as long as there is time."""
    until = time.monotonic() + _LONGEST_SECONDS
    unstarted = _unstarted(prefect, turn.left)
    deployments: dict[str, Deployment | None] = {}
    while turn.left and time.monotonic() < until:
        incident = turn.left[0]
        if incident.id not in unstarted and incident.flow not in deployments:
            deployments[incident.flow] = prefect.deployment(incident.flow)
        made = incident.id not in unstarted and _makes_run(prefect, deployments[incident.flow], incident)
        (turn.sent if made else turn.held).append(turn.left.pop(0))


def _makes_run(prefect: PrefectApi, deployment: Deployment | None, incident: Row[Any]) -> bool:
    """Whether a run was made; when none can be, a person hears of the incident as of any that nothing takes."""
    if deployment is not None and deployment.paused:
        _log.warning("Incident %d waits: the deployment of %s is paused in Prefect.", incident.id, incident.flow)
        return False
    if deployment is None or not prefect.make_run(deployment.id, new_run(incident)):
        _log.error("Incident %d waits: %s is not deployed as it should be.", incident.id, incident.flow)
        return False
    return True


def _unstarted(prefect: PrefectApi, incidents: Sequence[Row[Any]]) -> set[int]:
    """Those for which a new run would stand beside one that still waits for a worker."""
    renewed = [incident for incident in incidents if incident.sends]
    if not renewed:
        return set()
    waiting = prefect.waiting({incident.flow for incident in renewed})
    return {
        incident.id
        for incident in renewed
        if not waiting.complete or (incident.id, incident.attempt) in waiting.attempts
    }


def new_run(incident: Row[Any]) -> NewRun:
    """The run that works on an incident.

    Its key is the same until the ledger knows that the run was made. The moment of the opening tells apart incidents
    of one number, should a ledger have been begun anew beside an old Prefect server.
    """
    parts = (incident.id, incident.opened_at.isoformat(), incident.attempt, incident.sends)
    return NewRun(
        key="incident " + "/".join(str(part) for part in parts),
        name=run_name(incident.id, incident.system, incident.target),
        parameters={
            "system": incident.system,
            "target": incident.target,
            "incident": incident.id,
            "attempt": incident.attempt,
        },
        tags=run_tags(incident.id, incident.system, incident.runbook, incident.severity),
    )
