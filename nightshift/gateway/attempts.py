"""What follows a lost flow run: the next attempt, after a growing pause, and a person when the attempts are used up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from nightshift.catalogue import Catalogue
from nightshift.catalogue.ladder import more_to_call
from nightshift.gateway.channels import channels_for
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Outcome, Severity
from nightshift.remediation.text import counted

_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 300.0


@dataclass(frozen=True)
class Attempts:
    """Opens next attempts."""

    ledger: Ledger
    catalogue: Catalogue
    metrics: Metrics
    most: int
    """Attempts an incident may use up."""

    def next(self, connection: Connection, incident: Row[Any], why: str) -> bool:
        """Open the next attempt, or hand the incident to a person; False when it changed since it was read."""
        pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(incident.attempt - 1, 10))
        if not self.ledger.incidents.try_again(connection, incident, why, pause):
            return False
        self.metrics.runs_lost.inc()
        if incident.attempt >= self.most:
            self._give_up(connection, incident, why)
        return True

    def _give_up(self, connection: Connection, incident: Row[Any], why: str) -> None:
        reason = f"{counted(incident.attempt, 'attempt')} did not come to an end. The last one: {why}"
        if not self.ledger.incidents.end(connection, incident.id, Outcome.ESCALATED, reason):
            return
        subject = f"[{incident.system}] Nightshift could not finish: {incident.title}"
        body = f"{reason}\n\nWhat was begun may be half done. Incident {incident.id}: nightshift report {incident.id}"
        system, severity = self.catalogue.systems.get(incident.system), Severity(incident.severity)
        body += more_to_call(system, severity, incident.runbook)
        for channel in channels_for(system, severity):
            self.ledger.deliveries.page(connection, incident.id, channel, subject, body)
