"""The evidence for "why did nothing happen?": what the ledger says about an alert or an incident at one moment.

Everything is read in one transaction that sees one state, so that no two facts contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Row, func, or_, select

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import rows_of
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.sources import NAME_LENGTH
from nightshift.remediation.ledger.switches import stops_of
from nightshift.remediation.models import Target
from nightshift.remediation.text import printable
from nightshift.remediation.why.facts import (
    AlertSeen,
    Asked,
    IncidentSeen,
    Lease,
    Message,
    ModeSet,
    RefusedSeen,
    SourceSeen,
    Stop,
)
from nightshift.remediation.why.selector import Selector

_REFUSED, _CHECK, _ALERT, _INCIDENT = schema.refused_alert, schema.source_check, schema.alert, schema.incident
_APPROVAL, _DECISION, _DELIVERY = schema.approval, schema.decision, schema.delivery
_MODE, _LEASE = schema.mode_change, schema.lease
MOST = 20
"""Alerts that are listed when a selector means several."""
_S = TypeVar("_S")


@dataclass(frozen=True)
class Evidence:
    """Reads; all of one object sees the ledger at the same moment."""

    connection: Connection
    now: datetime

    @classmethod
    @contextmanager
    def of(cls, engine: Engine) -> Iterator[Evidence]:
        """One look at the ledger."""
        with engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as reading:
            yield cls(reading, reading.execute(select(NOW)).scalar_one())

    def alerts(self, selector: Selector) -> list[AlertSeen]:
        """The alerts that are meant, newest first."""
        conditions = [_ALERT.c.labels.contains(dict(selector.labels))] if selector.labels else []
        named = []
        if selector.name is not None:
            named.append(schema.alert_name == selector.name)
        if selector.fingerprint is not None:
            named.append(func.starts_with(_ALERT.c.fingerprint, selector.fingerprint))
        if named:
            conditions.append(or_(*named))
        query = select(_ALERT).where(*conditions).order_by(_ALERT.c.last_seen.desc()).limit(MOST)
        return [seen(AlertSeen, row) for row in self.connection.execute(query)]

    def newest_alert_of(self, incident_id: int) -> AlertSeen | None:
        """The alert of an incident that was heard of last."""
        query = select(_ALERT).where(_ALERT.c.incident_id == incident_id).order_by(_ALERT.c.last_seen.desc()).limit(1)
        row = self.connection.execute(query).first()
        return None if row is None else seen(AlertSeen, row)

    def refused(self, selector: Selector) -> list[RefusedSeen]:
        """The refused alerts that may be meant, newest first; their labels are not kept, so those do not count."""
        named = []
        if selector.name is not None:
            named.append(_REFUSED.c.name == printable(selector.name, NAME_LENGTH))
        if selector.fingerprint is not None:
            named.append(func.starts_with(_REFUSED.c.fingerprint, selector.fingerprint))
        if not named:
            return []
        query = select(_REFUSED).where(_REFUSED.c.what == "alert", or_(*named))
        rows = self.connection.execute(query.order_by(_REFUSED.c.last_seen.desc()).limit(MOST))
        return [seen(RefusedSeen, row) for row in rows]

    def refused_bodies(self) -> tuple[RefusedSeen, ...]:
        """What was refused as a whole or left out, newest first."""
        query = select(_REFUSED).where(_REFUSED.c.what != "alert").order_by(_REFUSED.c.last_seen.desc()).limit(MOST)
        return tuple(seen(RefusedSeen, row) for row in self.connection.execute(query))

    def sources(self) -> dict[str, SourceSeen]:
        """Every source that was heard of or asked."""
        last = select(_ALERT.c.source, func.max(_ALERT.c.last_seen).label("at")).group_by(_ALERT.c.source)
        heard: dict[str, datetime] = {row.source: row.at for row in self.connection.execute(last)}
        found = {name: SourceSeen(name, at) for name, at in heard.items()}
        for row in self.connection.execute(select(_CHECK)):
            times = {"asked_at": row.asked_at, "agreed_at": row.agreed_at, "complaint": row.complaint or ""}
            found[row.source] = SourceSeen(row.source, heard.get(row.source), **times)
        return found

    def incident(self, incident_id: int) -> IncidentSeen | None:
        """An incident with everything that belongs to it."""
        row = self.connection.execute(select(_INCIDENT).where(_INCIDENT.c.id == incident_id)).first()
        if row is None:
            return None
        target = Target.from_key(row.target)
        return seen(
            IncidentSeen,
            row,
            rows=tuple(rows_of(self.connection, incident_id)),
            approvals=tuple(self._approvals(incident_id)),
            messages=tuple(self._messages(incident_id)),
            lease_in_the_way=self._lease_in_the_way(incident_id, row.target),
            stops=tuple(self._stops(row.runbook, target)),
            mode_set=self._mode_set(row.system, row.runbook),
        )

    def _approvals(self, incident_id: int) -> Iterator[Asked]:
        said = select(_DECISION).where(_DECISION.c.approve).order_by(_DECISION.c.id)
        query = select(_APPROVAL).where(_APPROVAL.c.incident_id == incident_id).order_by(_APPROVAL.c.id)
        for row in self.connection.execute(query).all():
            answers = self.connection.execute(said.where(_DECISION.c.approval_id == row.id))
            yield seen(Asked, row, answers=tuple(answer.person for answer in answers))

    def _messages(self, incident_id: int) -> Iterator[Message]:
        query = select(_DELIVERY).where(_DELIVERY.c.incident_id == incident_id).order_by(_DELIVERY.c.id)
        for row in self.connection.execute(query):
            yield seen(Message, row)

    def _lease_in_the_way(self, incident_id: int, key: str) -> Lease | None:
        overlaps = or_(
            _LEASE.c.target == key,
            func.starts_with(_LEASE.c.target, key + "/"),
            func.starts_with(key, func.concat(_LEASE.c.target, "/")),
        )
        query = select(_LEASE).where(overlaps, _LEASE.c.incident_id != incident_id).limit(1)
        row = self.connection.execute(query).first()
        return None if row is None else seen(Lease, row)

    def _stops(self, runbook: str, target: Target) -> Iterator[Stop]:
        for row in self.connection.execute(stops_of(runbook, target.system, target.key)):
            yield seen(Stop, row, number=row.id)

    def _mode_set(self, system: str, runbook: str) -> ModeSet | None:
        covers = _MODE.c.runbook.is_(None) | (_MODE.c.runbook == runbook)
        query = select(_MODE).where(_MODE.c.lifted_at.is_(None), _MODE.c.system == system, covers)
        row = self.connection.execute(query.order_by(_MODE.c.runbook.is_(None)).limit(1)).first()
        return None if row is None else seen(ModeSet, row)


def seen(kind: type[_S], row: Row[Any], **more: Any) -> _S:
    """The fact that a row tells: its columns of these names, and what does not stand in it."""
    mapping = row._mapping  # noqa: SLF001 - SQLAlchemy's documented name
    names: Sequence[str] = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: mapping[name] for name in names if name in mapping and name not in more}, **more)
