"""Leases: at most one holder acts on a target, on anything below it, or on anything above it.

A lease is there until it is given back, or until somebody who watched it saw it unrenewed for as long as was promised,
by the watcher's own clock (:mod:`nightshift.remediation.silence`). Gateways watch all leases, whoever waits for one
watches that. The clock of the database has no say: set forward by an hour, it would end leases whose holders act.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Delete,
    Engine,
    Row,
    Select,
    Text,
    Update,
    case,
    delete,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.base import Executable

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.incidents import Claim
from nightshift.remediation.ledger.journal import CHAIN_LOCK
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.sessions import each_by_itself, reading
from nightshift.remediation.ledger.written import Written, length, number, seconds, token, words
from nightshift.remediation.models import Target
from nightshift.remediation.silence import Silence

_LOCK = 0x6E73_6C65
"""First key of the advisory lock under which leases of one system are granted."""
_TABLE = schema.lease
_VERSION = literal_column("lease.xmin::text", Text)
"""The transaction that granted or renewed it last: another one after each renewal, whatever a clock says."""


@dataclass(frozen=True)
class Lease:
    """The right to act on a target; the fence grows with every grant, so an older holder can be told apart."""

    target: Target
    token: UUID
    fence: int
    asked: float = field(default=0.0, compare=False)
    """The moment of this process's monotonic clock at which it was asked for."""


@dataclass(frozen=True)
class Held:
    """Somebody else holds a lease that overlaps."""

    target: str
    incident_id: int
    seconds_left: float
    """Until it is free, if it is watched on and not renewed."""


