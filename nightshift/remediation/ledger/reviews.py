"""Which incidents need a review, and the review of one, from the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import exists, func, select

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.ledger import Ledger
from nightshift.remediation.ledger.reports import facts_of
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.ledger.undo_request import UNDO_FLOW
from nightshift.remediation.models import Outcome, Severity
from nightshift.remediation.reviews.items import Beside
from nightshift.remediation.reviews.review import render_review
from nightshift.remediation.undoing import history

_INCIDENT, _JOURNAL, _DELIVERY = schema.incident, schema.journal, schema.delivery
_LOOKS_BACK = timedelta(days=7)
_SAME_WITHIN = timedelta(days=30)
_CHANGED_WITHIN = timedelta(hours=2)
_TO_TALK_ABOUT = [str(Outcome.RESOLVED), str(Outcome.ESCALATED), str(Outcome.NOT_APPROVED)]
"""What was nothing, or another incident's effect, has no review of its own."""


def reviews_due(ledger: Ledger, limit: int = 20) -> Sequence[int]:
    """Critical incidents that ended within a week and have no review, the oldest first."""
    written = exists().where(_JOURNAL.c.incident_id == _INCIDENT.c.id, _JOURNAL.c.kind == str(Kind.REVIEWED))
    query = (
        select(_INCIDENT.c.id)
        .where(
            _INCIDENT.c.status == "ended",
            _INCIDENT.c.ended_at >= NOW - _LOOKS_BACK,
            _INCIDENT.c.severity == str(Severity.CRITICAL),
            _INCIDENT.c.outcome.in_(_TO_TALK_ABOUT),
            _INCIDENT.c.flow.is_distinct_from(UNDO_FLOW),
            ~_INCIDENT.c.options.contains({"dry_run": True}),
            ~written,
        )
        .order_by(_INCIDENT.c.id)
        .limit(limit)
    )
    with reading(ledger.engine) as connection:
        return connection.execute(query).scalars().all()


def review_of(ledger: Ledger, incident_id: int) -> str:
    """The review as Markdown.

    Raises:
        KeyError: there is no such incident.
    """
    facts = facts_of(ledger, incident_id)
    recorded = sorted(history(ledger.journal, incident_id), key=lambda row: row.sequence)
    rows = [row for row in recorded if row.kind is not Kind.REVIEWED]
    changes = [one for one in ledger.changes.since(facts.system, facts.opened_at - _CHANGED_WITHIN) if one.at]
    beside = Beside(
        before=_before(ledger, incident_id, facts.opened_at),
        changes=tuple(one.what for one in changes if one.at is not None and one.at <= facts.opened_at),
        undelivered=_undelivered(ledger, incident_id),
    )
    return render_review(facts, rows, beside)


def _before(ledger: Ledger, incident_id: int, opened: datetime) -> int:
    this = _INCIDENT.alias("this")
    query = (
        select(func.count())
        .select_from(_INCIDENT)
        .join(
            this,
            (this.c.system == _INCIDENT.c.system)
            & (this.c.runbook == _INCIDENT.c.runbook)
            & (this.c.target == _INCIDENT.c.target),
        )
        .where(
            this.c.id == incident_id,
            _INCIDENT.c.id < incident_id,
            _INCIDENT.c.opened_at >= opened - _SAME_WITHIN,
            _INCIDENT.c.flow.is_distinct_from(UNDO_FLOW),
        )
    )
    with reading(ledger.engine) as connection:
        return int(connection.execute(query).scalar_one())


def _undelivered(ledger: Ledger, incident_id: int) -> int:
    query = select(func.count()).where(
        _DELIVERY.c.incident_id == incident_id,
        _DELIVERY.c.kind == "page",
        _DELIVERY.c.delivered_at.is_(None),
        _DELIVERY.c.withdrawn_at.is_(None),
    )
    with reading(ledger.engine) as connection:
        return int(connection.execute(query).scalar_one())
