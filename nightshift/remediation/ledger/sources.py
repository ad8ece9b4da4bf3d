"""What is known of the sources of alerts beside the alerts: what could not be taken in, and how asking them went.

So that `nightshift why` can account for every alert that was ever received, and for one that never was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.schema import NOW

_REFUSED, _CHECK = schema.refused_alert, schema.source_check
NAME_LENGTH = 200
"""Letters of a refused alert's name that are kept."""


@dataclass(frozen=True)
class RefusedEntry:
    """Something that could not be taken in. Of its own text only what names it is kept, printable and bounded."""

    source: str
    what: str
    """``alert``, ``body``, or ``withheld``: left out by Alertmanager itself."""
    digest: str
    """The same for the same thing again."""
    reason: str
    """A word."""
    error: str
    name: str = ""
    fingerprint: str | None = None


class Sources:
    """Writes down and looks up."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def refused(self, entries: Sequence[RefusedEntry]) -> None:
        """Keep what was refused; the same again is counted."""
        if not entries:
            return
        # Sorted, so that two gateways lock the rows in the same order; a row may occur once per statement.
        unique = {(entry.source, entry.digest): entry for entry in entries}
        statement = insert(_REFUSED)
        statement = statement.on_conflict_do_update(
            index_elements=[_REFUSED.c.source, _REFUSED.c.digest],
            set_={"last_seen": NOW, "times": _REFUSED.c.times + 1, "error": statement.excluded.error},
        )
        with self._engine.begin() as connection:
            connection.execute(statement, [asdict(entry) for _, entry in sorted(unique.items())])

    def asked(self, source: str, complaint: str) -> None:
        """Its Alertmanagers were asked; empty: all of them answered."""
        values = {"complaint": complaint or None, "asked_at": NOW}
        if not complaint:
            values["agreed_at"] = NOW
        statement = insert(_CHECK).values(source=source, **values)
        statement = statement.on_conflict_do_update(index_elements=[_CHECK.c.source], set_=values)
        with self._engine.begin() as connection:
            connection.execute(statement)
