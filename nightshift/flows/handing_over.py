"""What becomes of trouble that another runbook of the system repairs: an incident of its own, which is waited for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from nightshift.catalogue import Catalogue, Match, System
from nightshift.catalogue.sweep_labels import labels_of
from nightshift.remediation import handing_over
from nightshift.remediation.errors import WaitsForCauseError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Alert, HandOver, Plan
from nightshift.remediation.text import printable

_WAIT_SECONDS = 8.0
"""Intake takes milliseconds; a gateway that is away is not waited for."""


@dataclass(frozen=True)
class HandingOver:
    """One incident that may hand over."""

    ledger: Ledger
    catalogue: Catalogue
    system: System
    incident: int

    def of(self, plan: Plan) -> str:
        """Hand over what the plan leaves to another runbook, the first that can be; what became of it, in words.

        Raises:
            WaitsForCauseError: an incident about it is open, and this one is under it now.
        """
        said = []
        for wanted in (proposal.hand_over for proposal in plan.proposals if proposal.hand_over is not None):
            found = self._match(wanted)
            if found is None:
                continue
            no, begun = self._hand_over(found, wanted)
            said.append(no or self._waited_for(begun, found.alert_name))
            if not no:
                break
        return " ".join(said)

    def _match(self, wanted: HandOver) -> Match | None:
        """The runbook and target that are meant, found as for an alert."""
        labels = labels_of(self.system, wanted)
        if labels is None:
            return None
        now = datetime.now(UTC)
        alert = Alert(
            source=handing_over.SOURCE,
            fingerprint="-",
            status="firing",
            labels={**labels, "system": self.system.id},
            starts_at=now,
        )
        found = self.catalogue.match(alert)
        return found if isinstance(found, Match) and found.runbook.flow is not None else None

    def _hand_over(self, found: Match, wanted: HandOver) -> tuple[str, Alert]:
        """Why it is not handed over, else the alert by which it is."""
        hand_overs, steps = self.ledger.hand_overs, self.ledger.hand_overs.steps(self.incident)
        to, target = found.alert_name, found.target.key
        labels = labels_of(self.system, wanted) or {}
        alert = handing_over.alert_of(labels, self.system.id, steps, wanted.why, datetime.now(UTC))
        if (before := hand_overs.begun(self.incident, to, target)) is not None:
            if hand_overs.sent(before) is None:
                self.ledger.inbox.accept([before])
            return "", before
        if (no := handing_over.why_not(to, target, steps)) is not None:
            return f"Not handed over to the runbook {printable(to, 100)}: {no}.", alert
        hand_overs.hand_over(self.incident, alert, to, target, printable(wanted.why, 300))
        return "", alert

    def _waited_for(self, alert: Alert, to: str) -> str:
        """Raises when this incident is under the other one now, else words about it."""
        row = self._linked(alert)
        with self.ledger.reading() as connection:
            cause = self.ledger.causes.of(connection, self.incident)
        if cause is not None:
            raise WaitsForCauseError(cause)
        name = printable(to, 100)
        if row is None or row.incident_id is None:
            return f"Handed over to the runbook {name}; nobody has taken it in yet."
        other = self.ledger.incidents.get(row.incident_id)
        state = "" if other is None else f", which {f'ended as {other.outcome}' if other.outcome else 'is open'}"
        return f"Handed over to the runbook {name}: incident {row.incident_id}{state}."

    def _linked(self, alert: Alert) -> Row[Any] | None:
        """The alert as soon as intake is done with it."""
        until = time.monotonic() + _WAIT_SECONDS
        while (row := self.ledger.hand_overs.sent(alert)) is None or row.status == "firing":
            if time.monotonic() > until:
                break
            time.sleep(0.1)
        return row
