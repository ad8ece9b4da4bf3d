"""The journal: append-only, each row chained to the one before by a hash, so that a changed or missing row shows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Engine, Select, bindparam, cast, exists, func, insert, select, true
from sqlalchemy.dialects.postgresql import JSONB

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.ledger.written import Written, as_json, number
from nightshift.remediation.models import Action, canonical_json

FIRST_HASH = "0" * 64
_CHAIN_LOCK = 0x6E73_6A6F
"""Advisory lock that makes appends one after the other."""
_TABLE = schema.journal
CHAIN_LOCK = func.pg_advisory_xact_lock(_CHAIN_LOCK)
_LOCK = Written.out(select(CHAIN_LOCK))
_INSERT = Written.out(insert(_TABLE))


def _head() -> Select[Any]:
    """The last row's sequence and hash, the time, and the entries as they will be read back, which is what is hashed.

    jsonb spells some numbers differently (1e16, -0.0) than Python does.
    """
    head = select(_TABLE.c.sequence, _TABLE.c.hash).order_by(_TABLE.c.sequence.desc()).limit(1).subquery()
    moment = select(NOW.label("at"), cast(bindparam("entries", type_=JSONB), JSONB).label("entries")).subquery()
    return select(moment, head).select_from(moment.join(head, true(), isouter=True))


_HEAD = Written.out(_head())
_DEEDS = Written.out(
    select(_TABLE)
    .where(_TABLE.c.incident_id == number("incident"), _TABLE.c.action_id.is_not(None))
    .order_by(_TABLE.c.sequence)
)


class Kind(StrEnum):
    """What a journal row says."""

    ALERT = "alert"
    OPENED = "opened"
    DISPATCHED = "dispatched"
    CLAIMED = "claimed"
    LOST = "lost"
    """The run that worked on it stopped answering."""
    DIAGNOSED = "diagnosed"
    PLANNED = "planned"
    ASKED = "asked"
    DECIDED = "decided"
    REFUSED = "refused"
    """The gate did not let an action through."""
    INTENT = "intent"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """Whether the action happened is not known."""
    OBSERVED = "observed"
    """The target was looked at to settle an action whose outcome was not known."""
    UNDOING = "undoing"
    """It was decided to take back what was done."""
    MEASURED = "measured"
    JUDGED = "judged"
    PAGED = "paged"
    ESCALATED = "escalated"
    """A step of the ladder was taken."""
    DELIVERED = "delivered"
    """A channel took a message."""
    ACKNOWLEDGED = "acknowledged"
    """A person has taken it over."""
    SILENCED = "silenced"
    """A person silenced its alerts in their Alertmanager for a time."""
    ENDED = "ended"
    REVIEWED = "reviewed"
    """Its review was written."""
    SWALLOWED = "swallowed"
    """Alerts, or an incident, that are its effects joined it."""
    JOINED = "joined"
    """It is an effect of another incident, which stands for it from here on."""
    PAUSED = "paused"
    """The same in the middle of a repair, which waits for the end of the cause."""
    RELEASED = "released"
    """Its flow run ended at the gate, to wait for the cause."""
    WENT_ON = "went_on"
    """Its cause is over: it stands for itself again."""
    HANDED_OVER = "handed_over"
    """What its flow found is another runbook's to repair: an alert was made of it."""
    HANDED_BACK = "handed_back"
    """Effects that fired on after its end are looked at by themselves."""
    STOPPED = "stopped"
    """A person stopped changes in some scope."""
    STARTED = "started"
    """A person lifted a stop."""
    MODE_SET = "mode_set"
    """A person changed how much may be done without asking."""
    MODE_RESET = "mode_reset"
    """From here on the catalogue's mode holds again."""
    REARMED = "rearmed"
    """A person closed a breaker again."""
    FLEET_SICK = "fleet_sick"
    """So many members of a fleet were unhealthy at once that nothing is done by itself."""
    FLEET_WELL = "fleet_well"
    """After a storm a fleet was seen well again: its cool-down begins."""
    MAINTENANCE_STARTED = "maintenance_started"
    """A person announced maintenance of a system: until its end nothing is done there by itself."""
    MAINTENANCE_ENDED = "maintenance_ended"
    """A person ended it early."""
    PERSON_CHANGED = "person_changed"
    """Somebody was enrolled or removed, or a credential of theirs was made or revoked."""
    NOT_IDENTIFIED = "not_identified"
    """Somebody did not show who they are."""
    ANSWER_REFUSED = "answer_refused"
    """An answer to a plan did not count."""
    WITHDRAWN = "withdrawn"
    """An approval no longer counts: its credential was revoked before there was a quorum."""


