"""Dispatching: which incidents are handed to Prefect next, by every gateway in the same order and within one bound.

What is on its way stands in the ledger, and one gateway at a time takes from it, for a moment. So several gateways
together send no more than one would, and none needs to know of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, case, exists, func, select, text, update

from nightshift.remediation.dispatch_order import PATIENCE, OnTheirWay, Waiting, next_ones
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.incidents import LONGEST_CLAIM_SECONDS
from nightshift.remediation.ledger.journal import Entry, Journal, Kind
from nightshift.remediation.ledger.schema import NOW, ONCE, OPEN
from nightshift.remediation.ledger.written import Written
from nightshift.remediation.models import Severity
from nightshift.remediation.pace import MEMORY_SECONDS, WINDOW_SECONDS, Pace

_TABLE = schema.incident
_LOCK = 0x6E73_6469
"""Advisory lock: one gateway takes at a time."""
_PAUSE_SECONDS = 20.0
"""How long an event may go unanswered before it is sent again; doubles each time."""
_LONGEST_PAUSE_SECONDS = 60.0
"""Short beside the five minutes after which a person is paged: several runs may be lost in a row before that."""
_MOST_OF_A_SYSTEM = 200
"""Of one system's storm so many are compared with the others at a time."""
_IS_OPEN = text(f"incident.{OPEN.text}")
_FOR_ITSELF = _TABLE.c.under_cause_since.is_(None)
_DUE = (_TABLE.c.next_dispatch_at <= NOW) | (
    # What lies beyond was promised by a clock that was set back since, and does not hold.
    _TABLE.c.next_dispatch_at > NOW + timedelta(seconds=LONGEST_CLAIM_SECONDS)
)
SENDABLE = and_(_IS_OPEN, _TABLE.c.flow.is_not(None), _DUE, _FOR_ITSELF)
"""What may be handed to Prefect now."""
_ANY_SENDABLE = Written.out(select(exists().where(SENDABLE)))
_DOUBLED_SECONDS = _PAUSE_SECONDS * func.power(2.0, func.least(_TABLE.c.sends, 8))
_PAUSE = func.make_interval(0, 0, 0, 0, 0, 0, func.least(_LONGEST_PAUSE_SECONDS, _DOUBLED_SECONDS))


