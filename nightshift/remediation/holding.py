"""Holding the lease on a target while something may run there, and writing what became of it as its holder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from nightshift.remediation.actions import ActionKind
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.errors import LeaseLostError
from nightshift.remediation.faults import point
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Entry, Kind
from nightshift.remediation.ledger.leases import Lease

LEASE_MARGIN_SECONDS = 8.0
"""A lease outlasts what may run under it by this much: a command that hangs gets 5 s to end after its time-out."""


@dataclass(frozen=True)
class Holding:
    """What one run holds."""

    ledger: Ledger
    keeper: ClaimKeeper
    margin: float = LEASE_MARGIN_SECONDS
    """Seconds by which a lease outlasts what may run under it."""

    @property
    def incident_id(self) -> int:
        """The incident that this run works on."""
        return self.keeper.claim.incident_id

    def lease_seconds(self, kind: ActionKind) -> float:
        """Twice what an action takes: what a process sends just before its switch ends it needs the time-out again."""
        return 2 * (kind.timeout + self.margin)

    def hold(self, lease: Lease, kind: ActionKind) -> Lease:
        """Make sure that nobody else can act before this action has certainly stopped.

        Measuring may have taken longer than the lease; if nobody else came meanwhile, there is a new one.

        Raises:
            LeaseLostError: somebody else came.
        """
        self.keeper.check()
        if time.monotonic() - lease.asked < self.margin / 8:
            return lease  # it has nearly all of its margin left, and writing the intent renews it, or fails
        if self.ledger.leases.renew(lease, self.lease_seconds(kind)):
            return lease
        again = self.ledger.leases.acquire(self.keeper.claim, lease.target, self.lease_seconds(kind))
        if not isinstance(again, Lease):
            raise LeaseLostError
        return again

    def record(self, lease: Lease, action_id: UUID | None, *rows: tuple[Kind, dict[str, Any]]) -> None:
        """Write what became of an action, as the holder of the lease; nothing runs on the target any more.

        One who lost the lease must not: somebody else has looked since, and the last word counts.

        Raises:
            LeaseLostError: nothing was written.
        """
        with self.ledger.engine.begin() as connection:
            # Should this process die, the next attempt need not wait long.
            if not self.keeper.hold(connection, lease, self.margin):
                raise LeaseLostError
            entries = [Entry(self.incident_id, kind, entry, action_id, lease.fence) for kind, entry in rows]
            self.ledger.journal.append_all(connection, entries, held=True)
            point("in_outcome")
