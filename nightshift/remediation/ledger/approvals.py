"""Approvals: a plan that was shown, and what people decided about exactly that plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from nightshift.remediation.decisions import Decision, NotTaken, Why
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.asked_plans import AskedPlans, Before, counting_answers
from nightshift.remediation.ledger.deliveries import approval_step
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.people import People
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.ledger.written import Written
from nightshift.remediation.models import Plan
from nightshift.remediation.people import canonical

ANSWERED_IN_LEDGER = "ledger"
"""Name in a Prefect form that stands for "read the ledger": what such a form says is no decision of anybody."""

_TABLE = schema.approval
_LATE = (_TABLE.c.status == "open") & (_TABLE.c.expires_at <= NOW)
_ANY_LATE = Written.out(select(exists().where(_LATE)))
_ASKING = 0x6E73_6173
"""First key of the advisory locks under which an incident's runs ask; the second is the incident."""


Eligible = Callable[[Row[Any]], NotTaken | None]
"""Why the rules of the catalogue do not take an answer to this open approval; asked inside its transaction."""


def form_key(approval: Row[Any]) -> str:
    """What Prefect knows the waiting form by: every approval has its own, and a new one after each answer in it."""
    return f"{approval.digest}-{approval.id}-{approval.form}"


@dataclass(frozen=True)
class Notice:
    """Tells those who can answer that an approval waits."""

    channels: tuple[str, ...]
    """Of the system, in the catalogue."""
    write: Callable[[Row[Any], Before | None], tuple[str, str]]
    """Subject and body, of the new approval and what was asked before it."""


@dataclass(frozen=True)
class Choice:
    """An alternative that an approver wants instead of what was asked."""

    plan: Plan
    needed: int
    """How many different people must approve it."""
    notice: Notice
    """For the others, where it takes more than one."""


