"""Causes and their effects: which alerts joined which incident, and which incidents wait for which.

An incident stands for itself, or its cause stands for it (``under_cause_since``). A cause is never under a cause
itself: what it becomes an effect of takes over its effects as well. A cause holds its effects while it lives, for a
settling time afterwards, and, in the hands of a person, while its own alert fires.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    and_,
    case,
    exists,
    func,
    or_,
    select,
    text,
    tuple_,
    union_all,
    update,
)

from nightshift.remediation.joined_effects import Joined
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.incidents import Claim, Incidents
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import IS_INTENT, LIVE, NOW, ONCE
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.ledger.written import Written, words
from nightshift.remediation.models import Outcome

_INCIDENT, _ALERT = schema.incident, schema.alert
_OF_A_PERSON = [str(Outcome.ESCALATED), str(Outcome.NOT_APPROVED)]
_LOOK_SECONDS = 120
"""An effect that goes on gets so long to be looked at before its ladder is climbed again."""
_ROW = tuple_(_ALERT.c.source, _ALERT.c.fingerprint, _ALERT.c.starts_at)
_EFFECT = _ALERT.c.cause_rule.is_not(None)
_FIRING_EFFECT = and_(_EFFECT, _ALERT.c.status == "firing", _ALERT.c.taken_in)
_IS_LIVE = text(f"incident.{LIVE.text}")

Identity = tuple[str, str, datetime]
"""Source, fingerprint and start of an alert: its key."""


class Causes:
    """Joins, pauses, lets go on. All times are of the database."""

    def __init__(self, engine: Engine, journal: Journal, incidents: Incidents) -> None:
        self._engine = engine
        self._journal = journal
        self._incidents = incidents

    # --- looking

    def standing(self, connection: Connection, system: str, settle: float, hold: float) -> Sequence[Row[Any]]:
        """Incidents of a system that live or hold effects, oldest first."""
        return _standing(settle, hold).ask(connection, system=system).all()

    def alerts_of(self, connection: Connection, incidents: Sequence[int], names: set[str]) -> Sequence[Row[Any]]:
        """The alerts of these incidents that have one of these names."""
        named = _ALERT.c.labels["alertname"].astext == func.any(sorted(names))
        return connection.execute(select(_ALERT).where(_ALERT.c.incident_id == func.any(list(incidents)), named)).all()

    def of(self, connection: Connection, incident_id: int) -> int | None:
        """The incident that stands for this one now; None: it stands for itself."""
        cause: int | None = connection.scalar(cause_of(incident_id))
        return cause

    def waiting_for(self, incident_id: int) -> list[Row[Any]]:
        """Incidents that this one caused, oldest first; those that went on since too."""
        query = select(_INCIDENT).where(_INCIDENT.c.cause_id == incident_id).order_by(_INCIDENT.c.id)
        with reading(self._engine) as connection:
            return list(connection.execute(query))

    def kinds_of(self, incident_id: int) -> list[Row[Any]]:
        """The alerts of an incident counted: ``name``, ``rule`` (None: its own), ``alerts``, ``firing``; most first."""
        name = _ALERT.c.labels["alertname"].astext.label("name")
        number = func.count().label("alerts")
        query = (
            select(
                name,
                _ALERT.c.cause_rule.label("rule"),
                number,
                func.count().filter(_ALERT.c.status == "firing").label("firing"),
            )
            .where(_ALERT.c.incident_id == incident_id)
            .group_by(name, _ALERT.c.cause_rule)
            .order_by(_ALERT.c.cause_rule.is_not(None), number.desc(), name)
        )
        with reading(self._engine) as connection:
            return list(connection.execute(query))

    def joined(self, incident_id: int) -> list[Joined]:
        """The effects that joined an incident, by alert and rule, the most first."""
        name, number = _ALERT.c.labels["alertname"].astext, func.count()
        query = (
            select(name, _ALERT.c.cause_rule, number, func.min(_ALERT.c.starts_at))
            .where(_ALERT.c.incident_id == incident_id, _ALERT.c.cause_rule.is_not(None))
            .group_by(name, _ALERT.c.cause_rule)
            .order_by(number.desc(), name)
        )
        with reading(self._engine) as connection:
            return [Joined(*row) for row in connection.execute(query)]

    def began(self, incident_id: int) -> datetime | None:
        """When the first alert of an incident itself began, by the Alertmanager's clock; None: it has none."""
        own = (_ALERT.c.incident_id == incident_id) & _ALERT.c.cause_rule.is_(None)
        with reading(self._engine) as connection:
            began: datetime | None = connection.execute(select(func.min(_ALERT.c.starts_at)).where(own)).scalar()
            return began

    # --- alerts

    def swallow(
        self,
        connection: Connection,
        incident_id: int,
        rule: str,
        why: str,
        alerts: Sequence[tuple[Identity, str]],
        *,
        same: bool = False,
    ) -> None:
        """These alerts, each with its name, join the incident of their cause, or of the ``same`` trouble; at once."""
        how = "The same trouble as" if same else "Effect of"
        note = f"{how} incident {incident_id} by the rule {rule}: {why}. Nothing is done about it by itself."
        connection.execute(
            update(_ALERT)
            .where(_ROW.in_([identity for identity, _ in alerts]))
            .values(taken_in=True, incident_id=incident_id, cause_rule=rule, held_until=None, note=note)
        )
        kinds = dict(sorted(Counter(name for _, name in alerts).items()))
        entry = {"rule": rule, "why": why, "alerts": len(alerts), "kinds": kinds}
        self._journal.append(connection, incident_id, Kind.SWALLOWED, entry)

    def seen_again(self, connection: Connection, alerts: Sequence[Identity]) -> None:
        """Effects that were told again; what they belong to stays."""
        connection.execute(update(_ALERT).where(_ROW.in_(alerts)).values(taken_in=True))

    def hold_back(self, connection: Connection, alerts: Sequence[Identity], until: datetime) -> None:
        """Look at these again at this time: their cause may come until then."""
        values = {"held_until": until, "note": "Waits a moment for its cause."}
        connection.execute(update(_ALERT).where(_ROW.in_(alerts)).values(values))

    def held_back(self, connection: Connection) -> Sequence[Row[Any]]:
        """Alerts that wait for their cause."""
        return connection.execute(select(_ALERT).where(~_ALERT.c.taken_in, _ALERT.c.held_until > NOW)).all()

    def no_longer_held_back(self, connection: Connection) -> None:
        """A cause may have come: look at all that waits."""
        waits = ~_ALERT.c.taken_in & _ALERT.c.held_until.is_not(None)
        connection.execute(update(_ALERT).where(waits).values(held_until=None))

    def hand_back(self, settle: float, hold: float) -> int:
        """Effects that still fire although their cause holds them no more are troubles of their own; how many."""
        with reading(self._engine) as connection:
            ended = _over(settle, hold).ask(connection).scalars().all()
        return sum(self._hand_back(incident_id) for incident_id in ended)

    def _hand_back(self, incident_id: int) -> int:
        note = f"Fires on after the end of incident {incident_id}, its cause: looked at by itself."
        with self._engine.begin() as connection:
            number = connection.execute(
                update(_ALERT)
                .where(_FIRING_EFFECT, _ALERT.c.incident_id == incident_id)
                .values(taken_in=False, incident_id=None, cause_rule=None, note=note)
            ).rowcount
            if number:
                self._journal.append(connection, incident_id, Kind.HANDED_BACK, {"alerts": number})
        return number

    # --- incidents

    def adopt(
        self, connection: Connection, effect: int, cause: int, rule: str, why: str, settle: float, hold: float
    ) -> bool:
        """Put an incident under its cause; False when one of the two changed so that it may not be.

        One that nothing was done about yet ends as joined, and its alerts go over. One in repair is paused: its run
        ends before its next action. One that is in the hands of a person already stays ended, and nobody else is
        called about it. The row is locked before the journal's chain, which nobody waits in for a row.
        """
        row = self._to_adopt(connection, effect, cause, settle, hold)
        if row is None:
            return False
        reason = f"Effect of incident {cause} by the rule {rule}: {why}."
        entry = {"cause": cause, "rule": rule, "why": why}
        begun = row.status != "open" or (row.attempt > 1 and self._has_intent(connection, effect))
        if row.status == "open" and not begun:
            self._incidents.end(connection, effect, Outcome.JOINED, reason)
        values: dict[str, Any] = {"cause_id": cause, "cause_rule": rule, "under_cause_since": NOW, "next_step_at": None}
        if row.status == "waiting":
            values |= _next_attempt()
            self._incidents.supersede_approvals(connection, effect)
        connection.execute(update(_INCIDENT).where(_INCIDENT.c.id == effect).values(values))
        self._incidents.call_off(connection, effect)
        paused = begun and row.status != "ended"
        self._take_over(connection, effect, cause, rule, only_effects=paused)
        self._journal.append(connection, effect, Kind.PAUSED if paused else Kind.JOINED, entry)
        self._journal.append(connection, cause, Kind.SWALLOWED, {"rule": rule, "why": why, "incident": effect})
        return True

    def _to_adopt(self, connection: Connection, effect: int, cause: int, settle: float, hold: float) -> Row[Any] | None:
        locked = connection.execute(
            select(_INCIDENT)
            .where(_INCIDENT.c.id.in_([effect, cause]))
            .order_by(_INCIDENT.c.id)
            .with_for_update(key_share=True)
        ).all()
        rows = {row.id: row for row in locked}
        stands = select(_INCIDENT.c.id).where(_INCIDENT.c.id == cause, _holds(settle, hold))
        if rows[cause].under_cause_since is not None or connection.execute(stands).first() is None:
            return None
        row: Row[Any] = rows[effect]
        # Who started something by hand sits in front of it.
        known = row.under_cause_since is not None and (row.cause_id == cause or row.status == "ended")
        return None if known or row.options else row

    def _has_intent(self, connection: Connection, incident_id: int) -> bool:
        query = select(exists().where(schema.journal.c.incident_id == incident_id, IS_INTENT))
        return bool(connection.execute(query).scalar())

    def _take_over(self, connection: Connection, effect: int, cause: int, rule: str, *, only_effects: bool) -> None:
        """What an incident had caused, and unless it goes on itself its alerts, are its cause's from now on."""
        under = and_(_INCIDENT.c.cause_id == effect, _INCIDENT.c.under_cause_since.is_not(None))
        connection.execute(update(_INCIDENT).where(under).values(cause_id=cause))
        condition = [_ALERT.c.incident_id == effect]
        if only_effects:
            condition.append(_EFFECT)
        note = f"Effect of incident {cause} by the rule {rule}, like incident {effect}, where it was before."
        connection.execute(
            update(_ALERT)
            .where(*condition)
            .values(incident_id=cause, cause_rule=func.coalesce(_ALERT.c.cause_rule, rule), note=note)
        )

    def release(self, claim: Claim, cause: int) -> bool:
        """Give a claimed incident back until its cause is over; False when the claim was lost."""
        with self._engine.begin() as connection:
            released = connection.execute(
                update(_INCIDENT)
                .where(
                    _INCIDENT.c.id == claim.incident_id,
                    _INCIDENT.c.claim_token == claim.token,
                    _INCIDENT.c.attempt == claim.attempt,
                    _INCIDENT.c.status != "ended",
                )
                .values(**_next_attempt())
            ).rowcount
            if released:
                entry = {"attempt": claim.attempt, "cause": cause}
                self._journal.append(connection, claim.incident_id, Kind.RELEASED, entry)
        return bool(released)

    def go_on(self, settle: float, hold: float) -> int:
        """Incidents whose causes hold them no more stand for themselves again, and are looked at; how many."""
        with reading(self._engine) as connection:
            found = _let_go(settle, hold).ask(connection).scalars().all()
        return sum(self._go_on(incident_id, _free(settle, hold)) for incident_id in found)

    def _go_on(self, incident_id: int, free: ColumnElement[bool]) -> bool:
        sent = (_INCIDENT.c.status == "open") & (_INCIDENT.c.sends > 0)
        calls = _INCIDENT.c.acknowledged_at.is_(None)
        with self._engine.begin() as connection:
            row = connection.execute(
                update(_INCIDENT)
                .where(_INCIDENT.c.id == incident_id, free)
                .values(
                    under_cause_since=None,
                    open_since=NOW,
                    next_dispatch_at=NOW,
                    attempt=_INCIDENT.c.attempt + case((sent, 1), else_=0),
                    sends=case((sent, 0), else_=_INCIDENT.c.sends),
                    sent_at=None,
                    next_step_at=case((calls, NOW + timedelta(seconds=_LOOK_SECONDS)), else_=None),
                )
                .returning(_INCIDENT.c.cause_id, _INCIDENT.c.attempt)
            ).first()
            if row is not None:
                entry = {"cause": row.cause_id, "attempt": row.attempt}
                self._journal.append(connection, incident_id, Kind.WENT_ON, entry)
        return row is not None


