"""Sweeps as they were: for trends, differences and forecasts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, delete, func, insert, select

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.inbox import alert_of
from nightshift.remediation.ledger.schema import NOW, ONCE
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.models import Alert
from nightshift.remediation.sweeps.alerts import SOURCE
from nightshift.remediation.sweeps.measures import Judged, Level

_TABLE = schema.sweep
_KEPT = timedelta(days=30)
_LOOKS_BACK = 48
"""Sweeps that trends are made of."""


@dataclass(frozen=True)
class Before:
    """What former sweeps of a system left."""

    values: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Moments (Unix seconds) and values of each measure, the oldest first."""
    findings: frozenset[str] = frozenset()
    """Keys of the findings of the last one."""


class Sweeps:
    """Keeps them for a month."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(self, system: str, judged: Sequence[Judged]) -> None:
        """Write down a sweep, and forget those that are too old."""
        measures = [_kept(one) for one in judged]
        with self._engine.begin() as connection:
            connection.execute(insert(_TABLE).values(system=system, measures=measures))
            connection.execute(delete(_TABLE).where(_TABLE.c.at < NOW - _KEPT))

    def before(self, system: str) -> Before:
        """What is known of a system."""
        query = select(_TABLE).where(_TABLE.c.system == system).order_by(_TABLE.c.at.desc()).limit(_LOOKS_BACK)
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        if not rows:
            return Before()
        values: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for row in reversed(rows):
            for one in row.measures:
                if one["value"] is not None:
                    values[one["key"]].append((row.at.timestamp(), one["value"]))
        found = frozenset(one["key"] for one in rows[0].measures if one["level"] == Level.FINDING)
        return Before(dict(values), found)

    def newest(self) -> list[Row[Any]]:
        """The last sweep of each system."""
        query = select(_TABLE).distinct(_TABLE.c.system).order_by(_TABLE.c.system, _TABLE.c.at.desc())
        with reading(self._engine) as connection:
            return list(connection.execute(query).all())

    def firing(self, system: str) -> list[Alert]:
        """What former sweeps found and is not over."""
        alert = schema.alert
        of_system = alert.c.labels["system"].astext == system
        query = select(alert).where(alert.c.source == SOURCE, alert.c.status == "firing", of_system)
        with reading(self._engine) as connection:
            return [alert_of(row) for row in connection.execute(query)]

    def last_heard(self, system: str, alert: str) -> datetime | None:
        """When an alert of this name was last delivered for a system, by its label or without one."""
        table = schema.alert
        named = table.c.labels["alertname"].astext == alert
        theirs = table.c.labels["system"].astext.is_(None) | (table.c.labels["system"].astext == system)
        query = select(table.c.last_seen).where(named, theirs, table.c.status == "firing", table.c.source != SOURCE)
        with reading(self._engine) as connection:
            found: datetime | None = connection.execute(query.order_by(table.c.last_seen.desc()).limit(1)).scalar()
            return found

    def incidents_of(self, source: str, fingerprints: Collection[str]) -> dict[str, int]:
        """The newest incident of each of these alerts of a source, where it has one."""
        table = schema.alert
        query = (
            select(table.c.fingerprint, table.c.incident_id)
            .distinct(table.c.fingerprint)
            .where(table.c.source == source, table.c.fingerprint == func.any(list(fingerprints)))
            .where(table.c.incident_id.is_not(None))
            .order_by(table.c.fingerprint, table.c.starts_at.desc())
        )
        with reading(self._engine) as connection:
            return {row.fingerprint: row.incident_id for row in connection.execute(query)}

    def heard(self, names: Collection[str]) -> list[dict[str, str]]:
        """Labels of the alerts of these names that fire as far as their sources said."""
        table = schema.alert
        named = table.c.labels["alertname"].astext == func.any(list(names))
        query = select(table.c.labels).where(named, table.c.status == "firing", table.c.source != SOURCE)
        with reading(self._engine) as connection:
            return list(connection.execute(query).scalars())

    def unanswered(self, system: str, seconds: float) -> list[Row[Any]]:
        """Questions to people that have waited for so long: incident, title and seconds."""
        approval, incident = schema.approval, schema.incident
        waited = func.extract("epoch", ONCE - approval.c.requested_at)
        query = (
            select(incident.c.id, incident.c.title, waited.label("waited"))
            .join(incident, incident.c.id == approval.c.incident_id)
            .where(incident.c.system == system, approval.c.status == "open", waited > seconds)
        )
        with reading(self._engine) as connection:
            return list(connection.execute(query).all())


def _kept(one: Judged) -> dict[str, Any]:
    measure = one.measure
    shown = {"what": measure.what, "shown": measure.shown, "trend": one.trend, "why": one.why}
    return {"key": measure.key, "value": measure.value, "level": one.level.value, **shown}
