"""Leases: at most one holder acts on a target, on anything below it, or on anything above it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.incidents import Claim
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.models import Target

_LOCK = 0x6E73_6C65
"""First key of the advisory lock under which leases of one system are granted."""


@dataclass(frozen=True)
class Lease:
    """The right to act on a target; the fence grows with every grant, so an older holder can be told apart."""

    target: Target
    token: UUID
    fence: int


@dataclass(frozen=True)
class Held:
    """Somebody else holds a lease that overlaps."""

    target: str
    incident_id: int
    seconds_left: float


class Leases:
    """Grants, renews and returns."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def acquire(self, claim: Claim, target: Target, seconds: float) -> Lease | Held:
        """A lease for the holder of this claim, or who is in the way."""
        table, key = schema.lease, target.key
        with self._engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(target.system))))
            overlaps = or_(
                table.c.target == key,
                func.starts_with(table.c.target, key + "/"),
                func.starts_with(key, func.concat(table.c.target, "/")),
            )
            other = connection.execute(
                select(table, func.extract("epoch", table.c.until - NOW).label("left"))
                .where(overlaps, table.c.until > NOW, table.c.token != claim.token)
                .limit(1)
            ).first()
            if other is not None:
                return Held(other.target, other.incident_id, float(other.left))
            fence = connection.execute(select(schema.fence.next_value())).scalar_one()
            values: dict[str, Any] = {
                "system": target.system,
                "incident_id": claim.incident_id,
                "token": claim.token,
                "fence": fence,
                "until": NOW + timedelta(seconds=seconds),
            }
            statement = insert(table).values(target=key, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=[table.c.target], set_=values))
        return Lease(target, claim.token, fence)

    def renew(self, lease: Lease, seconds: float, connection: Connection | None = None) -> bool:
        """Extend a lease that has not run out; False when it is lost, and then nothing more may be done.

        With the caller's transaction, what else is written in it is written only by the holder.
        """
        if connection is None:
            with self._engine.begin() as own:
                return self.renew(lease, seconds, own)
        table = schema.lease
        return bool(
            connection.execute(
                update(table)
                .where(
                    table.c.target == lease.target.key,
                    table.c.token == lease.token,
                    table.c.fence == lease.fence,
                    table.c.until > NOW,
                )
                .values(until=NOW + timedelta(seconds=seconds))
            ).rowcount
        )

    def release(self, lease: Lease) -> None:
        """Give back what the holder of this lease has on its target; what went to somebody else stays theirs."""
        table = schema.lease
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.target == lease.target.key, table.c.token == lease.token))