def cause_of(incident_id: int | ColumnElement[int]) -> Select[Any]:
    """The incident that stands for this one now; no row, or null: it stands for itself."""
    return select(_INCIDENT.c.cause_id).where(_INCIDENT.c.id == incident_id, _INCIDENT.c.under_cause_since.is_not(None))


def _next_attempt() -> dict[str, Any]:
    """What makes an incident open again, for a run that looks anew."""
    return {
        "status": "open",
        "attempt": _INCIDENT.c.attempt + 1,
        "sends": 0,
        "sent_at": None,
        "claim_token": None,
        "claimed_until": None,
        "open_since": NOW,
        "next_dispatch_at": NOW,
    }


def _holds(settle: float, hold: float, table: Any = _INCIDENT) -> ColumnElement[bool]:
    """Whether an incident keeps its effects from being dealt with by themselves."""
    own = and_(_ALERT.c.incident_id == table.c.id, ~_EFFECT)
    of_a_person = or_(*(table.c.outcome == outcome for outcome in _OF_A_PERSON))
    # After a verified repair only an alert that started later speaks against it.
    fires = exists().where(own, _ALERT.c.status == "firing", or_(of_a_person, _ALERT.c.starts_at > table.c.ended_at))
    fired = exists().where(own, _ALERT.c.last_seen > NOW - timedelta(seconds=settle))
    ended = and_(
        table.c.under_cause_since.is_(None),
        table.c.outcome != str(Outcome.JOINED),
        or_(
            table.c.ended_at > NOW - timedelta(seconds=settle),
            and_(table.c.ended_at > NOW - timedelta(seconds=hold), or_(fires, and_(of_a_person, fired))),
        ),
    )
    return or_(table.c.status != "ended", ended)


