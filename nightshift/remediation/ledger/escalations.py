"""Escalations: when the ladder of an incident is looked at next, by the clock of the ledger.

The time stands with the incident, so it survives every restart; a step is told once per channel, whoever takes it
(see :meth:`Deliveries.page`). An acknowledgement, and an end that needs nobody, clear the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, or_, select, update

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.ledger.written import Written, number
from nightshift.remediation.models import Outcome
from nightshift.remediation.seen import Seen

_TABLE = schema.incident
_DRY_RUN = {"dry_run": True}
_OF_A_PERSON = [str(Outcome.ESCALATED), str(Outcome.NOT_APPROVED)]
_STEP_IS_DUE = Written.out(
    select(_TABLE.c.id).where(_TABLE.c.next_step_at <= NOW).order_by(_TABLE.c.next_step_at).limit(number("limit"))
)


class Escalations:
    """Finds who is to be called."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    def due(self, limit: int) -> Sequence[int]:
        """Incidents whose ladder is to be looked at now, the longest waiting first."""
        with reading(self._engine) as connection:
            return _STEP_IS_DUE.ask(connection, limit=limit).scalars().all()

    def take(self, connection: Connection, incident_id: int) -> Row[Any] | None:
        """The incident, locked for the caller, with its ``age`` in seconds and whether it ``needs_people`` still.

        None when another gateway has it. The journal's chain is held first: who holds it never waits for this row.
        """
        self._journal.hold(connection)
        needs_people = or_(_TABLE.c.status != "ended", _TABLE.c.outcome.in_(_OF_A_PERSON))
        return connection.execute(
            select(
                _TABLE,
                func.extract("epoch", NOW - _TABLE.c.opened_at).label("age"),
                (needs_people & _TABLE.c.acknowledged_at.is_(None)).label("needs_people"),
            )
            .where(_TABLE.c.id == incident_id, _TABLE.c.next_step_at <= NOW)
            .with_for_update(skip_locked=True, key_share=True)
        ).first()

    def sees(self, connection: Connection, incident: Row[Any], condition: Seen) -> bool:
        """Whether a condition of a ladder holds for an incident."""
        if condition is Seen.SEVERAL_TARGETS:
            return self._others(connection, incident) > 0
        if incident.status != "ended" or incident.outcome not in _OF_A_PERSON:
            return False
        began = select(schema.journal.c.sequence).where(
            schema.journal.c.incident_id == incident.id, schema.journal.c.kind == str(Kind.INTENT)
        )
        return condition is Seen.NOT_REPAIRED or connection.execute(began.limit(1)).first() is not None

    def _others(self, connection: Connection, incident: Row[Any]) -> int:
        """Live incidents of the same alert on other targets; effects of another trouble are its own matter."""
        query = select(func.count()).where(
            _TABLE.c.system == incident.system,
            _TABLE.c.runbook == incident.runbook,
            _TABLE.c.target != incident.target,
            _TABLE.c.status != "ended",
            _TABLE.c.under_cause_since.is_(None),
            ~_TABLE.c.options.contains(_DRY_RUN),
        )
        return int(connection.execute(query).scalar_one())

    def look_again(self, connection: Connection, incident_id: int, after: float | None) -> None:
        """Look next this many seconds after the incident was opened; None: never."""
        at = None if after is None else _TABLE.c.opened_at + timedelta(seconds=after)
        connection.execute(update(_TABLE).where(_TABLE.c.id == incident_id).values(next_step_at=at))

    def acknowledged_by(self, connection: Connection, incident_id: int, within_seconds: float) -> str | None:
        """Who took an incident over within this time, if somebody did."""
        person: str | None = connection.execute(
            select(_TABLE.c.acknowledged_by).where(
                _TABLE.c.id == incident_id, _TABLE.c.acknowledged_at > NOW - timedelta(seconds=within_seconds)
            )
        ).scalar()
        return person

    def unclaimed(self, connection: Connection, critical_seconds: float, other_seconds: float) -> Sequence[Row[Any]]:
        """Incidents that no flow run took for too long and that nobody was told about, with ``waited`` in seconds.

        Locked for the caller. Dry runs are left out: whoever started one is looking at it.
        """
        self._journal.hold(connection)
        waited = func.extract("epoch", NOW - _TABLE.c.open_since)
        too_long = or_(
            (_TABLE.c.severity == "critical") & (waited >= critical_seconds),
            (_TABLE.c.severity != "critical") & (waited >= other_seconds),
        )
        told = select(schema.delivery.c.id).where(
            schema.delivery.c.incident_id == _TABLE.c.id, schema.delivery.c.step == UNCLAIMED
        )
        return connection.execute(
            select(_TABLE, waited.label("waited"))
            .where(
                _TABLE.c.status == "open",
                _TABLE.c.flow.is_not(None),
                too_long,
                ~told.exists(),
                _TABLE.c.under_cause_since.is_(None),
                ~_TABLE.c.options.contains(_DRY_RUN),
            )
            .order_by(_TABLE.c.id)
            .limit(20)
            .with_for_update(skip_locked=True, key_share=True)
        ).all()


UNCLAIMED = "unclaimed"
"""Step of the page about an incident that no flow run took."""