class Approvals(AskedPlans):
    """Asks, counts answers one after the other, expires."""

    def ask(
        self,
        incident_id: int,
        plan: Plan,
        flow_run_id: UUID | None,
        seconds: float,
        *,
        needed: int = 1,
        requester: str | None = None,
        unless_denied: bool = False,
        notice: Notice | None = None,
    ) -> Row[Any]:
        """The open approval for this plan. One that was open for another plan is superseded: the world has changed.

        Args:
            incident_id: the incident that the plan is about.
            plan: what is shown.
            flow_run_id: the run that waits for the answer; None: who asks does not wait.
            seconds: until silence is the answer.
            needed: how many different people must approve.
            requester: canonical name of who started the run by hand.
            unless_denied: silence is a yes, if people were told in time; else it is a no.
            notice: who is told, in the same transaction and once per approval.
        """
        self.keep_plan(incident_id, plan)
        values = {"expires_at": NOW + timedelta(seconds=seconds), "needed": needed, "requester": requester}
        values["unless_denied"] = unless_denied
        with self._engine.begin() as connection:
            # Of two runs that ask at once, one that lost its claim among them, the second sees what the first asked.
            connection.execute(select(func.pg_advisory_xact_lock(_ASKING, incident_id % 2**31)))
            row = self._open(connection, incident_id, plan.digest, flow_run_id)
            if row is not None:
                return row
            return self._ask(connection, incident_id, plan, {**values, "flow_run_id": flow_run_id}, notice)

    def _open(self, connection: Connection, incident_id: int, digest: str, flow_run_id: UUID | None) -> Row[Any] | None:
        """The open approval of this plan, locked: no answer can end it meanwhile. One for another plan is ended."""
        is_open = (_TABLE.c.incident_id == incident_id, _TABLE.c.status == "open")
        row = connection.execute(select(_TABLE).where(*is_open).with_for_update()).first()
        if row is None:
            return None
        if row.digest != digest:
            self._close(connection, row, "superseded")
            return None
        if flow_run_id is None:
            return row
        waits = update(_TABLE).where(_TABLE.c.id == row.id).values(flow_run_id=flow_run_id)
        return connection.execute(waits.returning(_TABLE)).one()

    def _close(self, connection: Connection, row: Row[Any], status: str) -> None:
        """An open approval, locked by the caller, has come to its end; who was not told yet need not be."""
        connection.execute(update(_TABLE).where(_TABLE.c.id == row.id).values(status=status, decided_at=NOW))
        self._deliveries.withdraw_approval(connection, row.incident_id, row.id)

    def _ask(
        self,
        connection: Connection,
        incident_id: int,
        plan: Plan,
        values: dict[str, Any],
        notice: Notice | None,
        *,
        chosen_by: str | None = None,
    ) -> Row[Any]:
        before = self._before(connection, incident_id) if notice else None
        asked = insert(_TABLE).values(incident_id=incident_id, digest=plan.digest, **values).returning(_TABLE)
        row = connection.execute(asked).one()
        entry = {"digest": plan.digest, "approval": row.id, "expires_at": row.expires_at.isoformat()}
        entry |= {"needed": row.needed, "risk": plan.risk, "unless_denied": row.unless_denied}
        entry |= {"told": list(notice.channels) if notice else []}
        if chosen_by is not None:
            entry |= {"instead_of": row.instead_of, "chosen_by": chosen_by}
        if notice is not None:
            subject, body = notice.write(row, before)
            for channel in notice.channels:
                self._deliveries.notify(connection, incident_id, channel, subject, body, step=approval_step(row.id))
        self._journal.append(connection, incident_id, Kind.ASKED, entry)
        return row

    def begun(self, incident_id: int, plan: Plan) -> Plan:
        """The plan to ask about: the one that people have begun to approve, as long as this one stays within it.

        A run that comes back after each answer looks again each time, and must not lose a quorum that grows for a
        plan that has only shrunk.
        """
        row = self.open_one(incident_id)
        if row is None or not self.progress(row).approved_by:
            return plan
        shown = self.plan(incident_id, row.digest)
        return shown if plan.within(shown) else plan

    def decide(
        self,
        incident_id: int,
        digest: str,
        decision: Decision,
        eligible: Eligible | None = None,
        choice: Choice | None = None,
    ) -> NotTaken | None:
        """Take a decision on the open approval of this plan: None when it was taken, else why it was not.

        One no ends it; yeses are counted, one per person, until there are enough. The approval's row is locked
        meanwhile, so of answers given at once each sees those before it. What vouches for the answer is used up in any
        case: a one-time code that was shown is worth nothing from then on.

        With a choice, the approval ends as superseded by that of the chosen plan, whose first yes this is: of people
        who choose differently, or choose and deny, at once, only the first finds it open.
        """
        with self._engine.begin() as connection:
            if choice is not None:
                # No run asks anew meanwhile; the order of locks is that of asking.
                connection.execute(select(func.pg_advisory_xact_lock(_ASKING, incident_id % 2**31)))
            unused = People.use_up(connection, decision)
            row = self._locked(connection, incident_id, digest)
            refused = self._refusing(connection, incident_id, row, decision, unused, eligible)
            if row is None:
                return refused
            if decision.in_form:
                connection.execute(update(_TABLE).where(_TABLE.c.id == row.id).values(form=_TABLE.c.form + 1))
            if refused is not None:
                self._record_refusal(connection, row, decision, refused)
            elif choice is not None:
                self._take(connection, self._choose(connection, row, choice, decision), decision)
            else:
                self._take(connection, row, decision)
        return refused

    def _choose(self, connection: Connection, row: Row[Any], choice: Choice, decision: Decision) -> Row[Any]:
        self._keep_plan(connection, row.incident_id, choice.plan)
        self._close(connection, row, "superseded")
        if decision.in_form:  # the run that reads this form knows already
            connection.execute(update(_TABLE).where(_TABLE.c.id == row.id).values(delivered_at=NOW))
        values = {"flow_run_id": row.flow_run_id, "requester": row.requester, "expires_at": row.expires_at}
        values |= {"needed": choice.needed, "instead_of": row.id}
        notice = choice.notice if choice.needed > 1 else None
        return self._ask(connection, row.incident_id, choice.plan, values, notice, chosen_by=decision.person)

    def refuse_form(self, approval_id: int, reason: str) -> None:
        """The answer in the waiting form does not count; the run asks again with a new form that says why."""
        with self._engine.begin() as connection:
            row = connection.execute(
                update(_TABLE).where(_TABLE.c.id == approval_id).values(form=_TABLE.c.form + 1).returning(_TABLE)
            ).one()
            self._record_refusal(connection, row, None, NotTaken(Why.NOT_IDENTIFIED, reason))

    def _locked(self, connection: Connection, incident_id: int, digest: str) -> Row[Any] | None:
        newest = select(func.max(_TABLE.c.id)).where(_TABLE.c.incident_id == incident_id, _TABLE.c.digest == digest)
        late = (_TABLE.c.expires_at <= NOW).label("late")
        query = select(_TABLE, late).where(_TABLE.c.id == newest.scalar_subquery())
        return connection.execute(query.with_for_update()).first()

    def _refusing(
        self,
        connection: Connection,
        incident_id: int,
        row: Row[Any] | None,
        decision: Decision,
        unused: bool,
        eligible: Eligible | None,
    ) -> NotTaken | None:
        if not unused:
            return NotTaken(Why.CODE_USED, "This code, or a newer one, was used already: wait for the next one.")
        if row is None:
            return NotTaken(Why.NEVER_ASKED, f"Incident {incident_id} never asked for an approval of this plan.")
        if row.status != "open" or row.late:
            return self._too_late(connection, row)
        if not People.still_valid(connection, decision):
            return NotTaken(Why.NOT_IDENTIFIED, "What vouches for this person has been revoked.")
        if eligible is not None and (refused := eligible(row)) is not None:
            return refused
        if decision.approve and decision.canonical in {canonical(name) for name in self._approved_by(connection, row)}:
            progress = self._progress(connection, row)
            return NotTaken(Why.SAID_ALREADY, f"You have approved this plan already: {progress.in_words}.")
        return None

    def _too_late(self, connection: Connection, row: Row[Any]) -> NotTaken:
        progress = self._progress(connection, row)
        partly = f" {progress.in_words}." if progress.approved_by and progress.missing else ""
        match row.status:
            case "open":
                verb = "deny" if row.unless_denied else "approve"
                return NotTaken(Why.TOO_LATE, f"The time to {verb} this plan has run out.{partly}")
            case "approved" if row.unless_denied and not progress.approved_by:
                acts = (
                    "Nobody denied this plan in time, so it is carried out; `nightshift stop` holds back what is left."
                )
                return NotTaken(Why.TOO_LATE, acts)
            case "expired":
                return NotTaken(Why.TOO_LATE, f"The time to approve this plan ran out.{partly}")
            case "superseded":
                replaced = "This plan was replaced: the target has changed since, or the incident has ended."
                return NotTaken(Why.REPLACED, replaced)
            case status:
                return NotTaken(Why.DECIDED, f"This plan was {status} already.")

    def _take(self, connection: Connection, row: Row[Any], decision: Decision) -> None:
        values = {
            "person": decision.person,
            "via": decision.via,
            "approve": decision.approve,
            "comment": decision.comment,
        }
        if not decision.approve:
            # Who has approved may think better of it, as long as nothing has come of it.
            connection.execute(
                update(schema.decision)
                .where(*counting_answers(row.id), schema.decision.c.canonical == decision.canonical)
                .values(withdrawn_at=NOW)
            )
        connection.execute(
            insert(schema.decision).values(
                approval_id=row.id, canonical=decision.canonical, credential=decision.credential, **values
            )
        )
        progress = self._progress(connection, row)
        if not decision.approve or not progress.missing:
            self._close(connection, row, "approved" if decision.approve else "denied")
        count = {"approvals": len(progress.approved_by), "needed": row.needed}
        entry = {"approval": row.id, "digest": row.digest, **values, **count}
        self._journal.append(connection, row.incident_id, Kind.DECIDED, entry)

    def _record_refusal(
        self, connection: Connection, row: Row[Any], decision: Decision | None, refused: NotTaken
    ) -> None:
        entry = {
            "approval": row.id,
            "person": decision.person if decision else None,
            "via": decision.via if decision else None,
            "why": refused.why,
            "reason": refused.text,
        }
        self._journal.append(connection, row.incident_id, Kind.ANSWER_REFUSED, entry)

    def expire(self) -> list[int]:
        """Answer for the silent where the time has run out; returns the incidents.

        It is a no. Where the rules make it a yes, it is one only if some channel took the notice before half of the
        time was over: of people who were not told, silence says nothing.
        """
        with reading(self._engine) as connection:
            if not _ANY_LATE.ask(connection).scalar_one():
                return []
        with self._engine.begin() as connection:
            rows = connection.execute(select(_TABLE).where(_LATE).order_by(_TABLE.c.id).with_for_update()).all()
            for row in rows:
                by = row.expires_at - (row.expires_at - row.requested_at) / 2
                told = row.unless_denied and self._deliveries.told_of_approval(connection, row.incident_id, row.id, by)
                self._close(connection, row, "approved" if told else "expired")
                count = {"approvals": len(self._approved_by(connection, row)), "needed": row.needed}
                entry = {"approval": row.id, "digest": row.digest, "approve": told, "expired": True, **count}
                entry |= {"unless_denied": row.unless_denied}
                self._journal.append(connection, row.incident_id, Kind.DECIDED, entry)
        return [row.incident_id for row in rows]
