"""Kill switches: stop everything, a system, a runbook or a target, for a reason and usually for a time.

A stop holds for changes only: diagnosing, paging and escalating go on. Every stop and start is in the journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, and_, func, insert, or_, select, update

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import NOW, Words
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.models import Target

_TABLE = schema.switch
_IN_FORCE = and_(_TABLE.c.lifted_at.is_(None), or_(_TABLE.c.until.is_(None), _TABLE.c.until > NOW))


@dataclass(frozen=True)
class Scope:
    """What a stop covers: nothing given means everything."""

    system: str | None = None
    runbook: str | None = None
    """Name of an alert."""
    target: Target | None = None
    """With everything below it; and what contains it is not changed either, since that would change it, too."""

    def __str__(self) -> str:
        parts = [("system", self.system), ("runbook", self.runbook), ("target", self.target and self.target.key)]
        return ", ".join(f"{name} {value}" for name, value in parts if value) or "everything"


class Switches:
    """Sets, lifts and asks."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    def stop(self, scope: Scope, *, reason: str, author: str, seconds: float | None) -> int:
        """Stop changes in this scope, until lifted or until the time is over; returns the stop's number."""
        until = None if seconds is None else NOW + timedelta(seconds=seconds)
        values = {
            "system": scope.system or (scope.target.system if scope.target else None),
            "runbook": scope.runbook,
            "target": scope.target.key if scope.target else None,
            "reason": reason,
            "author": author,
            "until": until,
        }
        with self._engine.begin() as connection:
            row = connection.execute(insert(_TABLE).values(values).returning(_TABLE.c.id, _TABLE.c.until)).one()
            entry = {"stop": row.id, "scope": str(scope), "reason": reason, "author": author}
            entry["until"] = row.until.isoformat() if row.until else None
            self._journal.append(connection, None, Kind.STOPPED, entry)
        return int(row.id)

    def start(self, number: int, *, author: str) -> bool:
        """Lift a stop; False when it was not in force any more."""
        with self._engine.begin() as connection:
            lifted = connection.execute(
                update(_TABLE).where(_TABLE.c.id == number, _IN_FORCE).values(lifted_at=NOW, lifted_by=author)
            ).rowcount
            if lifted:
                self._journal.append(connection, None, Kind.STARTED, {"stop": number, "author": author})
        return bool(lifted)

    def in_force(self) -> Sequence[Row[Any]]:
        """All stops that hold now, oldest first."""
        with reading(self._engine) as connection:
            return connection.execute(select(_TABLE).where(_IN_FORCE).order_by(_TABLE.c.id)).all()


def stops_of(runbook: Words, system: Words, key: Words) -> Select[Any]:
    """The stops in force that hold this runbook back from the target of this key, oldest first."""
    return select(_TABLE).where(covering(runbook, system, key)).order_by(_TABLE.c.id)


def covering(runbook: Words, system: Words, key: Words) -> ColumnElement[bool]:
    """The stops in force that hold this runbook back from the target of this key."""
    covers_target = or_(
        _TABLE.c.target.is_(None),
        _TABLE.c.target == key,
        func.starts_with(key, func.concat(_TABLE.c.target, "/")),
        func.starts_with(_TABLE.c.target, key + "/"),
    )
    return and_(
        _IN_FORCE,
        or_(_TABLE.c.system.is_(None), _TABLE.c.system == system),
        or_(_TABLE.c.runbook.is_(None), _TABLE.c.runbook == runbook),
        covers_target,
    )
