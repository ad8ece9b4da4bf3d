"""Deliveries: the outbox of pages and notices, retried until a channel took them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import NOW

_TABLE = schema.delivery
_LONGEST_PAUSE_SECONDS = 300


class Deliveries:
    """Messages to people, written in the transaction that makes them necessary."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    def page(self, connection: Connection, incident_id: int, channel: str, subject: str, body: str) -> None:
        """Somebody must look; written with the caller's transaction."""
        connection.execute(
            insert(_TABLE).values(incident_id=incident_id, kind="page", channel=channel, subject=subject, body=body)
        )
        self._journal.append(connection, incident_id, Kind.PAGED, {"channel": channel, "subject": subject})

    def notify(self, connection: Connection, incident_id: int, channel: str, subject: str, body: str) -> None:
        """Somebody may want to know."""
        connection.execute(
            insert(_TABLE).values(incident_id=incident_id, kind="notice", channel=channel, subject=subject, body=body)
        )

    def take(self, limit: int, seconds: float) -> Sequence[Row[Any]]:
        """Messages to send now, each with its incident's system.

        They are ours for this long; then, unless one was delivered, they are due again. So nothing is locked while
        a slow channel is spoken to, and a message taken by a gateway that died is sent by another one.
        """
        due = (
            select(_TABLE.c.id)
            .where(_TABLE.c.delivered_at.is_(None), _TABLE.c.due_at <= NOW)
            .order_by(_TABLE.c.kind.desc(), _TABLE.c.due_at)  # pages before notices
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        with self._engine.begin() as connection:
            return connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id.in_(due), schema.incident.c.id == _TABLE.c.incident_id)
                .values(due_at=NOW + timedelta(seconds=seconds))
                .returning(*_TABLE.c, schema.incident.c.system)
            ).all()

    def delivered(self, delivery_id: int) -> None:
        """The channel took it."""
        with self._engine.begin() as connection:
            connection.execute(
                update(_TABLE).where(_TABLE.c.id == delivery_id).values(delivered_at=NOW, tries=_TABLE.c.tries + 1)
            )

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
        with self._engine.connect() as connection:
            return connection.execute(
                select(_TABLE).where(_TABLE.c.incident_id == incident_id).order_by(_TABLE.c.id)
            ).all()

    def undelivered(self) -> int:
        """How many messages wait."""
        with self._engine.connect() as connection:
            query = select(func.count()).where(_TABLE.c.delivered_at.is_(None))
            return int(connection.execute(query).scalar_one())
