"""How long the parts of an incident took, from its journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.ledger.journal import Kind, Row

_FROM_THE_OPENING = (
    (Kind.CLAIMED, "until a flow run took it"),
    (Kind.DIAGNOSED, "until it was diagnosed"),
    (Kind.PAGED, "until people were paged"),
    (Kind.ACKNOWLEDGED, "until a person took it over"),
    (Kind.INTENT, "until the first change began"),
)
_ANSWERS = (Kind.DECIDED, Kind.ENDED)


@dataclass(frozen=True)
class Took:
    """One part."""

    what: str
    seconds: float


def durations(opened: datetime, ended: datetime | None, rows: Sequence[Row]) -> tuple[Took, ...]:
    """From the opening to each thing that happened first, then how long people were waited for, and all of it.

    Args:
        opened: the incident.
        ended: None: it has not.
        rows: its journal, the oldest first.
    """
    return tuple(_durations(opened, ended, rows))


def _durations(opened: datetime, ended: datetime | None, rows: Sequence[Row]) -> Iterator[Took]:
    for kind, what in _FROM_THE_OPENING:
        first = next((row.at for row in rows if row.kind is kind), None)
        if first is not None:
            yield Took(what, max(0.0, (first - opened).total_seconds()))
    if waited := sum(_waits(rows)):
        yield Took("waiting for approvals", waited)
    if ended is not None:
        yield Took("from the opening to the end", (ended - opened).total_seconds())


def _waits(rows: Sequence[Row]) -> Iterator[float]:
    asked: datetime | None = None
    for row in rows:
        if row.kind is Kind.ASKED:
            asked = asked or row.at
        elif row.kind in _ANSWERS and asked is not None:
            yield (row.at - asked).total_seconds()
            asked = None
