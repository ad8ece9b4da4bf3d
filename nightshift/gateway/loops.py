"""Background work: a function that is run again and again in a thread, and that no failure stops."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from nightshift.gateway.metrics import Metrics
from nightshift.remediation.errors import TemporaryError
from nightshift.remediation.ledger.inbox import NEW_ALERTS
from nightshift.remediation.ledger.sessions import KEEPALIVES

log = logging.getLogger(__name__)

_LONGEST_PAUSE_SECONDS = 15.0


class Loop:
    """Runs ``work`` every ``interval`` seconds, at once when woken, and again at once while it had something to do."""

    def __init__(self, name: str, work: Callable[[], int], interval: float, metrics: Metrics) -> None:
        self.name = name
        self._work = work
        self._interval = interval
        self._metrics = metrics
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Do not wait for the interval to pass."""
        self._wake.set()

    def stop(self) -> None:
        """Ask it to end after the current round."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout: float) -> None:
        """Wait for its end."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            # Cleared before the work: what arrives meanwhile wakes the next round.
            self._wake.clear()
            pause = self._round()
            if pause and not self._stop.is_set():
                self._wake.wait(pause)

    def _round(self) -> float:
        """Work once; how long to pause."""
        try:
            busy = self._work()
        except (SQLAlchemyError, psycopg.Error, TemporaryError) as error:
            cause = str(error) if isinstance(error, TemporaryError) else type(error).__name__
            return self._failed(cause)
        except Exception:  # a mistake of ours: the other rounds, and the other loops, must go on
            if self._failures == 0:
                log.exception("background work failed", extra={"work": self.name})
            return self._failed("unexpected error")
        if self._failures:
            log.info("background work goes on", extra={"work": self.name, "failed_rounds": self._failures})
            self._failures = 0
        return 0.0 if busy else self._interval

    def _failed(self, cause: str) -> float:
        if self._failures == 0:  # once per outage, not once per second
            log.warning("background work has to wait", extra={"work": self.name, "cause": cause})
        self._failures += 1
        self._metrics.loop_failures.labels(self.name).inc()
        return min(_LONGEST_PAUSE_SECONDS, self._interval * 2.0 ** min(self._failures, 10))


class Listener:
    """Listens for new alerts, whichever gateway took them in; one round of a loop."""

    def __init__(self, database_url: str, wake: Callable[[], None]) -> None:
        self._url = database_url
        self._wake = wake
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def listen(self) -> int:
        """Wait up to a second for a notification.

        Raises:
            psycopg.Error: the ledger went away; the next round connects again.
        """
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5, **KEEPALIVES)
                self._connection.execute(f"listen {NEW_ALERTS}")
                self._wake()  # something may have come while nobody listened
            for _ in self._connection.notifies(timeout=1.0, stop_after=1):
                self._wake()
        except psycopg.Error:
            self.close()
            raise
        return 1

    def close(self) -> None:
        """Stop listening."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