class Dispatching:
    """Takes what goes next, and keeps what became of it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def is_due(self, connection: Connection) -> bool:
        """Whether there is anything to send; asked without keeping other gateways from taking."""
        return bool(_ANY_SENDABLE.ask(connection).scalar_one())

    def take(self, connection: Connection, bound: int) -> Sequence[Row[Any]]:
        """Incidents to send now, the most urgent first; until they are sent or given back nobody else takes them.

        Should the caller die, they are due again after the pause after which an unanswered event is sent again.
        """
        waiting = self.waiting(connection)
        if not waiting:
            return ()
        pace = self.pace(connection)
        return self.hand_out(connection, next_ones(waiting, self._on_their_way(connection, pace), pace.most(bound)))

    def hand_out(self, connection: Connection, chosen: Sequence[int]) -> Sequence[Row[Any]]:
        """These, as far as they are still due, to whoever is going to send them."""
        free = (
            select(_TABLE.c.id)
            .where(_TABLE.c.id == func.any(chosen), SENDABLE)
            .with_for_update(skip_locked=True, key_share=True)
        )
        rows = connection.execute(
            update(_TABLE)
            .where(_TABLE.c.id.in_(free))
            .values(sent_at=NOW, next_dispatch_at=NOW + timedelta(seconds=_PAUSE_SECONDS))
            .returning(_TABLE)
        ).all()
        return sorted(rows, key=lambda row: chosen.index(row.id))

    def sent(self, connection: Connection, incidents: Sequence[Row[Any]]) -> None:
        """Events for these attempts reached Prefect; unanswered, they are sent again after a growing pause.

        The attempt stays the same, so that a run which starts late still finds its claim free. Should two sends
        start two runs, the first one claims and the other ends.
        """
        self._change(connection, incidents, {"sends": _TABLE.c.sends + 1, "next_dispatch_at": NOW + _PAUSE})
        entries = [
            Entry(each.id, Kind.DISPATCHED, {"attempt": each.attempt, "send": each.sends + 1}) for each in incidents
        ]
        self._journal.append_all(connection, entries)

    def postpone(self, connection: Connection, incidents: Sequence[Row[Any]]) -> None:
        """What was sent before left runs that have not started: look again soon, their worker may have died."""
        self._change(connection, incidents, {"next_dispatch_at": NOW + timedelta(seconds=_PAUSE_SECONDS)})

    def give_back(self, connection: Connection, incidents: Sequence[Row[Any]]) -> None:
        """Prefect took nothing of this: all stay due."""
        unsent = case((_TABLE.c.sends == 0, None), else_=_TABLE.c.sent_at)
        self._change(connection, incidents, {"next_dispatch_at": NOW, "sent_at": unsent})

    def pace(self, connection: Connection) -> Pace:
        """How fast Prefect and the workers take what they are sent."""
        took = func.extract("epoch", _TABLE.c.claimed_at - _TABLE.c.sent_at)
        lately = _TABLE.c.claimed_at > ONCE - timedelta(seconds=WINDOW_SECONDS)
        taken = connection.execute(
            select(
                func.count().filter(lately).label("number"),
                func.extract("epoch", ONCE - func.min(_TABLE.c.sent_at).filter(lately)).label("since"),
                func.min(took).label("fastest"),
            ).where(
                _TABLE.c.claimed_at > ONCE - timedelta(seconds=MEMORY_SECONDS),
                _TABLE.c.claimed_at <= ONCE,
                _TABLE.c.sent_at <= _TABLE.c.claimed_at,
            )
        ).one()
        pace = Pace(taken.number, float(taken.since or 0), float(taken.fastest or 0))
        oldest = select(func.extract("epoch", ONCE - func.min(_TABLE.c.sent_at))).where(_IS_OPEN, _FOR_ITSELF)
        return Pace(pace.taken, pace.since, pace.fastest, float(connection.execute(oldest).scalar() or 0))

    def _on_their_way(self, connection: Connection, pace: Pace) -> OnTheirWay:
        query = select(_TABLE.c.system, _TABLE.c.severity, func.count()).where(*_on_its_way(pace))
        rows = connection.execute(query.group_by(_TABLE.c.system, _TABLE.c.severity))
        return {(system, Severity(severity)): number for system, severity, number in rows}

    def number_on_their_way(self, connection: Connection) -> tuple[int, Pace]:
        """How many were sent and not taken yet, and how fast that goes."""
        pace = self.pace(connection)
        return sum(self._on_their_way(connection, pace).values()), pace

    def waiting(self, connection: Connection) -> list[Waiting]:
        """What is due. Until this transaction ends nobody else takes anything."""
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        waited = func.extract("epoch", ONCE - _TABLE.c.opened_at)
        patience = {str(severity): seconds for severity, seconds in PATIENCE.items()}
        left = case(patience, value=_TABLE.c.severity) - waited
        place = func.row_number().over(partition_by=_TABLE.c.system, order_by=(left, _TABLE.c.id)).label("place")
        columns = (_TABLE.c.id, _TABLE.c.system, _TABLE.c.severity, waited.label("waited"), place)
        due = select(*columns).where(SENDABLE).subquery()
        alerts = select(func.count()).where(schema.alert.c.incident_id == due.c.id).scalar_subquery()
        first = select(due.c.id, due.c.system, due.c.severity, due.c.waited, alerts).where(
            due.c.place <= _MOST_OF_A_SYSTEM
        )
        return [
            Waiting(number, system, Severity(severity), float(waited), alerts)
            for number, system, severity, waited, alerts in connection.execute(first)
        ]

    def _change(self, connection: Connection, incidents: Sequence[Row[Any]], values: dict[str, Any]) -> None:
        """Of those that are still at the same attempt; a run may have taken them in the meantime."""
        attempts = {each.id: each.attempt for each in incidents}
        # In one order for all who lock several.
        query = select(_TABLE.c.id, _TABLE.c.attempt, _TABLE.c.status).where(_TABLE.c.id == func.any(list(attempts)))
        rows = connection.execute(query.order_by(_TABLE.c.id).with_for_update(key_share=True)).all()
        same = [row.id for row in rows if row.status != "ended" and row.attempt == attempts[row.id]]
        connection.execute(update(_TABLE).where(_TABLE.c.id == func.any(same)).values(values))


def _on_its_way(pace: Pace) -> tuple[Any, ...]:
    lately = _TABLE.c.sent_at > ONCE - timedelta(seconds=pace.gives_up_after)
    return _IS_OPEN, _FOR_ITSELF, lately, ~_DUE