@dataclass(frozen=True)
class Row:
    """One row of the journal."""

    sequence: int
    at: datetime
    incident_id: int | None
    """None: about the installation as a whole."""
    kind: Kind
    action_id: UUID | None
    fence: int | None
    entry: dict[str, Any]
    previous: str
    hash: str

    def expected_hash(self) -> str:
        """What the hash must be, computed from everything else."""
        return _hash(
            self.previous, self.sequence, self.at, self.incident_id, self.kind, self.action_id, self.fence, self.entry
        )


@dataclass(frozen=True)
class Deeds:
    """The actions of an incident, by what is known of them."""

    unsettled: tuple[Row, ...]
    """Intents whose outcome is missing or unknown: their targets must be observed before anything else is done."""
    done: frozenset[UUID]
    """Those of which the last word is that they were done."""


@dataclass(frozen=True)
class Entry:
    """What is to be appended."""

    incident_id: int | None
    kind: Kind
    entry: dict[str, Any]
    action_id: UUID | None = None
    fence: int | None = None


def _hash(
    previous: str,
    sequence: int,
    at: datetime,
    incident_id: int | None,
    kind: str,
    action_id: UUID | None,
    fence: int | None,
    entry: dict[str, Any],
) -> str:
    moment = at.astimezone(UTC).isoformat(timespec="microseconds")
    parts = [previous, sequence, moment, incident_id, kind, str(action_id) if action_id else None, fence, entry]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def _row(record: Any) -> Row:
    values = dict(record._mapping)  # noqa: SLF001 - SQLAlchemy's documented name
    return Row(**{**values, "kind": Kind(values["kind"])})


