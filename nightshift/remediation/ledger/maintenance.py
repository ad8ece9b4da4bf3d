"""Maintenance that people announce: a planned upgrade of a system, during which nothing is done there by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, Row, Select, and_, insert, select, update

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import NOW, Words
from nightshift.remediation.ledger.sessions import reading

_TABLE = schema.maintenance
_IN_FORCE = and_(_TABLE.c.ended_at.is_(None), _TABLE.c.until > NOW)


class Maintenances:
    """Announces, ends and asks."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    def start(self, system: str, *, reason: str, author: str, seconds: float) -> Row[Any]:
        """From now on, for this long, every change in the system needs an approval."""
        values = {"system": system, "reason": reason, "author": author}
        with self._engine.begin() as connection:
            row = connection.execute(
                insert(_TABLE).values(until=NOW + timedelta(seconds=seconds), **values).returning(_TABLE)
            ).one()
            entry = {"maintenance": row.id, "until": row.until.isoformat(), **values}
            self._journal.append(connection, None, Kind.MAINTENANCE_STARTED, entry)
        return row

    def end(self, number: int, *, author: str) -> bool:
        """It is over before its time; False when it was not in force any more."""
        with self._engine.begin() as connection:
            ended = connection.execute(
                update(_TABLE).where(_TABLE.c.id == number, _IN_FORCE).values(ended_at=NOW, ended_by=author)
            ).rowcount
            if ended:
                self._journal.append(
                    connection, None, Kind.MAINTENANCE_ENDED, {"maintenance": number, "author": author}
                )
        return bool(ended)

    def in_force(self) -> Sequence[Row[Any]]:
        """All that are under way, oldest first."""
        with reading(self._engine) as connection:
            return connection.execute(select(_TABLE).where(_IN_FORCE).order_by(_TABLE.c.id)).all()


def announced_in(system: Words) -> Select[Any]:
    """What is under way in this system, oldest first."""
    return select(_TABLE).where(_IN_FORCE, _TABLE.c.system == system).order_by(_TABLE.c.id)
