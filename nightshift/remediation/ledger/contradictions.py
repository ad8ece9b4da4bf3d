"""Alerts that fire on although their incident found that all is well: the two contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, exists, func, select

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Kind, has_entry
from nightshift.remediation.ledger.schema import ONCE
from nightshift.remediation.models import Outcome, Severity

_INCIDENT, _ALERT = schema.incident, schema.alert
TOLD: dict[str, Any] = {"contradicted": True}
"""What stands in the journal of an incident about which people were told."""


def fires_on(connection: Connection, since: float, within: float) -> Sequence[Row[Any]]:
    """Incidents that ended without anything to do, whose own alert fires on since then, and nobody was told.

    Args:
        connection: of a transaction.
        since: seconds after their end; before that an expression may still look back.
        within: seconds; what ended before that has been looked at again since.
    """
    age = func.extract("epoch", ONCE - _INCIDENT.c.ended_at)
    own = exists().where(
        _ALERT.c.incident_id == _INCIDENT.c.id,
        _ALERT.c.cause_rule.is_(None),
        _ALERT.c.status == "firing",
        _ALERT.c.starts_at <= _INCIDENT.c.ended_at,
    )
    query = select(_INCIDENT, age.label("ended_ago")).where(
        _INCIDENT.c.ended_at > ONCE - timedelta(seconds=within),
        _INCIDENT.c.ended_at <= ONCE - timedelta(seconds=since),
        _INCIDENT.c.outcome == str(Outcome.EXPECTED),
        _INCIDENT.c.severity != str(Severity.INFO),
        _INCIDENT.c.acknowledged_at.is_(None),
        _INCIDENT.c.options == {},
        own,
        ~has_entry(_INCIDENT.c.id, Kind.ALERT, TOLD),
    )
    return connection.execute(query.order_by(_INCIDENT.c.id).limit(50)).all()
