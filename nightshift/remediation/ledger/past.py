"""What earlier incidents changed and whether it helped, from the journal; and the people who said "try again"."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    ScalarSelect,
    Select,
    cast,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
)

from nightshift.remediation.breaker import BreakerRule, Past
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import IS_INTENT, NOW, ONCE, Length, Words, intent_kind, intent_target
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.ledger.undo_request import UNDO_FLOW
from nightshift.remediation.models import Outcome, Target

_INCIDENT, _JOURNAL, _REARM = schema.incident, schema.journal, schema.rearm
CAME_BACK = {"came_back": True}
"""What the journal holds about an incident whose alert fired again soon after the repair."""
_CAME_BACK_JSON: ColumnElement[Any] = literal_column(f"'{json.dumps(CAME_BACK)}'::jsonb")
_ALERT = _JOURNAL.alias("alert_row")
_CAME_BACK: ColumnElement[bool] = exists().where(
    _ALERT.c.incident_id == _INCIDENT.c.id,
    _ALERT.c.kind == str(Kind.ALERT),
    _ALERT.c.entry.contains(_CAME_BACK_JSON),
)
_NO_UNDOING = _INCIDENT.c.flow.is_distinct_from(UNDO_FLOW)
"""Taking a repair back is no try at one."""
_CHANGED = exists().where(_JOURNAL.c.incident_id == _INCIDENT.c.id, IS_INTENT)


class PastIncidents:
    """Looks up; and re-arms."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    def of(self, connection: Connection, runbook: str, target: Target, rule: BreakerRule) -> list[Past]:
        """The incidents of this trouble within the rule's time that changed something, since it was last re-armed."""
        rows = connection.execute(changed_something(runbook, target.system, target.key, timedelta(seconds=rule.within)))
        return [Past(row.id, row.ended_at, Outcome(row.outcome), row.came_back) for row in rows]

    def rearm(self, runbook: str, target: Target, *, reason: str, author: str) -> None:
        """Forget, for the breaker and the memory, what happened to this target under this runbook until now."""
        values = {"system": target.system, "runbook": runbook, "target": target.key}
        values |= {"reason": reason, "author": author}
        with self._engine.begin() as connection:
            connection.execute(insert(_REARM).values(values))
            self._journal.append(connection, None, Kind.REARMED, values)

    def troubled(self, seconds: float) -> list[Row[Any]]:
        """The (system, runbook, target) of which an incident changed something and ended within this time."""
        columns = (_INCIDENT.c.system, _INCIDENT.c.runbook, _INCIDENT.c.target)
        with reading(self._engine) as connection:
            now: datetime = connection.execute(select(NOW)).scalar_one()
            query = select(*columns).where(_INCIDENT.c.ended_at > now - timedelta(seconds=seconds), _CHANGED)
            return list(connection.execute(query.distinct().order_by(*columns)))


def changed_something(runbook: Words, system: Words, key: Words, within: Length) -> Select[Any]:
    """The incidents of this trouble within this time that changed something, since it was last re-armed."""
    return select(_INCIDENT.c.id, _INCIDENT.c.ended_at, _INCIDENT.c.outcome, _CAME_BACK.label("came_back")).where(
        _INCIDENT.c.system == system,
        _INCIDENT.c.runbook == runbook,
        _INCIDENT.c.target == key,
        _INCIDENT.c.ended_at > ONCE - within,
        _INCIDENT.c.ended_at > rearmed_at(runbook, system, key),
        _CHANGED,
        _NO_UNDOING,
    )


def tries_of(
    kind: Words, key: Words, incident_id: int | ColumnElement[int], since: ScalarSelect[Any], within: Length
) -> Select[Any]:
    """Earlier incidents, within this time and since this moment, that did this kind of action here, the last first.

    An incident that has not ended has shown nothing yet.
    """
    done = _JOURNAL.alias("done_row")
    was_done = exists().where(
        done.c.incident_id == _INCIDENT.c.id,
        done.c.action_id == _JOURNAL.c.action_id,
        done.c.kind == str(Kind.DONE),
    )
    columns = (_INCIDENT.c.id, _INCIDENT.c.ended_at, _INCIDENT.c.outcome, _CAME_BACK.label("came_back"))
    return (
        select(_JOURNAL.c.action_id, *columns, was_done.label("done"))
        .join(_INCIDENT, _INCIDENT.c.id == _JOURNAL.c.incident_id)
        .where(
            IS_INTENT,
            intent_target == key,
            intent_kind == kind,
            _JOURNAL.c.at > ONCE - within,
            _INCIDENT.c.id != incident_id,
            _INCIDENT.c.ended_at > since,
        )
        .order_by(_INCIDENT.c.ended_at.desc(), _INCIDENT.c.id.desc())
    )


def rearmed_at(runbook: Words, system: Words, key: Words) -> ScalarSelect[Any]:
    """When a person last said "try again"; before all times where nobody did."""
    mine = (_REARM.c.system == system, _REARM.c.runbook == runbook, _REARM.c.target == key)
    never = cast(literal("-infinity"), _REARM.c.at.type)
    return select(func.coalesce(func.max(_REARM.c.at), never)).where(*mine).scalar_subquery()
