"""Reconciliation of incidents with the flow runs that should be working on them.

Claims are judged by the ledger alone: a run that could not renew has stopped by itself. What a waiting run is doing,
only Prefect knows; while it cannot be asked, nothing is concluded. Runs that Prefect takes for alive although they
have died are dealt with in ``dead_runs.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from nightshift.gateway.attempts import Attempts
from nightshift.gateway.prefect_api import FlowRun, PrefectApi
from nightshift.remediation.ledger import Ledger

STUCK_SECONDS = 90.0
"""A run of a waiting incident that neither waits nor claims for this long died on the way to or from waiting."""
_NO_ANSWER = "The run stopped renewing its claim: it was killed, or cut off from the ledger."
_STARTING = {"SCHEDULED", "PENDING"}
"""A run that was answered waits for a worker; that may take as long as there is none."""


class Reconciler:
    """Keeps between rounds only since when a run looks stuck."""

    def __init__(
        self,
        ledger: Ledger,
        prefect: PrefectApi,
        attempts: Attempts,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._prefect = prefect
        self._attempts = attempts
        self._clock = clock
        self._strange_since: dict[UUID, float] = {}

    def reconcile(self) -> int:
        """One round; returns how many incidents moved on.

        Raises:
            PrefectUnavailableError: lost claims were dealt with, waiting incidents were left as they are.
        """
        return self._lost_claims() + self._waiting()

    def _lost_claims(self) -> int:
        moved = 0
        while True:
            # One incident per transaction: whoever appends to the journal must not wait for another incident.
            with self._ledger.engine.begin() as connection:
                lost = self._ledger.incidents.lost(connection, limit=1)
                if not lost:
                    return moved
                incident = lost[0]
                self._attempts.next(connection, incident, _NO_ANSWER)
            moved += 1

    def _waiting(self) -> int:
        waiting = self._ledger.incidents.waiting()
        runs = {incident.flow_run_id for incident in waiting}
        self._strange_since = {run: since for run, since in self._strange_since.items() if run in runs}
        return sum(self._look_at(incident) for incident in waiting)

    def _look_at(self, incident: Row[Any]) -> bool:
        run = self._prefect.flow_run(incident.flow_run_id)
        why = self._trouble_of(run)
        if why is None:
            return False
        with self._ledger.engine.begin() as connection:
            return self._attempts.next(connection, incident, why)

    def _trouble_of(self, run: FlowRun | None) -> str | None:
        """Why the run of a waiting incident will not come back; None when it may."""
        if run is None:
            return "The waiting run was deleted in Prefect."
        if run.ended:
            return f"The waiting run ended in Prefect ({run.state.lower()}) without finishing the incident."
        if run.paused or run.state in _STARTING:
            self._strange_since.pop(run.id, None)
            return None
        since = self._strange_since.setdefault(run.id, self._clock())
        if self._clock() - since < STUCK_SECONDS:
            return None
        return f"The waiting run shows as {run.state.lower()} in Prefect, but nothing is heard of it."
