"""Statements as the server gets them, written out once: putting one together takes longer than asking it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import BigInteger, ColumnElement, Connection, CursorResult, Double, Interval, Text, Uuid, bindparam
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.sql.base import Executable


@dataclass(frozen=True)
class Written:
    """One statement, with places for the values that differ."""

    sql: str
    constants: Mapping[str, Any] = field(default_factory=dict)
    """The values that are always the same."""

    @classmethod
    def out(cls, statement: Executable) -> Self:
        """This statement; values are given to the driver as they are, and what is JSON through :func:`as_json`."""
        compiled = statement.compile(dialect=psycopg.dialect())  # type: ignore[attr-defined, no-untyped-call]
        # A place that is named after an expression, such as one of JSON, has another name in the statement itself.
        named = {compiled.escaped_bind_names.get(name, name): place for place, name in compiled.bind_names.items()}
        known = {name: place.value for name, place in named.items() if not place.required}
        return cls(str(compiled), {name: as_json(v) if isinstance(v, dict) else v for name, v in known.items()})

    def ask(self, connection: Connection, **values: Any) -> CursorResult[Any]:
        """Execute it with these values."""
        return connection.exec_driver_sql(self.sql, {**self.constants, **values})


as_json = Jsonb
"""Marks a value as JSON for the driver."""


def number(name: str) -> ColumnElement[int]:
    """The place for a whole number."""
    return bindparam(name, type_=BigInteger)


def seconds(name: str) -> ColumnElement[float]:
    """The place for a number of seconds as such."""
    return bindparam(name, type_=Double)


def length(name: str) -> ColumnElement[timedelta]:
    """The place for a length of time."""
    return bindparam(name, type_=Interval)


def words(name: str) -> ColumnElement[str]:
    """The place for a text."""
    return bindparam(name, type_=Text)


def token(name: str) -> ColumnElement[UUID]:
    """The place for a UUID."""
    return bindparam(name, type_=Uuid)
