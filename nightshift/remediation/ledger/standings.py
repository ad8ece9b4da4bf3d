"""How incidents stand, for those who know only that a flow run once worked on them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Engine, Row, func, select

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.sessions import reading

_TABLE = schema.incident


class Standings:
    """Reads incidents by number, several at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, incidents: Collection[int]) -> dict[int, Row[Any]]:
        """Status, attempt, flow run and seconds since the end of each that there is, by number."""
        if not incidents:
            return {}
        ended_seconds = func.extract("epoch", NOW - _TABLE.c.ended_at).label("ended_seconds")
        columns = (_TABLE.c.id, _TABLE.c.status, _TABLE.c.attempt, _TABLE.c.flow_run_id, ended_seconds)
        with reading(self._engine) as connection:
            rows = connection.execute(select(*columns).where(_TABLE.c.id.in_(incidents)))
            return {row.id: row for row in rows}