class Journal:
    """Reads and appends."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(
        self,
        connection: Connection,
        incident_id: int | None,
        kind: Kind,
        entry: dict[str, Any],
        *,
        action_id: UUID | None = None,
        fence: int | None = None,
    ) -> int:
        """Add a row inside the caller's transaction, as its last step: it holds the chain's lock until the commit."""
        return self.append_all(connection, [Entry(incident_id, kind, entry, action_id, fence)])

    def append_all(self, connection: Connection, entries: Sequence[Entry], *, held: bool = False) -> int:
        """The same for several rows at once, in this order; the sequence of the last one, 0 when there are none.

        Args:
            connection: in the caller's transaction.
            entries: what is to be appended.
            held: the caller's transaction has the chain's lock already, taken by a statement before.
        """
        if not entries:
            return 0
        if not held:
            self.hold(connection)
        # A statement of its own after the lock: one that began before it would not see what its holder wrote.
        last = _HEAD.ask(connection, entries=as_json([each.entry for each in entries])).one()
        sequence, previous = last.sequence or 0, last.hash or FIRST_HASH
        for each, entry in zip(entries, last.entries, strict=True):
            sequence += 1
            about = each.incident_id, str(each.kind), each.action_id, each.fence
            digest = _hash(previous, sequence, last.at, *about, entry)
            values = (sequence, last.at, *about, as_json(entry), previous, digest)
            _INSERT.ask(connection, **dict(zip(_TABLE.c.keys(), values, strict=True)))
            previous = digest
        return int(sequence)

    def append_once(self, connection: Connection, incident_id: int, kind: Kind, entry: dict[str, Any]) -> bool:
        """Add a row unless the incident has one of this kind that holds this entry; whether it was added."""
        self.hold(connection)
        if self.has(connection, incident_id, kind, entry):
            return False
        self.append(connection, incident_id, kind, entry)
        return True

    def has(self, connection: Connection, incident_id: int, kind: Kind, entry: dict[str, Any]) -> bool:
        """Whether the incident has a row of this kind that holds this entry."""
        return bool(connection.scalar(select(has_entry(incident_id, kind, entry))))

    def hold(self, connection: Connection) -> None:
        """Take the chain's lock now: for transactions that lock other rows too, which come after it."""
        _LOCK.ask(connection)

    def record(
        self,
        incident_id: int,
        kind: Kind,
        entry: dict[str, Any],
        *,
        action_id: UUID | None = None,
        fence: int | None = None,
    ) -> int:
        """Add a row in a transaction of its own."""
        with self._engine.begin() as connection:
            return self.append(connection, incident_id, kind, entry, action_id=action_id, fence=fence)

    def of(self, incident_id: int, *, after: int = 0) -> list[Row]:
        """The rows of an incident, oldest first."""
        with reading(self._engine) as connection:
            return rows_of(connection, incident_id, after=after)

    def deeds(self, incident_id: int) -> Deeds:
        """What became of the actions of an incident."""
        open_intents: dict[UUID | None, Row] = {}
        last: dict[UUID | None, Kind] = {}
        with reading(self._engine) as connection:
            rows = [_row(record) for record in _DEEDS.ask(connection, incident=incident_id)]
        for row in rows:
            if row.kind in (Kind.INTENT, Kind.DONE, Kind.FAILED, Kind.UNKNOWN):
                last[row.action_id] = row.kind
            if row.kind is Kind.INTENT:
                open_intents[row.action_id] = row
            elif row.kind in (Kind.DONE, Kind.FAILED):
                open_intents.pop(row.action_id, None)
        done = frozenset(action for action, kind in last.items() if action is not None and kind is Kind.DONE)
        return Deeds(tuple(open_intents.values()), done)

    def unsettled(self, incident_id: int) -> list[Row]:
        """Intents whose outcome is missing or unknown."""
        return list(self.deeds(incident_id).unsettled)

    def intended(self, incident_id: int, action_id: UUID) -> Action | None:
        """An action that was begun, as it was written down before; None when there is none."""
        query = select(_TABLE.c.entry["action"]).where(
            _TABLE.c.incident_id == incident_id, _TABLE.c.action_id == action_id, _TABLE.c.kind == str(Kind.INTENT)
        )
        with reading(self._engine) as connection:
            action = connection.execute(query.order_by(_TABLE.c.sequence.desc()).limit(1)).scalar()
        return Action.model_validate(action) if action else None

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the last row."""
        query = select(_TABLE.c.sequence, _TABLE.c.hash).order_by(_TABLE.c.sequence.desc()).limit(1)
        with reading(self._engine) as connection:
            last = connection.execute(query).first()
        return (last.sequence, last.hash) if last else (0, FIRST_HASH)

    def first_broken_link(self) -> int | None:
        """Sequence of the first row that was changed, or that follows a removed one; None when the chain holds."""
        previous, expected = FIRST_HASH, 1
        with self._engine.connect().execution_options(yield_per=1000) as connection:
            for record in connection.execute(select(_TABLE).order_by(_TABLE.c.sequence)):
                row = _row(record)
                if row.sequence != expected or row.previous != previous or row.hash != row.expected_hash():
                    return row.sequence
                previous, expected = row.hash, expected + 1
        return None


def rows_of(connection: Connection, incident_id: int, *, after: int = 0) -> list[Row]:
    """The rows of an incident as this connection sees them, oldest first."""
    query = select(_TABLE).where(_TABLE.c.incident_id == incident_id, _TABLE.c.sequence > after)
    return [_row(record) for record in connection.execute(query.order_by(_TABLE.c.sequence))]


def has_entry(incident_id: int | ColumnElement[int], kind: Kind, entry: dict[str, Any]) -> ColumnElement[bool]:
    """Whether the incident has a row of this kind that holds this entry."""
    return exists().where(
        _TABLE.c.incident_id == incident_id, _TABLE.c.kind == str(kind), _TABLE.c.entry.contains(entry)
    )
