"""The report of an incident, from the ledger."""

from __future__ import annotations

from nightshift.remediation.ledger.ledger import Ledger
from nightshift.remediation.report import AlertKind, Cause, CausedIncident, IncidentFacts, render_report


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
        kinds=tuple(AlertKind(kind.name or "", kind.rule, kind.alerts) for kind in ledger.causes.kinds_of(incident_id)),
        cause=Cause(row.cause_id, row.cause_rule, row.under_cause_since is not None) if row.cause_id else None,
        effects=tuple(
            CausedIncident(effect.id, effect.title, effect.outcome or effect.status, effect.cause_rule)
            for effect in ledger.causes.waiting_for(incident_id)
        ),
    )


def report_of(ledger: Ledger, incident_id: int) -> str:
    """The report as Markdown.

    Raises:
        KeyError: there is no such incident.
    """
    return render_report(facts_of(ledger, incident_id), ledger.journal.of(incident_id))
