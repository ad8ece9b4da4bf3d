"""What was asked and answered, read: plans that were shown, their approvals, and how far each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from nightshift.remediation.decisions import Progress
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.deliveries import Deliveries
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.ledger.written import Written
from nightshift.remediation.models import Plan

_TABLE = schema.approval


@dataclass(frozen=True)
class Before:
    """What people were asked about last in the same incident."""

    plan: Plan
    status: str
    """What became of that approval."""


class AskedPlans:
    """Plans that were made, and approvals as they stand."""

    def __init__(self, engine: Engine, journal: Journal, deliveries: Deliveries) -> None:
        self._engine = engine
        self._journal = journal
        self._deliveries = deliveries

    def keep_plan(self, incident_id: int, plan: Plan) -> None:
        """Store a plan as it was made; the same plan again changes nothing."""
        with self._engine.begin() as connection:
            self._keep_plan(connection, incident_id, plan)

    @staticmethod
    def _keep_plan(connection: Connection, incident_id: int, plan: Plan) -> None:
        connection.execute(
            insert(schema.plan)
            .values(incident_id=incident_id, digest=plan.digest, body=plan.model_dump(mode="json"))
            .on_conflict_do_nothing()
        )

    def plan(self, incident_id: int, digest: str) -> Plan:
        """A stored plan.

        Raises:
            KeyError: no such plan was made for this incident.
        """
        table = schema.plan
        with reading(self._engine) as connection:
            body = connection.execute(
                select(table.c.body).where(table.c.incident_id == incident_id, table.c.digest == digest)
            ).scalar()
        if body is None:
            raise KeyError(digest)
        return Plan.model_validate(body)

    @staticmethod
    def _before(connection: Connection, incident_id: int) -> Before | None:
        plans = schema.plan.c
        same = (plans.incident_id == _TABLE.c.incident_id) & (plans.digest == _TABLE.c.digest)
        query = select(plans.body, _TABLE.c.status).join(_TABLE, same).where(_TABLE.c.incident_id == incident_id)
        row = connection.execute(query.order_by(_TABLE.c.id.desc()).limit(1)).first()
        return None if row is None else Before(Plan.model_validate(row.body), row.status)

    def last_refusal(self, approval: Row[Any]) -> str | None:
        """Why the last answer in the waiting form did not count; None when it did, or there was none."""
        about = [row for row in self._journal.of(approval.incident_id) if row.entry.get("approval") == approval.id]
        answers = [row for row in about if row.kind in (Kind.DECIDED, Kind.ANSWER_REFUSED)]
        last = answers[-1] if answers else None
        return str(last.entry["reason"]) if last is not None and last.kind is Kind.ANSWER_REFUSED else None

    def progress(self, approval: Row[Any]) -> Progress:
        """How many people have approved, and how many it takes."""
        with reading(self._engine) as connection:
            return self._progress(connection, approval)

    def _progress(self, connection: Connection, approval: Row[Any]) -> Progress:
        return Progress(tuple(self._approved_by(connection, approval)), approval.needed)

    @staticmethod
    def _approved_by(connection: Connection, approval: Row[Any]) -> Sequence[str]:
        table = schema.decision
        query = select(table.c.person).where(*counting_answers(approval.id), table.c.approve).order_by(table.c.id)
        return connection.execute(query).scalars().all()

    def open_one(self, incident_id: int) -> Row[Any] | None:
        """The approval that waits for a person."""
        with reading(self._engine) as connection:
            return connection.execute(
                select(_TABLE).where(_TABLE.c.incident_id == incident_id, _TABLE.c.status == "open")
            ).first()

    def all_open(self) -> Sequence[Row[Any]]:
        """Approvals that wait for a person, the one that waits least longer first, with who ``approved`` already."""
        said = schema.decision.c
        yes = select(said.person).where(said.approval_id == _TABLE.c.id, said.withdrawn_at.is_(None), said.approve)
        approved = func.array(yes.order_by(said.id).scalar_subquery()).label("approved")
        query = select(_TABLE, approved).where(_TABLE.c.status == "open").order_by(_TABLE.c.expires_at)
        with reading(self._engine) as connection:
            return connection.execute(query).all()

    def of(self, incident_id: int) -> Sequence[Row[Any]]:
        """All approvals of an incident, oldest first."""
        with reading(self._engine) as connection:
            query = select(_TABLE).where(_TABLE.c.incident_id == incident_id).order_by(_TABLE.c.id)
            return connection.execute(query).all()

    def approved_plans(
        self, incident_id: int, asked_since: datetime | None = None, *, by_silence: bool = True, people: int = 1
    ) -> list[Plan]:
        """Plans that were approved for this incident.

        Args:
            incident_id: the incident.
            asked_since: only those that people were asked about after this.
            by_silence: also those that nobody denied, and nobody approved either.
            people: only those that so many different people approved, where more than one is wanted.
        """
        approved = (row for row in self.of(incident_id) if row.status == "approved")
        counting = (row for row in approved if asked_since is None or row.requested_at > asked_since)
        least = people if people > 1 else int(not by_silence)
        said = (row for row in counting if not least or len(self.progress(row).approved_by) >= least)
        return [self.plan(incident_id, row.digest) for row in said]

    def chosen(self, incident_id: int) -> Plan | None:
        """The alternative that a person chose last, if it counts still: it is open, or approved."""
        rows = [row for row in self.of(incident_id) if row.instead_of is not None]
        return self.plan(incident_id, rows[-1].digest) if rows and rows[-1].status in ("open", "approved") else None

    def chosen_instead(self, approval: Row[Any]) -> Row[Any] | None:
        """The approval of the alternative that somebody chose when asked about this one."""
        with reading(self._engine) as connection:
            return connection.execute(select(_TABLE).where(_TABLE.c.instead_of == approval.id)).first()

    def replaced(self) -> Sequence[Row[Any]]:
        """Approvals instead of which somebody chose an alternative, whose waiting run has not been told."""
        with reading(self._engine) as connection:
            return _REPLACED.ask(connection).all()

    def overtaken(self) -> Sequence[Row[Any]]:
        """Approvals that nobody needs to give, since the incident waits for its cause, and whose run was not told."""
        with reading(self._engine) as connection:
            return _OVERTAKEN.ask(connection).all()

    def undelivered(self) -> Sequence[Row[Any]]:
        """Decided approvals whose waiting run has not been told.

        A later run has read the decision in the ledger by itself, and one that asks again by now waits for another
        answer than this.
        """
        with reading(self._engine) as connection:
            return _UNDELIVERED.ask(connection).all()

    def delivered(self, approval_id: int) -> None:
        """The waiting run was resumed."""
        with self._engine.begin() as connection:
            connection.execute(update(_TABLE).where(_TABLE.c.id == approval_id).values(delivered_at=func.now()))


def counting_answers(approval_id: int) -> tuple[ColumnElement[bool], ...]:
    """Answers to this approval that still count."""
    return (schema.decision.c.approval_id == approval_id, schema.decision.c.withdrawn_at.is_(None))


def _with_incident(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Approvals whose waiting run has not been told, of whose incident this is so."""
    of_incident = schema.incident.c.id == _TABLE.c.incident_id
    return select(_TABLE).join(schema.incident, of_incident).where(_TABLE.c.delivered_at.is_(None), *conditions)


