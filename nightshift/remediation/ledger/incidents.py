"""Incidents: one trouble on one target, worked on by one flow run at a time, ended once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Engine, Row, Update, case, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.deliveries import Deliveries
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import LIVE, NOW, ONCE
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.ledger.undo_request import UNDO
from nightshift.remediation.models import Outcome, Severity, Target

_TABLE = schema.incident
LONGEST_CLAIM_SECONDS = 1800
"""Longer than any claim is promised; and than any pause before a dispatch."""
_DRY_RUN = {"dry_run": True}
_FOR_ITSELF = _TABLE.c.under_cause_since.is_(None)
"""No cause stands for it (see :mod:`nightshift.remediation.ledger.causes`)."""
_FAR_AHEAD = NOW + timedelta(seconds=LONGEST_CLAIM_SECONDS)
"""What lies beyond was promised by a clock that was set back since, and does not hold."""
_RUN_OUT = (_TABLE.c.claimed_until < NOW) | (_TABLE.c.claimed_until > _FAR_AHEAD)
_IS_LIVE = text(f"incident.{LIVE.text}")


@dataclass(frozen=True)
class Trouble:
    """What an incident is about."""

    system: str
    runbook: str
    flow: str | None
    target: Target
    severity: Severity
    title: str


@dataclass(frozen=True)
class Claim:
    """The right of one running flow to work on an incident, while it is renewed."""

    incident_id: int
    attempt: int
    flow_run_id: UUID
    token: UUID


class Incidents:
    """Opens, hands out, and ends incidents. Every change of state is a compare-and-swap."""

    def __init__(self, engine: Engine, journal: Journal, deliveries: Deliveries) -> None:
        self._engine = engine
        self._journal = journal
        self._deliveries = deliveries

    # --- opening

    def open(
        self,
        connection: Connection,
        trouble: Trouble,
        *,
        options: dict[str, Any] | None = None,
        dispatch_after_seconds: float = 0,
    ) -> tuple[int, bool]:
        """The live incident of this trouble, opened now if there is none; and whether it was.

        Args:
            connection: the caller's transaction.
            trouble: what it is about.
            options: of a run by hand.
            dispatch_after_seconds: keeps dispatch away from an incident that its opener works on by itself.
        """
        values = {
            "system": trouble.system,
            "runbook": trouble.runbook,
            "flow": trouble.flow,
            "target": trouble.target.key,
            "severity": str(trouble.severity),
            "title": trouble.title,
            "options": options or {},
            "next_dispatch_at": NOW + timedelta(seconds=dispatch_after_seconds),
            # Whoever starts something by hand sits in front of it: nobody is called about that.
            "next_step_at": None if options else NOW,
        }
        new = connection.execute(
            upsert(_TABLE)
            .values(values)
            .on_conflict_do_nothing(
                index_elements=[_TABLE.c.system, _TABLE.c.runbook, _TABLE.c.target],
                index_where=LIVE,
            )
            .returning(_TABLE.c.id)
        ).scalar()
        if new is not None:
            self._journal.append(connection, new, Kind.OPENED, {"title": trouble.title, "severity": trouble.severity})
            return new, True
        live = self.live(connection, trouble)
        # It may have ended between the two statements; then there is room for a new one.
        return (
            (live.id, False)
            if live is not None
            else self.open(connection, trouble, options=options, dispatch_after_seconds=dispatch_after_seconds)
        )

    def live(self, connection: Connection, trouble: Trouble) -> Row[Any] | None:
        """The incident of this trouble that has not ended."""
        return connection.execute(
            select(_TABLE).where(
                _TABLE.c.system == trouble.system,
                _TABLE.c.runbook == trouble.runbook,
                _TABLE.c.target == trouble.target.key,
                _TABLE.c.status != "ended",
            )
        ).first()

    def raise_severity(self, connection: Connection, incident: Row[Any], severity: Severity) -> None:
        """A more urgent alert joined, so its ladder counts; less urgent ones change nothing."""
        if severity.urgency < Severity(incident.severity).urgency:
            called = _TABLE.c.acknowledged_at.is_(None) & (_TABLE.c.options == {}) & _FOR_ITSELF
            connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id == incident.id)
                .values(severity=str(severity), next_step_at=case((called, NOW), else_=None))
            )

    def unanswered_since(self, connection: Connection, system: str, seconds: float) -> int:
        """How many incidents of a system that no flow answers were opened within this time."""
        query = select(func.count()).where(
            _TABLE.c.system == system, _TABLE.c.flow.is_(None), _TABLE.c.opened_at > ONCE - timedelta(seconds=seconds)
        )
        return int(connection.execute(query).scalar_one())

    def recently_ended(self, connection: Connection, trouble: Trouble, within_seconds: float) -> Row[Any] | None:
        """The last incident of this trouble, if it ended within the cool-down.

        A dry run has changed nothing, and one that its cause stands for was not answered itself.
        """
        return connection.execute(
            select(_TABLE, func.extract("epoch", NOW - _TABLE.c.ended_at).label("ended_ago"))
            .where(
                _TABLE.c.system == trouble.system,
                _TABLE.c.runbook == trouble.runbook,
                _TABLE.c.target == trouble.target.key,
                _TABLE.c.ended_at > ONCE - timedelta(seconds=within_seconds),
                ~_TABLE.c.options.contains(_DRY_RUN),
                _FOR_ITSELF,
            )
            .order_by(_TABLE.c.ended_at.desc())
            .limit(1)
        ).first()

    # --- reading

    def get(self, incident_id: int) -> Row[Any] | None:
        """One incident."""
        with reading(self._engine) as connection:
            return connection.execute(select(_TABLE).where(_TABLE.c.id == incident_id)).first()

    def of(self, connection: Connection, incident_id: int) -> Row[Any]:
        """One incident that is known to exist, in the caller's transaction."""
        return connection.execute(select(_TABLE).where(_TABLE.c.id == incident_id)).one()

    def list(self, *, live_only: bool = False, system: str | None = None, limit: int = 50) -> list[Row[Any]]:
        """Incidents, newest first."""
        query = select(_TABLE).order_by(_TABLE.c.id.desc()).limit(limit)
        if live_only:
            query = query.where(_TABLE.c.status != "ended")
        if system is not None:
            query = query.where(_TABLE.c.system == system)
        with reading(self._engine) as connection:
            return list(connection.execute(query))

    def counts(self) -> dict[str, int]:
        """Number of incidents by status, ended ones by outcome."""
        label = func.coalesce(_TABLE.c.outcome, _TABLE.c.status)
        with reading(self._engine) as connection:
            return {row[0]: row[1] for row in connection.execute(select(label, func.count()).group_by(label))}

    def oldest_undispatched_seconds(self) -> float:
        """Age of the oldest incident that no flow run has claimed yet, 0 when there is none."""
        query = select(func.extract("epoch", NOW - func.min(_TABLE.c.opened_at))).where(
            _TABLE.c.status == "open", _FOR_ITSELF
        )
        with reading(self._engine) as connection:
            return float(connection.execute(query).scalar() or 0)

    # --- working

    def claim(self, incident_id: int, attempt: int, flow_run_id: UUID, seconds: float) -> Claim | None:
        """Take the incident for this flow run.

        None when it ended, moved on to a later attempt, is being worked on, or waits for its cause.

        A run that comes back from waiting for an approval claims again under the same id.
        """
        token = uuid4()
        free = or_(_TABLE.c.claimed_until.is_(None), _RUN_OUT)
        mine = or_(_TABLE.c.status == "open", _TABLE.c.flow_run_id == flow_run_id)
        with self._engine.begin() as connection:
            claimed = connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id == incident_id, _TABLE.c.attempt == attempt, _TABLE.c.status != "ended", free, mine)
                .where(_FOR_ITSELF)
                .values(
                    status="working",
                    # One that comes back from waiting was not sent anew.
                    claimed_at=case((_TABLE.c.status == "open", NOW), else_=_TABLE.c.claimed_at),
                    flow_run_id=flow_run_id,
                    claim_token=token,
                    claimed_until=NOW + timedelta(seconds=seconds),
                )
            ).rowcount
            if not claimed:
                return None
            self._journal.append(
                connection, incident_id, Kind.CLAIMED, {"attempt": attempt, "flow_run_id": str(flow_run_id)}
            )
        return Claim(incident_id, attempt, flow_run_id, token)

    def renew(self, claim: Claim, seconds: float) -> bool:
        """Keep the claim alive; False when it was lost, and then the holder must stop."""
        until = func.least(func.greatest(_TABLE.c.claimed_until, NOW + timedelta(seconds=seconds)), _FAR_AHEAD)
        with self._engine.begin() as connection:
            return bool(connection.execute(_claim_until(claim, until)).rowcount)

    def move(self, claim: Claim, status: str) -> bool:
        """Change the state of a claimed incident; ``waiting`` gives the claim back."""
        values: dict[str, Any] = {"status": status}
        if status == "waiting":
            values |= {"claim_token": None, "claimed_until": None}
        with self._engine.begin() as connection:
            return bool(connection.execute(update(_TABLE).where(*_held(claim)).values(values)).rowcount)

    def lost(self, connection: Connection, limit: int) -> Sequence[Row[Any]]:
        """Incidents whose flow run stopped renewing its claim, locked for the caller."""
        return connection.execute(
            select(_TABLE)
            .where(_IS_LIVE, _TABLE.c.status.in_(["working", "verifying"]), _RUN_OUT)
            .order_by(_TABLE.c.claimed_until)
            .limit(limit)
            .with_for_update(skip_locked=True, key_share=True)
        ).all()

    def waiting(self) -> Sequence[Row[Any]]:
        """Incidents whose flow run waits for a person."""
        with reading(self._engine) as connection:
            return connection.execute(select(_TABLE).where(_TABLE.c.status == "waiting")).all()

    def try_again(self, connection: Connection, incident: Row[Any], why: str, pause_seconds: float) -> bool:
        """Open the next attempt after a lost run; False when the incident changed meanwhile."""
        changed = connection.execute(
            update(_TABLE)
            .where(
                _TABLE.c.id == incident.id,
                _TABLE.c.attempt == incident.attempt,
                _TABLE.c.status == incident.status,
                or_(_TABLE.c.claimed_until.is_(None), _RUN_OUT),
            )
            .values(
                status="open",
                open_since=NOW,
                attempt=_TABLE.c.attempt + 1,
                sends=0,
                sent_at=None,
                claim_token=None,
                claimed_until=None,
                next_dispatch_at=NOW + timedelta(seconds=pause_seconds),
            )
        ).rowcount
        if changed:
            self._journal.append(connection, incident.id, Kind.LOST, {"attempt": incident.attempt, "reason": why})
        return bool(changed)

    # --- ending

    def end(
        self, connection: Connection, incident_id: int, outcome: Outcome, reason: str, *, claim: Claim | None = None
    ) -> bool:
        """End the incident once; with a claim only its holder can. False when it had ended or the claim was lost."""
        condition = [_TABLE.c.id == incident_id, _TABLE.c.status != "ended"]
        if claim is not None:
            condition += [*_held(claim)]
        ended = connection.execute(
            update(_TABLE)
            .where(*condition)
            .values(
                status="ended",
                outcome=str(outcome),
                reason=reason,
                ended_at=NOW,
                claim_token=None,
                claimed_until=None,
                next_dispatch_at=None,
            )
        ).rowcount
        if ended:
            self.supersede_approvals(connection, incident_id)
            if outcome in (Outcome.RESOLVED, Outcome.EXPECTED, Outcome.JOINED):
                self.call_off(connection, incident_id)
            self._hand_back_alerts(connection, incident_id)
            self._journal.append(connection, incident_id, Kind.ENDED, {"outcome": outcome, "reason": reason})
        return bool(ended)

    def supersede_approvals(self, connection: Connection, incident_id: int) -> None:
        """What was asked need not be answered any more, and who was not told yet need not be."""
        superseded = connection.execute(
            update(schema.approval)
            .where(schema.approval.c.incident_id == incident_id, schema.approval.c.status == "open")
            .values(status="superseded", decided_at=NOW)
            .returning(schema.approval.c.id)
        ).scalars()
        for approval in superseded.all():
            self._deliveries.withdraw_approval(connection, incident_id, approval)

    def call_off(self, connection: Connection, incident_id: int) -> None:
        """Nobody needs to be called any more."""
        connection.execute(update(_TABLE).where(_TABLE.c.id == incident_id).values(next_step_at=None))
        self._deliveries.withdraw(connection, incident_id)

    def _hand_back_alerts(self, connection: Connection, incident_id: int) -> None:
        """Alerts that joined a dry run, or an undoing, are still to be answered: intake looks at them again."""
        not_about_them = _TABLE.c.options.contains(_DRY_RUN) | _TABLE.c.options.has_key(UNDO)
        dry_run = exists().where(_TABLE.c.id == incident_id, not_about_them)
        alert = schema.alert.c
        connection.execute(
            update(schema.alert)
            .where(alert.incident_id == incident_id, alert.status == "firing", dry_run)
            .values(taken_in=False, incident_id=None)
        )

    def finish(
        self,
        claim: Claim,
        outcome: Outcome,
        reason: str,
        pages: Sequence[tuple[str, str, str]] = (),
        all_clear: tuple[str, str] | None = None,
    ) -> bool:
        """End a claimed incident, and page in the same transaction: (channel, subject, body) each.

        ``all_clear`` is subject and body for those who were called before; None: it is not over for them. Nor is it
        where nothing was repaired and an alert of its own fires on: what was measured speaks against that alert.
        """
        with self._engine.begin() as connection:
            if not self.end(connection, claim.incident_id, outcome, reason, claim=claim):
                return False
            for channel, subject, body in pages:
                self._deliveries.page(connection, claim.incident_id, channel, subject, body)
            over = outcome is Outcome.RESOLVED or not self._fires_on(connection, claim.incident_id)
            if all_clear is not None and over:
                self._deliveries.all_clear(connection, claim.incident_id, *all_clear)
        return True

    def _fires_on(self, connection: Connection, incident_id: int) -> bool:
        alert = schema.alert.c
        own = exists().where(alert.incident_id == incident_id, alert.cause_rule.is_(None), alert.status == "firing")
        return bool(connection.execute(select(own)).scalar_one())

    def silenced(self, incident_id: int, silences: Sequence[str], *, author: str, reason: str, seconds: float) -> None:
        """Write down that a person silenced its alerts: ids of the silences, for how long, and why."""
        entry = {
            "author": author,
            "reason": reason,
            "seconds": seconds,
            "alerts": len(silences),
            "silences": [*silences],
        }
        with self._engine.begin() as connection:
            self._journal.append(connection, incident_id, Kind.SILENCED, entry)

    def acknowledge(self, incident_id: int, person: str) -> bool:
        """Record that a person has taken an incident over; nobody else is called from then on."""
        with self._engine.begin() as connection:
            taken = connection.execute(
                update(_TABLE)
                .where(_TABLE.c.id == incident_id, _TABLE.c.acknowledged_by.is_(None))
                .values(acknowledged_by=person, acknowledged_at=NOW)
            ).rowcount
            if taken:
                self.call_off(connection, incident_id)
                self._journal.append(connection, incident_id, Kind.ACKNOWLEDGED, {"person": person})
        return bool(taken)


def _claim_until(claim: Claim, until: ColumnElement[datetime]) -> Update:
    return update(_TABLE).where(*_held(claim), _TABLE.c.claimed_until > NOW).values(claimed_until=until)


def _held(claim: Claim) -> tuple[Any, ...]:
    return (
        _TABLE.c.id == claim.incident_id,
        _TABLE.c.claim_token == claim.token,
        _TABLE.c.attempt == claim.attempt,
        _TABLE.c.status != "ended",
    )
