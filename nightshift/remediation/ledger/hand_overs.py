"""Incidents that hand over to another one: which led where, and what intake made of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Row, select

from nightshift.remediation import handing_over
from nightshift.remediation.handing_over import Step
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.inbox import Inbox
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.ledger.written import Written
from nightshift.remediation.models import Alert

_ALERT, _INCIDENT = schema.alert, schema.incident
_NEXT_TO_LINK = Written.out(
    select(_ALERT)
    .where(
        _ALERT.c.source == handing_over.SOURCE,
        _ALERT.c.status == "firing",
        _ALERT.c.taken_in,
        _ALERT.c.incident_id.is_not(None),
    )
    .order_by(_ALERT.c.first_seen)
    .limit(1)
)


class HandOvers:
    """Writes them down, and finds them again."""

    def __init__(self, engine: Engine, journal: Journal, inbox: Inbox) -> None:
        self._engine, self._journal, self._inbox = engine, journal, inbox

    def steps(self, incident_id: int) -> tuple[Step, ...]:
        """This incident, then those that led to it."""
        annotations = select(_ALERT.c.annotations).where(
            _ALERT.c.incident_id == incident_id, _ALERT.c.source == handing_over.SOURCE
        )
        with reading(self._engine) as connection:
            told = connection.execute(annotations).scalars().all()
            numbers = dict.fromkeys([incident_id, *(number for one in told for number in handing_over.led_here(one))])
            rows = connection.execute(select(_INCIDENT).where(_INCIDENT.c.id.in_(list(numbers)))).all()
        found = {row.id: Step(row.id, row.runbook, row.target) for row in rows}
        return tuple(found[number] for number in numbers if number in found)

    def begun(self, incident_id: int, alert: str, target: str) -> Alert | None:
        """The alert by which this incident was handed to a runbook and target before; None: it was not."""
        for row in self._journal.of(incident_id):
            if row.kind is Kind.HANDED_OVER and (row.entry["to"], row.entry["target"]) == (alert, target):
                return Alert.model_validate(row.entry["alert"])
        return None

    def hand_over(self, incident_id: int, alert: Alert, to: str, target: str, why: str) -> None:
        """Write it down, then send the alert; whoever dies in between sends it the next time (see :meth:`sent`)."""
        entry = {"to": to, "target": target, "why": why, "alert": alert.model_dump(mode="json")}
        self._journal.record(incident_id, Kind.HANDED_OVER, entry)
        self._inbox.accept([alert])

    def sent(self, alert: Alert) -> Row[Any] | None:
        """What the inbox has of it; None: it never arrived."""
        return self._inbox.latest(alert.source, alert.fingerprint)

    def next_to_link(self, connection: Connection) -> Row[Any] | None:
        """The oldest that intake has dealt with, and that nobody was put under yet."""
        return _NEXT_TO_LINK.ask(connection).first()
