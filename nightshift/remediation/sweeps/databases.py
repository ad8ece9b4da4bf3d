"""What wears a PostgreSQL server out slowly, as measures: slots that keep WAL, transaction ids, dead rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nightshift.remediation.sweeps.measures import Forecast, Measure
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.remediation.text import printable

_WEEK = 7 * 86400.0


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A replication slot."""

    name: str
    active: bool
    kept: int
    """Bytes of WAL that it keeps from being removed."""


@dataclass(frozen=True, kw_only=True)
class Wear:
    """How far a server is from trouble that comes slowly."""

    slots: tuple[Slot, ...] = ()
    """Those that keep most."""
    oldest: str = ""
    """The database with the oldest transaction id."""
    ids_used: float = 0.0
    """Per cent of the transactions between the oldest one and the point at which the server stops."""
    deadest: str = ""
    """The table of our database with the largest share of dead rows; empty: none is large enough to matter."""
    dead: float = 0.0
    """Per cent of its rows."""


def worn(database: str, wear: Wear, rule: SweepRule, runbooks: tuple[str, ...] = ()) -> Iterator[Measure]:
    """The measures of a server.

    Args:
        database: name of the connection.
        wear: what was seen.
        rule: limits.
        runbooks: those that look after slots and dead rows; empty: a person does.
    """
    target = (("database", database),)
    kept: dict[str, Any] = {"flows": ("database-query-performance",) if runbooks else (), "runbooks": runbooks}
    for slot in wear.slots:
        idle = "" if slot.active else ", which nobody reads"
        yield Measure(
            key=f"slot/{database}/{slot.name}",
            what=f"WAL kept in {database} by the slot {printable(slot.name, 63)}{idle}",
            value=slot.kept,
            unit="B",
            limit=rule.wal_kept,
            target=target,
            **kept,
        )
    yield Measure(
        key=f"transaction-ids/{database}",
        what=f"transaction ids of {database}, the oldest in {printable(wear.oldest, 63)}",
        value=round(wear.ids_used, 2),
        unit="%",
        limit=rule.transaction_ids_used,
        forecast=Forecast(within=_WEEK, then="used up"),
        target=target,
    )
    if wear.deadest:
        yield Measure(
            key=f"dead-rows/{database}",
            what=f"dead rows in {database}, most in {printable(wear.deadest, 130)}",
            value=round(wear.dead, 2),
            unit="%",
            limit=rule.dead_rows,
            target=target,
            **kept,
        )