@cache
def _standing(settle: float, hold: float) -> Written:
    # Of all incidents there ever were, only those that may hold something are looked at one by one.
    of_system = select(_INCIDENT.c.id).where(_INCIDENT.c.system == words("system"))
    ended = of_system.where(_INCIDENT.c.ended_at > ONCE - timedelta(seconds=settle + hold))
    in_question = func.array(union_all(of_system.where(_IS_LIVE), ended).scalar_subquery())
    holding = _INCIDENT.c.id == func.any(in_question), _holds(settle, hold)
    return Written.out(select(_INCIDENT).where(*holding).order_by(_INCIDENT.c.id))


@cache
def _over(settle: float, hold: float) -> Written:
    """Incidents with effects that they hold no more."""
    holders = select(_ALERT.c.incident_id).where(_FIRING_EFFECT).distinct().subquery()
    over = select(_INCIDENT.c.id).join(holders, holders.c.incident_id == _INCIDENT.c.id)
    return Written.out(over.where(~_holds(settle, hold)).order_by(_INCIDENT.c.id))


def _free(settle: float, hold: float) -> ColumnElement[bool]:
    cause = _INCIDENT.alias("cause")
    held = exists().where(cause.c.id == _INCIDENT.c.cause_id, _holds(settle, hold, cause))
    return and_(_INCIDENT.c.under_cause_since.is_not(None), _IS_LIVE, ~held)


@cache
def _let_go(settle: float, hold: float) -> Written:
    """Incidents whose causes hold them no more."""
    return Written.out(select(_INCIDENT.c.id).where(_free(settle, hold)).order_by(_INCIDENT.c.id))
