"""How often somebody failed to show who they are, so that nobody can guess: bounded per person and over all of them.

A try is written down before it is looked at, and taken back when it was good. So however many are made at once, on
whatever gateway, no more of them are looked at than the limits say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, select

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.schema import NOW

_TABLE = schema.identity_try
_LOCK = 0x6E73_6974
_KEPT_SECONDS = 86_400
"""The longest window that is counted over."""

Window = tuple[int, int]
"""At most so many within so many seconds."""


@dataclass(frozen=True)
class Bounds:
    """How many failures are allowed."""

    each: tuple[Window, ...]
    """For one person or token."""
    overall: tuple[Window, ...] = ()
    """For all together, known or not."""


@dataclass(frozen=True)
class TooMany:
    """No more tries for so long."""

    seconds: float
    overall: bool
    """Whether it is because of all together."""


class IdentityTries:
    """Counts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, way: str, subject: str, bounds: Bounds) -> int | TooMany:
        """Write a try down; its number, or why none may be made now."""
        with self._engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            connection.execute(delete(_TABLE).where(_age() > _KEPT_SECONDS))
            each = max((self._wait(connection, way, subject, window) for window in bounds.each), default=0.0)
            overall = max((self._wait(connection, way, None, window) for window in bounds.overall), default=0.0)
            if wait := max(each, overall):
                return TooMany(wait, overall=overall > each)
            values = {"way": way, "subject": subject}
            return int(connection.execute(insert(_TABLE).values(values).returning(_TABLE.c.id)).scalar_one())

    def was_good(self, number: int) -> None:
        """Take a try back: it was no failure."""
        with self._engine.begin() as connection:
            connection.execute(delete(_TABLE).where(_TABLE.c.id == number))

    @staticmethod
    def forget(connection: Connection, way: str, subject: str) -> None:
        """Start counting anew for one subject: what was guessed at exists no more."""
        connection.execute(delete(_TABLE).where(_TABLE.c.way == way, _TABLE.c.subject == subject))

    @staticmethod
    def _wait(connection: Connection, way: str, subject: str | None, window: Window) -> float:
        """Seconds until another try fits into the window; 0: now."""
        most, seconds = window
        counted = select(_age()).where(_TABLE.c.way == way, _age() < seconds)
        if subject is not None:
            counted = counted.where(_TABLE.c.subject == subject)
        age = connection.execute(counted.order_by(_TABLE.c.at.desc()).offset(most - 1).limit(1)).scalar()
        return 0.0 if age is None else max(seconds - float(age), 0.001)


def _age() -> ColumnElement[Any]:
    return func.extract("epoch", NOW - _TABLE.c.at)
