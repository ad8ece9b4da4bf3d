"""What was changed for a time, and when that is over: counted from the journal, so that nothing can forget it.

An action that says ``back_at`` in its arguments is taken back at that moment by an incident of its own, the same as by
``nightshift undo``. Its intent is the schedule: it was written before the change was made, and survives every process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Text, exists, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.incidents import Incidents, Trouble
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import LIVE, ONCE
from nightshift.remediation.ledger.undo_request import UNDO_FLOW, UndoRequest
from nightshift.remediation.models import Action, Severity, Target

_JOURNAL, _INCIDENT = schema.journal, schema.incident
_BACK_AT: ColumnElement[str] = literal_column("(journal.entry #>> '{action,arguments,back_at}')", Text)
_IS_CHANGE_FOR_A_TIME = text("journal.kind = 'intent' and (journal.entry #>> '{action,arguments,back_at}') is not null")
"""Written out as its index has it."""
_IS_NO_UNDO = text("(journal.entry #>> '{action,undoes}') is null")
_MOST = 50
AUTHOR = "Nightshift"
REASON = "The time for which it was changed is over."


@dataclass(frozen=True)
class Announced:
    """A change for a time, as it was written down before it was made."""

    incident_id: int
    action: Action


class WaysBack:
    """Finds what is to go back, and opens the incidents that take it back."""

    def __init__(self, journal: Journal, incidents: Incidents) -> None:
        self._journal = journal
        self._incidents = incidents

    def open_due(self, connection: Connection) -> list[int]:
        """Open an incident for each change whose time is over and that nobody has begun to take back; their numbers.

        Where the trouble itself has a live incident, the way back waits for its end.
        """
        opened: dict[int, list[UUID]] = {}
        for row in connection.execute(self._due()):
            opened.setdefault(row.incident_id, []).append(row.action_id)
        found = (self._open(connection, incident, actions) for incident, actions in opened.items())
        return [number for number in found if number is not None]

    def announced(self, connection: Connection, action_id: UUID) -> Announced | None:
        """The change of this id, if it was made for a time that is over now."""
        query = select(_JOURNAL.c.incident_id, _JOURNAL.c.entry["action"].label("action")).where(
            _IS_CHANGE_FOR_A_TIME, _JOURNAL.c.action_id == action_id, _over()
        )
        found = connection.execute(query.order_by(_JOURNAL.c.sequence.desc()).limit(1)).first()
        return None if found is None else Announced(found.incident_id, Action.model_validate(found.action))

    def _due(self) -> Any:
        done, undoing = _JOURNAL.alias(), _JOURNAL.alias()
        was_done = exists().where(done.c.action_id == _JOURNAL.c.action_id, done.c.kind == str(Kind.DONE))
        is_undone = exists().where(
            undoing.c.incident_id == _JOURNAL.c.incident_id,
            undoing.c.kind == str(Kind.UNDOING),
            undoing.c.entry["actions"].has_key(_JOURNAL.c.action_id.cast(Text)),
        )
        return (
            select(_JOURNAL.c.incident_id, _JOURNAL.c.action_id)
            .where(_IS_CHANGE_FOR_A_TIME, _IS_NO_UNDO, _over(), was_done, ~is_undone)
            .order_by(_JOURNAL.c.sequence)
            .limit(_MOST)
        )

    def _open(self, connection: Connection, incident_id: int, actions: list[UUID]) -> int | None:
        row: Row[Any] = self._incidents.of(connection, incident_id)
        busy = exists().where(
            _INCIDENT.c.system == row.system,
            _INCIDENT.c.runbook == row.runbook,
            _INCIDENT.c.target == row.target,
            LIVE,
        )
        if connection.scalar(select(busy)):
            return None
        title = f"Way back of incident {row.id}: {row.title}"
        target, severity = Target.from_key(row.target), Severity(row.severity)
        ids = tuple(str(action) for action in dict.fromkeys(actions))
        options = UndoRequest(row.id, ids).to_options(AUTHOR, AUTHOR)
        trouble = Trouble(row.system, row.runbook, UNDO_FLOW, target, severity, title)
        opened, is_new = self._incidents.open(connection, trouble, options=options)
        if not is_new:
            return None
        entry = {"incident": opened, "actions": list(ids), "author": AUTHOR, "reason": REASON}
        self._journal.append(connection, row.id, Kind.UNDOING, entry)
        return opened


def _over() -> Any:
    return _BACK_AT.cast(DOUBLE_PRECISION) <= func.extract("epoch", ONCE)
