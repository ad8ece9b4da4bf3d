"""Deliveries: the outbox of pages and notices, retried until a channel took them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import HAS_STEP, NOW
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.ledger.written import Written

_TABLE = schema.delivery
_LONGEST_PAUSE_SECONDS = 300
_WAITS = _TABLE.c.delivered_at.is_(None) & _TABLE.c.withdrawn_at.is_(None)
_ABOUT_APPROVAL = "approval "
"""What the steps of notices about approvals begin with."""
ALL_CLEAR = "all clear"
"""The step of the notice that it is over."""
_DUE = (_TABLE.c.due_at <= NOW) | (_TABLE.c.due_at > NOW + timedelta(seconds=2 * _LONGEST_PAUSE_SECONDS))
"""No pause is so long: what lies further ahead was written before the clock was set back."""

_ANY_DUE = Written.out(select(exists().where(_WAITS, _DUE)))


def approval_step(approval_id: int) -> str:
    """The step of the notice that an approval waits."""
    return f"{_ABOUT_APPROVAL}{approval_id}"


class Deliveries:
    """Messages to people, written in the transaction that makes them necessary."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    def page(
        self,
        connection: Connection,
        incident_id: int,
        channel: str,
        subject: str,
        body: str,
        *,
        step: str | None = None,
    ) -> bool:
        """Somebody must look; written with the caller's transaction.

        With a step, a channel is told at most once per incident and step; False when it was told already.
        """
        message = self._add(connection, incident_id, "page", channel, subject, body, step)
        if message is None:
            return False
        entry = {"channel": channel, "subject": subject, "message": message}
        self._journal.append(connection, incident_id, Kind.PAGED, entry)
        return True

    def notify(
        self,
        connection: Connection,
        incident_id: int,
        channel: str,
        subject: str,
        body: str,
        *,
        step: str | None = None,
    ) -> None:
        """Somebody may want to know; with a step, at most once per channel."""
        self._add(connection, incident_id, "notice", channel, subject, body, step)

    def all_clear(self, connection: Connection, incident_id: int, subject: str, body: str) -> None:
        """It is over: whoever was called, or is being called at this moment, is told where they were called."""
        called = select(_TABLE.c.channel).where(
            _TABLE.c.incident_id == incident_id,
            _TABLE.c.kind == "page",
            _TABLE.c.delivered_at.is_not(None) | (_TABLE.c.due_at > NOW),
        )
        for channel in connection.execute(called.distinct()).scalars().all():
            self.notify(connection, incident_id, channel, subject, body, step=ALL_CLEAR)

    def _add(
        self,
        connection: Connection,
        incident_id: int,
        kind: str,
        channel: str,
        subject: str,
        body: str,
        step: str | None,
    ) -> int | None:
        """The number of a new message; None when this step was told to this channel already."""
        number: int | None = connection.execute(
            insert(_TABLE)
            .values(incident_id=incident_id, kind=kind, channel=channel, subject=subject, body=body, step=step)
            .on_conflict_do_nothing(
                index_elements=[_TABLE.c.incident_id, _TABLE.c.step, _TABLE.c.channel], index_where=HAS_STEP
            )
            .returning(_TABLE.c.id)
        ).scalar()
        return number

    def withdraw(self, connection: Connection, incident_id: int) -> None:
        """Steps that no channel took yet need not be told any more: a person has it, or it is over.

        An approval still has to be given when somebody has taken the incident over: that is told until it is decided.
        """
        is_call = _TABLE.c.step.is_not(None) & ~_TABLE.c.step.startswith(_ABOUT_APPROVAL)
        connection.execute(
            update(_TABLE).where(_TABLE.c.incident_id == incident_id, is_call, _WAITS).values(withdrawn_at=NOW)
        )

    def withdraw_approval(self, connection: Connection, incident_id: int, approval_id: int) -> None:
        """An approval needs no answer any more, so what no channel took yet about it is not told."""
        about_it = (_TABLE.c.incident_id == incident_id, _TABLE.c.step == approval_step(approval_id))
        connection.execute(update(_TABLE).where(*about_it, _WAITS).values(withdrawn_at=NOW))

    def told_of_approval(self, connection: Connection, incident_id: int, approval_id: int, by: datetime) -> bool:
        """Whether some channel took the notice about an approval by this moment."""
        about_it = (_TABLE.c.incident_id == incident_id, _TABLE.c.step == approval_step(approval_id))
        query = select(_TABLE.c.id).where(*about_it, _TABLE.c.delivered_at <= by).limit(1)
        return connection.execute(query).first() is not None

    def take(self, limit: int, seconds: float) -> Sequence[Row[Any]]:
        """Messages to send now, each with its incident's system, severity and opening time.

        They are ours for this long; then, unless one was delivered, they are due again. So nothing is locked while
        a slow channel is spoken to, and a message taken by a gateway that died is sent by another one.
        """
        with reading(self._engine) as connection:
            if not _ANY_DUE.ask(connection).scalar_one():
                return []
        incident = schema.incident.c
        due = (
            select(_TABLE.c.id)
            .where(_WAITS, _DUE)
            .order_by(_TABLE.c.kind.desc(), _TABLE.c.due_at)  # pages before notices
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        with self._engine.begin() as connection:
            return connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id.in_(due), incident.id == _TABLE.c.incident_id)
                .values(due_at=NOW + timedelta(seconds=seconds))
                .returning(*_TABLE.c, incident.system, incident.severity, incident.opened_at)
            ).all()

    def delivered(self, delivery_id: int) -> None:
        """The channel took it."""
        with self._engine.begin() as connection:
            row = connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id == delivery_id, _TABLE.c.delivered_at.is_(None))
                .values(delivered_at=NOW, tries=_TABLE.c.tries + 1)
                .returning(_TABLE.c.incident_id, _TABLE.c.channel, _TABLE.c.subject, _TABLE.c.tries)
            ).first()
            if row is not None:
                entry = {"channel": row.channel, "subject": row.subject, "message": delivery_id, "tries": row.tries}
                self._journal.append(connection, row.incident_id, Kind.DELIVERED, entry)

    def failed(self, delivery_id: int, tries: int, error: str) -> None:
        """The channel did not take it; it is tried again after a growing pause."""
        pause = min(_LONGEST_PAUSE_SECONDS, 2 ** min(tries, 10))
        with self._engine.begin() as connection:
            connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id == delivery_id)
                .values(tries=_TABLE.c.tries + 1, last_error=error[:500], due_at=NOW + timedelta(seconds=pause))
            )

    def of(self, incident_id: int) -> Sequence[Row[Any]]:
        """The messages of an incident, oldest first."""
        with reading(self._engine) as connection:
            return connection.execute(
                select(_TABLE).where(_TABLE.c.incident_id == incident_id).order_by(_TABLE.c.id)
            ).all()

    def pages_to(self, incident_id: int, channel: str) -> Sequence[int]:
        """Numbers of the pages that a channel took, or may have taken, about an incident."""
        taken = _TABLE.c.delivered_at.is_not(None) | (_TABLE.c.tries > 0)
        query = select(_TABLE.c.id).where(
            _TABLE.c.incident_id == incident_id, _TABLE.c.channel == channel, _TABLE.c.kind == "page", taken
        )
        with reading(self._engine) as connection:
            return connection.execute(query.order_by(_TABLE.c.id)).scalars().all()

    def undelivered(self) -> int:
        """How many messages wait."""
        with reading(self._engine) as connection:
            return int(connection.execute(select(func.count()).select_from(_TABLE).where(_WAITS)).scalar_one())

    def oldest_undelivered_seconds(self) -> float:
        """Age of the oldest page that no channel took yet, 0 when there is none."""
        age = func.extract("epoch", NOW - func.min(_TABLE.c.created_at))
        query = select(age).where(_WAITS, _TABLE.c.kind == "page")
        with reading(self._engine) as connection:
            return float(connection.execute(query).scalar() or 0)
