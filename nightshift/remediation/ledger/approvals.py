"""Approvals: a plan that was shown, and what people decided about exactly that plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import NOW, OPEN
from nightshift.remediation.models import Plan

ANSWERED_IN_LEDGER = "ledger"
"""Name in a Prefect form that stands for "read the ledger": what such a form says is no decision of anybody."""

_TABLE = schema.approval


@dataclass(frozen=True)
class Decision:
    """One person's answer."""

    person: str
    via: str
    """How it came in and what vouches for the name, e.g. ``command line, login root``."""
    approve: bool
    comment: str = ""


class Approvals:
    """Asks, decides by compare-and-swap, expires."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    def keep_plan(self, incident_id: int, plan: Plan) -> None:
        """Store a plan as it was made; the same plan again changes nothing."""
        with self._engine.begin() as connection:
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
        with self._engine.connect() as connection:
            body = connection.execute(
                select(table.c.body).where(table.c.incident_id == incident_id, table.c.digest == digest)
            ).scalar()
        if body is None:
            raise KeyError(digest)
        return Plan.model_validate(body)

    def ask(self, incident_id: int, plan: Plan, flow_run_id: UUID | None, seconds: float) -> Row[Any]:
        """The open approval for this plan. One that was open for another plan is superseded: the world has changed.

        Args:
            incident_id: the incident.
            plan: what is asked about.
            flow_run_id: the run that waits for the answer; None: who asks does not wait.
            seconds: until silence becomes a no.
        """
        self.keep_plan(incident_id, plan)
        with self._engine.begin() as connection:
            connection.execute(
                update(_TABLE)
                .where(_TABLE.c.incident_id == incident_id, _TABLE.c.status == "open", _TABLE.c.digest != plan.digest)
                .values(status="superseded", decided_at=NOW)
            )
            is_new = connection.execute(
                insert(_TABLE)
                .values(
                    incident_id=incident_id,
                    digest=plan.digest,
                    flow_run_id=flow_run_id,
                    expires_at=NOW + timedelta(seconds=seconds),
                )
                .on_conflict_do_nothing(index_elements=[_TABLE.c.incident_id], index_where=OPEN)
                .returning(_TABLE.c.id)
            ).scalar()
            if is_new is None and flow_run_id is not None:
                connection.execute(
                    update(_TABLE)
                    .where(_TABLE.c.incident_id == incident_id, _TABLE.c.status == "open")
                    .values(flow_run_id=flow_run_id)
                )
            row = connection.execute(
                select(_TABLE).where(_TABLE.c.incident_id == incident_id, _TABLE.c.status == "open")
            ).one()
            if is_new is not None:
                entry = {"digest": plan.digest, "approval": row.id, "expires_at": row.expires_at.isoformat()}
                self._journal.append(connection, incident_id, Kind.ASKED, entry)
        return row

    def decide(self, incident_id: int, digest: str, decision: Decision) -> str | None:
        """Take the first decision on the open approval of this plan. None when it was taken, else why it was not."""
        with self._engine.begin() as connection:
            status = "approved" if decision.approve else "denied"
            decided = connection.execute(
                update(_TABLE)
                .where(
                    _TABLE.c.incident_id == incident_id,
                    _TABLE.c.digest == digest,
                    _TABLE.c.status == "open",
                    _TABLE.c.expires_at > NOW,
                )
                .values(status=status, decided_at=NOW)
                .returning(_TABLE.c.id)
            ).scalar()
            if decided is None:
                return self._why_not(connection, incident_id, digest)
            connection.execute(
                insert(schema.decision).values(
                    approval_id=decided,
                    person=decision.person,
                    via=decision.via,
                    approve=decision.approve,
                    comment=decision.comment,
                )
            )
            entry = {
                "approval": decided,
                "digest": digest,
                "person": decision.person,
                "via": decision.via,
                "approve": decision.approve,
                "comment": decision.comment,
            }
            self._journal.append(connection, incident_id, Kind.DECIDED, entry)
        return None

    def _why_not(self, connection: Connection, incident_id: int, digest: str) -> str:
        row = connection.execute(
            select(_TABLE, (_TABLE.c.expires_at <= NOW).label("late"))
            .where(_TABLE.c.incident_id == incident_id, _TABLE.c.digest == digest)
            .order_by(_TABLE.c.id.desc())
            .limit(1)
        ).first()
        if row is None:
            return f"Incident {incident_id} never asked for an approval of this plan."
        if row.status == "open":
            return "The time to approve this plan has run out."
        return {
            "approved": "This plan was approved already.",
            "denied": "This plan was denied already.",
            "expired": "The time to approve this plan ran out.",
            "superseded": "This plan was replaced: the target has changed since, or the incident has ended.",
        }[str(row.status)]

    def open_one(self, incident_id: int) -> Row[Any] | None:
        """The approval that waits for a person."""
        with self._engine.connect() as connection:
            return connection.execute(
                select(_TABLE).where(_TABLE.c.incident_id == incident_id, _TABLE.c.status == "open")
            ).first()

    def of(self, incident_id: int) -> Sequence[Row[Any]]:
        """All approvals of an incident, oldest first."""
        with self._engine.connect() as connection:
            query = select(_TABLE).where(_TABLE.c.incident_id == incident_id).order_by(_TABLE.c.id)
            return connection.execute(query).all()

    def approved_plans(self, incident_id: int, asked_since: datetime | None = None) -> list[Plan]:
        """Plans people have approved for this incident; with a time only those they were asked about after it."""
        approved = (row for row in self.of(incident_id) if row.status == "approved")
        counting = (row for row in approved if asked_since is None or row.requested_at > asked_since)
        return [self.plan(incident_id, row.digest) for row in counting]

    def expire(self) -> list[int]:
        """Turn approvals whose time has run out into "no"; returns their incidents."""
        with self._engine.begin() as connection:
            rows = connection.execute(
                update(_TABLE)
                .where(_TABLE.c.status == "open", _TABLE.c.expires_at <= NOW)
                .values(status="expired", decided_at=NOW)
                .returning(_TABLE.c.incident_id, _TABLE.c.id, _TABLE.c.digest)
            ).all()
            for row in rows:
                entry = {"approval": row.id, "digest": row.digest, "approve": False, "expired": True}
                self._journal.append(connection, row.incident_id, Kind.DECIDED, entry)
        return [row.incident_id for row in rows]

    def overtaken(self) -> Sequence[Row[Any]]:
        """Approvals that nobody needs to give, since the incident waits for its cause, and whose run was not told."""
        query = (
            select(_TABLE)
            .join(schema.incident, schema.incident.c.id == _TABLE.c.incident_id)
            .where(
                _TABLE.c.status == "superseded",
                _TABLE.c.delivered_at.is_(None),
                _TABLE.c.flow_run_id.is_not(None),
                schema.incident.c.cause_id.is_not(None),
            )
            .order_by(_TABLE.c.id)
        )
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def undelivered(self) -> Sequence[Row[Any]]:
        """Decided approvals whose waiting run has not been told.

        A later run has read the decision in the ledger by itself, and one that asks again by now waits for another
        answer than this.
        """
        decided = _TABLE.c.status.in_(["approved", "denied", "expired"])
        same_run = schema.incident.c.flow_run_id == _TABLE.c.flow_run_id
        later = _TABLE.alias()
        asked_again = exists().where(later.c.incident_id == _TABLE.c.incident_id, later.c.id > _TABLE.c.id)
        with self._engine.connect() as connection:
            query = (
                select(_TABLE)
                .join(schema.incident, schema.incident.c.id == _TABLE.c.incident_id)
                .where(
                    decided,
                    same_run,
                    ~asked_again,
                    _TABLE.c.delivered_at.is_(None),
                    schema.incident.c.status == "waiting",
                )
                .order_by(_TABLE.c.decided_at)
            )
            return connection.execute(query).all()

    def delivered(self, approval_id: int) -> None:
        """The waiting run was resumed."""
        with self._engine.begin() as connection:
            connection.execute(update(_TABLE).where(_TABLE.c.id == approval_id).values(delivered_at=func.now()))
