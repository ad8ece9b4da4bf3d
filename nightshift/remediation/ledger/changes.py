"""Changes as their reviews recorded them, and what else is the matter with a system: for correlation."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from pydantic import ValidationError
from sqlalchemy import Engine, or_, select

from nightshift.remediation.kubernetes.change_record import RECORD, AlertSeen, ChangeRecord
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Outcome, Severity
from nightshift.remediation.open_beside import OpenBeside

REVIEW_FLOW = "change-event-review"
_INCIDENT, _JOURNAL, _ALERT = schema.incident, schema.journal, schema.alert
_MOST = 500
_WELL = (str(Outcome.RESOLVED), str(Outcome.EXPECTED), str(Outcome.JOINED))


class ChangesRecorded:
    """Looks up; nothing is written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def since(self, system: str, moment: datetime) -> tuple[ChangeRecord, ...]:
        """The changes of a system that were recorded since a moment, each once, the oldest first."""
        query = (
            select(_JOURNAL.c.entry)
            .join(_INCIDENT, _INCIDENT.c.id == _JOURNAL.c.incident_id)
            .where(
                _INCIDENT.c.system == system,
                _INCIDENT.c.flow == REVIEW_FLOW,
                _JOURNAL.c.kind == str(Kind.DIAGNOSED),
                _JOURNAL.c.at >= moment,
            )
            .order_by(_JOURNAL.c.sequence.desc())
            .limit(_MOST)
        )
        with self._engine.connect() as connection:
            entries = [row.entry for row in connection.execute(query)]
        return tuple(dict.fromkeys(record for entry in reversed(entries) for record in _records(entry)))

    def open_beside(self, system: str, alerts: Collection[str], but: int) -> tuple[OpenBeside, ...]:
        """Incidents of these alerts that are live, or ended without success and their alert still fires; newest first.

        Args:
            system: of the catalogue.
            alerts: names, as the catalogue has them.
            but: an incident that does not count.
        """
        firing = select(_ALERT.c.incident_id).where(_ALERT.c.status == "firing")
        left = _INCIDENT.c.outcome.not_in(_WELL) & _INCIDENT.c.id.in_(firing)
        query = (
            select(_INCIDENT.c.id, _INCIDENT.c.runbook)
            .where(
                _INCIDENT.c.system == system,
                _INCIDENT.c.runbook.in_(list(alerts)),
                _INCIDENT.c.id != but,
                or_(_INCIDENT.c.status != "ended", left),
            )
            .order_by(_INCIDENT.c.id.desc())
            .limit(_MOST)
        )
        with self._engine.connect() as connection:
            return tuple(OpenBeside(row.id, row.runbook) for row in connection.execute(query))

    def alerts_since(self, system: str, moment: datetime, but: int) -> tuple[AlertSeen, ...]:
        """Critical and warning alerts of a system that began since a moment, by the Alertmanager's clock.

        Args:
            system: of the catalogue.
            moment: nothing earlier.
            but: an incident that does not count.
        """
        urgent = [str(Severity.CRITICAL), str(Severity.WARNING)]
        query = (
            select(_ALERT.c.labels, _ALERT.c.starts_at, _ALERT.c.status, _INCIDENT.c.id, _INCIDENT.c.runbook)
            .join(_INCIDENT, _INCIDENT.c.id == _ALERT.c.incident_id)
            .where(
                _INCIDENT.c.system == system,
                _INCIDENT.c.severity.in_(urgent),
                _INCIDENT.c.id != but,
                _ALERT.c.starts_at >= moment,
            )
            .order_by(_ALERT.c.starts_at)
            .limit(_MOST)
        )
        with self._engine.connect() as connection:
            return tuple(
                AlertSeen(
                    name=str(row.labels.get("alertname") or row.runbook),
                    incident=row.id,
                    labels=row.labels,
                    began=row.starts_at,
                    firing=row.status == "firing",
                )
                for row in connection.execute(query)
            )


def _records(entry: dict[str, object]) -> Iterator[ChangeRecord]:
    findings = entry.get("findings")
    for finding in findings if isinstance(findings, list) else []:
        if (kept := finding.get("data", {}).get(RECORD)) is not None:
            try:
                yield ChangeRecord.model_validate(kept)
            except ValidationError:
                continue  # another version of Nightshift wrote it; a change that is not known is no reason to stop
