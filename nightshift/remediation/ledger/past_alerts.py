"""Alerts and incidents of a time, as the ledger has them: read only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, func, or_, select

from nightshift.remediation.history.facts import Answered, Firing, Recorded
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.sessions import reading

MOST = 20_000
"""Alerts, and incidents, that are read at once: the newest."""
_ALERT, _INCIDENT, _JOURNAL = schema.alert, schema.incident, schema.journal
_SYSTEM = func.coalesce(_INCIDENT.c.system, "")


class PastAlerts:
    """Reads what fired."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def since(self, seconds: float, system: str | None = None) -> Recorded:
        """What fired, and which incidents were open, within these last seconds; None: of all systems."""
        ago = NOW - timedelta(seconds=seconds)
        fired = (
            select(_ALERT, schema.alert_name.label("name"), _SYSTEM.label("system"))
            .join(_INCIDENT, _INCIDENT.c.id == _ALERT.c.incident_id, isouter=True)
            .where(or_(_ALERT.c.status == "firing", _ALERT.c.starts_at >= ago, _ALERT.c.ends_at >= ago))
            .order_by(_ALERT.c.starts_at.desc())
            .limit(MOST + 1)
        )
        silences = (
            select(func.count())
            .where(_JOURNAL.c.incident_id == _INCIDENT.c.id, _JOURNAL.c.kind == str(Kind.SILENCED))
            .correlate(_INCIDENT)
            .scalar_subquery()
        )
        opened = (
            select(_INCIDENT, silences.label("silences"))
            .where(or_(_INCIDENT.c.status != "ended", _INCIDENT.c.ended_at >= ago))
            .order_by(_INCIDENT.c.id.desc())
            .limit(MOST + 1)
        )
        if system is not None:
            fired, opened = fired.where(_INCIDENT.c.system == system), opened.where(_INCIDENT.c.system == system)
        with reading(self._engine) as connection:
            until: datetime = connection.execute(select(NOW)).scalar_one().astimezone(UTC)
            alerts, incidents = connection.execute(fired).all(), connection.execute(opened).all()
        return Recorded(
            since=until - timedelta(seconds=seconds),
            until=until,
            firings=tuple(_firing(row) for row in reversed(alerts[:MOST])),
            answered=tuple(_answered(row) for row in reversed(incidents[:MOST])),
            cut=max(len(alerts), len(incidents)) > MOST,
        )


def _firing(row: Row[Any]) -> Firing:
    return Firing(
        system=row.system,
        name=row.name or "",
        identity=f"{row.source} {row.fingerprint}",
        began=row.starts_at,
        ended=None if row.status == "firing" else row.ends_at or row.last_seen,
        effect=row.cause_rule is not None,
    )


def _answered(row: Row[Any]) -> Answered:
    return Answered(
        system=row.system,
        name=row.runbook,
        opened=row.opened_at,
        acknowledged=row.acknowledged_at,
        ended=row.ended_at,
        outcome=row.outcome,
        silences=row.silences,
    )
