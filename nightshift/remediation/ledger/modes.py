"""Modes set at run time: they hold instead of the catalogue's until they are reset, and every change is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, func, insert, select, update

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import NOW, Words
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.models import Mode

_TABLE = schema.mode_change
_IN_FORCE = _TABLE.c.lifted_at.is_(None)
_LOCK = 0x6E73_6D6F


class Modes:
    """Sets, resets and asks."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    def set(self, mode: Mode, system: str, runbook: str | None, *, reason: str, author: str) -> None:
        """From now on this mode, for one runbook of a system or for all of them without one of their own."""
        values = {"system": system, "runbook": runbook, "mode": str(mode), "reason": reason, "author": author}
        with self._engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            self._lift(connection, system, runbook, author)
            connection.execute(insert(_TABLE).values(values))
            self._journal.append(connection, None, Kind.MODE_SET, values)

    def reset(self, system: str, runbook: str | None, *, author: str) -> bool:
        """Back to the catalogue's mode; False when none was set here."""
        with self._engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            lifted = self._lift(connection, system, runbook, author)
            if lifted:
                entry = {"system": system, "runbook": runbook, "author": author}
                self._journal.append(connection, None, Kind.MODE_RESET, entry)
        return lifted

    def in_force(self) -> Sequence[Row[Any]]:
        """All modes that were set and not reset, oldest first."""
        with reading(self._engine) as connection:
            return connection.execute(select(_TABLE).where(_IN_FORCE).order_by(_TABLE.c.id)).all()

    def of(self, connection: Connection, system: str, runbook: str) -> Mode | None:
        """The mode set for this runbook, else the one set for its system; None: the catalogue's holds."""
        mode: str | None = connection.scalar(mode_of(system, runbook))
        return None if mode is None else Mode(mode)

    def _lift(self, connection: Connection, system: str, runbook: str | None, author: str) -> bool:
        same = _TABLE.c.runbook.is_(None) if runbook is None else _TABLE.c.runbook == runbook
        lifted = connection.execute(
            update(_TABLE).where(_IN_FORCE, _TABLE.c.system == system, same).values(lifted_at=NOW, lifted_by=author)
        ).rowcount
        return bool(lifted)


def mode_of(system: Words, runbook: Words) -> Select[Any]:
    """The mode set for this runbook, else the one set for its system; no row: none."""
    covers = _TABLE.c.runbook.is_(None) | (_TABLE.c.runbook == runbook)
    query = select(_TABLE.c.mode).where(_IN_FORCE, _TABLE.c.system == system, covers)
    return query.order_by(_TABLE.c.runbook.is_(None)).limit(1)
