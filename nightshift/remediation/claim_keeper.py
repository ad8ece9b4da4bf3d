"""Keeps a flow run's claim on its incident alive, and knows by its own clock when it can no longer be trusted."""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from nightshift.remediation.errors import LeaseLostError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim
from nightshift.remediation.ledger.leases import Lease
from nightshift.remediation.ledger.sessions import answers_within

_BEATS = 3
"""Renewals within the life of a claim: two may fail or hang before it is lost."""


def _now() -> float:
    """Seconds of a clock that nobody can set, and that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class ClaimKeeper:
    """Renews in the background. A worker cut off from the ledger stops by itself before anyone else may start."""

    def __init__(self, ledger: Ledger, claim: Claim, seconds: float) -> None:
        self.claim = claim
        self._ledger = ledger
        self._seconds = seconds
        self._good_until = -math.inf
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew_for_ever, name="claim-keeper", daemon=True)

    def __enter__(self) -> Self:
        """Begin.

        Raises:
            LeaseLostError: the claim is lost already.
            SQLAlchemyError: the ledger does not answer.
        """
        # How long ago the claim was granted is not known: its answer may have been long on its way.
        self._renew()
        self.check()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def check(self) -> None:
        """Make sure that this run still owns its incident.

        Raises:
            LeaseLostError: it does not, or cannot know.
        """
        if self._lost:
            raise LeaseLostError("Another run has taken over this incident; this one stops.")
        if _now() >= self._good_until:
            raise LeaseLostError("The claim on this incident could not be renewed in time; this run stops.")

    def hold(self, connection: Connection, lease: Lease, lease_seconds: float, seconds: float = 0) -> bool:
        """Keep the claim as usual from now on, or for this long if that is longer, and renew a lease with it.

        In the caller's transaction, which must not be committed when this is False: one of them is lost. It has the
        journal's lock from then on.
        """
        return self._ledger.leases.hold(connection, lease, lease_seconds, self.claim, max(seconds, self._seconds))

    def _renew_for_ever(self) -> None:
        while not self._lost and not self._stop.wait(self._seconds / _BEATS):
            # The ledger may be back for the next beat; until then the clock decides.
            with suppress(SQLAlchemyError):
                self._renew()

    def _renew(self) -> None:
        # Counted from before the question: the ledger's clock started later than ours.
        asked = _now()
        with answers_within(self._seconds / _BEATS):
            self._lost = not self._ledger.incidents.renew(self.claim, self._seconds)
        self._good_until = asked + self._seconds