def _replaced() -> Select[Any]:
    later = _TABLE.alias()
    chosen = select(later.c.instead_of).where(later.c.instead_of.is_not(None))
    return _with_incident(
        _TABLE.c.id == func.any(func.array(chosen.scalar_subquery())), _SAME_RUN, schema.incident.c.status == "waiting"
    ).order_by(_TABLE.c.id)


def _overtaken() -> Select[Any]:
    waits = _TABLE.c.status == "superseded", _TABLE.c.flow_run_id.is_not(None)
    return _with_incident(*waits, schema.incident.c.cause_id.is_not(None)).order_by(_TABLE.c.id)


def _undelivered() -> Select[Any]:
    decided = or_(*(_TABLE.c.status == status for status in ("approved", "denied", "expired")))
    later = _TABLE.alias()
    asked_again = exists().where(later.c.incident_id == _TABLE.c.incident_id, later.c.id > _TABLE.c.id)
    waits = schema.incident.c.status == "waiting"
    return _with_incident(decided, _SAME_RUN, ~asked_again, waits).order_by(_TABLE.c.decided_at)


_SAME_RUN = schema.incident.c.flow_run_id == _TABLE.c.flow_run_id
_REPLACED, _OVERTAKEN, _UNDELIVERED = (Written.out(query()) for query in (_replaced, _overtaken, _undelivered))
