"""The report of an incident, from the ledger."""

from __future__ import annotations

from nightshift.remediation.ledger.ledger import Ledger
from nightshift.remediation.report import IncidentFacts, render_report


def facts_of(ledger: Ledger, incident_id: int) -> IncidentFacts:
    """What a report says about the incident itself.

    Raises:
        KeyError: there is no such incident.
    """
    row = ledger.incidents.get(incident_id)
    if row is None:
        raise KeyError(incident_id)
    names = ("id", "system", "runbook", "target", "severity", "title", "status", "outcome", "reason", "attempt")
    return IncidentFacts(
        **{name: getattr(row, name) for name in names},
        opened_at=row.opened_at,
        ended_at=row.ended_at,
        alerts=len(ledger.inbox.of(incident_id)),
    )


def report_of(ledger: Ledger, incident_id: int) -> str:
    """The report as Markdown.

    Raises:
        KeyError: there is no such incident.
    """
    return render_report(facts_of(ledger, incident_id), ledger.journal.of(incident_id))