class Leases:
    """Grants, renews and returns; and ends what nobody renews."""

    def __init__(self, engine: Engine, silence: Silence | None = None) -> None:
        self._engine = engine
        self._silence = silence or Silence()

    def acquire(self, claim: Claim, target: Target, seconds: float) -> Lease | Held:
        """A lease for the holder of this claim, or who is in the way."""
        now, asked = time.monotonic(), self._silence.clock()
        with self._engine.begin() as connection:
            _LOCK_SYSTEM.ask(connection, system=target.system)
            for other in self._overlapping(connection, target, claim):
                left = self._seconds_left(other, asked)
                if left > 0 or not self._end(connection, other):
                    return Held(other.target, other.incident_id, left)
            values = {"system": target.system, "incident": claim.incident_id, "token": claim.token}
            grant = _GRANT.ask(connection, target=target.key, **values, **_promise(seconds))
            fence = grant.scalar_one()
        return Lease(target, claim.token, fence, now)

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Promise to renew it again within so many seconds; False when it is lost: then nothing more may be done."""
        with each_by_itself(self._engine) as connection:
            return bool(_RENEW.ask(connection, **_its(lease), **_promise(seconds)).rowcount)

    def hold(self, connection: Connection, lease: Lease, seconds: float, claim: Claim, claim_seconds: float) -> bool:
        """Renew lease and claim at once, in the caller's transaction, and take the journal's lock after both.

        What else is written in it, the holder writes. False when one of them is lost; then the transaction must not be
        committed.
        """
        of_claim = {"incident": claim.incident_id, "claim": claim.token, "attempt": claim.attempt}
        of_claim |= {"claim_length": timedelta(seconds=claim_seconds)}
        return bool(_HOLD.ask(connection, **_its(lease), **_promise(seconds), **of_claim).scalar_one())

    def release(self, lease: Lease) -> None:
        """Give back what the holder of this lease has on its target; what went to somebody else stays theirs."""
        with each_by_itself(self._engine) as connection:
            _RELEASE.ask(connection, target=lease.target.key, token=lease.token)

    def end_silent(self) -> int:
        """End the leases that were not renewed for as long as was promised; returns how many. For whoever watches.

        Called every second or so, it ends them when their time is over; called for the first time it ends none.
        """
        asked = self._silence.clock()
        with reading(self._engine) as connection:
            rows = _ALL.ask(connection).all()
        silent = [row for row in rows if self._seconds_left(row, asked) <= 0]
        self._silence.forget_others({row.target for row in rows}, asked=asked)
        ended = 0
        for row in silent:
            with self._engine.begin() as connection:
                ended += self._end(connection, row)
        return ended

    def _overlapping(self, connection: Connection, target: Target, claim: Claim) -> Sequence[Row[Any]]:
        return _OVERLAPPING.ask(connection, target=target.key, token=claim.token).all()

    def _seconds_left(self, row: Row[Any], asked: float) -> float:
        silent = self._silence.of(row.target, (row.fence, row.version), asked=asked)
        return max(0.0, float(row.seconds) - silent)

    @staticmethod
    def _end(connection: Connection, row: Row[Any]) -> bool:
        """Take it away, unless it was renewed or returned since it was read."""
        unchanged = (_TABLE.c.target == row.target, _TABLE.c.fence == row.fence, row.version == _VERSION)
        return bool(connection.execute(delete(_TABLE).where(*unchanged)).rowcount)


def _promise(seconds: float) -> dict[str, Any]:
    return {"seconds": seconds, "length": timedelta(seconds=seconds)}


def _its(lease: Lease) -> dict[str, Any]:
    return {"target": lease.target.key, "token": lease.token, "fence": lease.fence}


def _overlapping() -> Select[Any]:
    """Leases of others on the target, above it and below it."""
    key = words("target")
    overlaps = or_(
        _TABLE.c.target == key,
        func.starts_with(_TABLE.c.target, key + "/"),
        func.starts_with(key, func.concat(_TABLE.c.target, "/")),
    )
    query = select(_TABLE, _VERSION.label("version")).where(overlaps, _TABLE.c.token != token("token"))
    return query.order_by(_TABLE.c.target)


_PROMISED = {"seconds": seconds("seconds"), "until": NOW + length("length")}


def _grant() -> Executable:
    values = {
        "system": words("system"),
        "incident_id": number("incident"),
        "token": token("token"),
        "fence": schema.fence.next_value(),
        **_PROMISED,
    }
    grant = insert(_TABLE).values(target=words("target"), **values)
    grant = grant.on_conflict_do_update(index_elements=[_TABLE.c.target], set_=values)
    return grant.returning(_TABLE.c.fence)


def _renew() -> Update:
    is_it = (_TABLE.c.target == words("target"), _TABLE.c.token == token("token"), _TABLE.c.fence == number("fence"))
    return update(_TABLE).where(*is_it).values(_PROMISED)


def _claim() -> Update:
    """Lets a claim last exactly this long; changes no row when it was lost."""
    incident = schema.incident.c
    held = (
        incident.id == number("incident"),
        incident.claim_token == token("claim"),
        incident.attempt == number("attempt"),
        incident.status != "ended",
        incident.claimed_until > NOW,
    )
    return update(schema.incident).where(*held).values(claimed_until=NOW + length("claim_length"))


def _hold() -> Select[Any]:
    """The chain's lock comes after those of the rows, as it does for everybody, and only where both are held."""
    claimed = _claim().returning(literal(1)).cte("claimed")
    renewed = _renew().returning(literal(1)).cte("renewed")
    both = exists(select(claimed)) & exists(select(renewed))
    return select(case((both, CHAIN_LOCK.is_not(None)), else_=False))


def _release() -> Delete:
    """Not waited for until it is on disk: one that a crash of the database undoes ends as that of a dead run."""
    soon = select(func.set_config("synchronous_commit", "off", True).label("set")).cte("soon")
    ours = _TABLE.c.target == words("target"), _TABLE.c.token == token("token"), soon.c.set.is_not(None)
    return delete(_TABLE).where(*ours)


_LOCK_SYSTEM = Written.out(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(words("system")))))
_OVERLAPPING, _GRANT = Written.out(_overlapping()), Written.out(_grant())
_ALL = Written.out(select(_TABLE, _VERSION.label("version")))
_RENEW, _HOLD, _RELEASE = Written.out(_renew()), Written.out(_hold()), Written.out(_release())
