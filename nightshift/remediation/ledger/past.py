"""What earlier incidents changed and whether it helped, from the journal; and the people who said "try again"."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, exists, func, insert, literal, select

from nightshift.remediation.breaker import BreakerRule, Past, Try
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import IS_INTENT, NOW, ONCE, intent_kind, intent_target
from nightshift.remediation.ledger.undo_request import UNDO_FLOW
from nightshift.remediation.models import Action, Outcome, Target

_INCIDENT, _JOURNAL, _REARM = schema.incident, schema.journal, schema.rearm
CAME_BACK = {"came_back": True}
"""What the journal holds about an incident whose alert fired again soon after the repair."""
_ALERT = _JOURNAL.alias("alert_row")
_CAME_BACK: ColumnElement[bool] = exists().where(
    _ALERT.c.incident_id == _INCIDENT.c.id, _ALERT.c.kind == str(Kind.ALERT), _ALERT.c.entry.contains(CAME_BACK)
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
        query = select(_INCIDENT.c.id, _INCIDENT.c.ended_at, _INCIDENT.c.outcome, _CAME_BACK).where(
            _INCIDENT.c.system == target.system,
            _INCIDENT.c.runbook == runbook,
            _INCIDENT.c.target == target.key,
            _INCIDENT.c.ended_at > ONCE - timedelta(seconds=rule.within),
            _CHANGED,
            _NO_UNDOING,
        )
        since = self._rearmed_at(connection, runbook, target)
        if since is not None:
            query = query.where(_INCIDENT.c.ended_at > since)
        return [_past(*row) for row in connection.execute(query)]

    def last_try(
        self, connection: Connection, action: Action, incident_id: int, runbook: str, target: Target, seconds: float
    ) -> Try | None:
        """The last earlier incident, within this time and since re-arming, that began exactly this action.

        Exactly: the same kind, target and arguments. An incident that has not ended has shown nothing yet.
        """
        query = (
            select(_JOURNAL.c.action_id, _INCIDENT.c.id, _INCIDENT.c.ended_at, _INCIDENT.c.outcome, _CAME_BACK)
            .join(_INCIDENT, _INCIDENT.c.id == _JOURNAL.c.incident_id)
            .where(
                IS_INTENT,
                intent_target == action.target.key,
                intent_kind == action.kind,
                _JOURNAL.c.at > ONCE - timedelta(seconds=seconds),
                _INCIDENT.c.id != incident_id,
                _INCIDENT.c.ended_at.is_not(None),
            )
            .order_by(_INCIDENT.c.ended_at.desc(), _INCIDENT.c.id.desc())
        )
        since = self._rearmed_at(connection, runbook, target)
        if since is not None:
            query = query.where(_INCIDENT.c.ended_at > since)
        for action_id, *past in connection.execute(query):
            if action.id_in(past[0]) == action_id:
                return Try(_past(*past), self._done(connection, past[0], action_id))
        return None

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
        with self._engine.connect() as connection:
            now: datetime = connection.execute(select(NOW)).scalar_one()
            query = select(*columns).where(_INCIDENT.c.ended_at > now - timedelta(seconds=seconds), _CHANGED)
            return list(connection.execute(query.distinct().order_by(*columns)))

    def _rearmed_at(self, connection: Connection, runbook: str, target: Target) -> datetime | None:
        query = select(func.max(_REARM.c.at)).where(
            _REARM.c.system == target.system, _REARM.c.runbook == runbook, _REARM.c.target == target.key
        )
        at: datetime | None = connection.execute(query).scalar()
        return at

    def _done(self, connection: Connection, incident_id: int, action_id: Any) -> bool:
        done = exists(literal(1)).where(
            _JOURNAL.c.incident_id == incident_id, _JOURNAL.c.action_id == action_id, _JOURNAL.c.kind == str(Kind.DONE)
        )
        return bool(connection.execute(select(done)).scalar())


def _past(incident_id: int, ended_at: datetime, outcome: str, came_back: bool) -> Past:
    return Past(incident_id, ended_at, Outcome(outcome), came_back)
