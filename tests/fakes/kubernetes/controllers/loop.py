"""The thread in which all controllers run."""

from __future__ import annotations

import threading
import time

from tests.fakes.kubernetes.controllers.base import Controller, earliest
from tests.fakes.kubernetes.store import Store

_IDLE = 1.0


class Loop:
    """Calls every controller after each change, and when one of them asked to be called."""

    def __init__(self, store: Store, controllers: list[Controller]) -> None:
        self._store, self._controllers = store, controllers
        self._stop = threading.Event()
        self._go = threading.Event()
        self._go.set()
        self._settled = -1
        self.crash: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="fake-kubernetes-controllers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        with self._store.lock:
            self._store.lock.notify_all()
        self._thread.join()

    def pause(self) -> None:
        """Nothing moves until ``settle``."""
        self._go.clear()

    def settle(self, seconds: float = 5) -> None:
        """Go on, and wait until everything that needs no more time has happened."""
        self._go.set()
        with self._store.lock:
            self._store.lock.notify_all()
            self._store.lock.wait_for(lambda: self._settled == self._store.version or self.crash, seconds)

    def _run(self) -> None:
        try:
            self._rounds()
        except Exception as error:  # noqa: BLE001 - a mistake of the fake: told when the cluster is closed
            self.crash = error

    def _rounds(self) -> None:
        while not self._stop.is_set():
            self._go.wait(_IDLE)
            if not self._go.is_set():
                continue
            with self._store.lock:
                before = self._store.version
                now = time.monotonic()
                due = earliest(*(c.take_turn(now) for c in self._controllers))
                if self._store.version == before and not self._stop.is_set():
                    self._settled = before
                    self._store.lock.notify_all()
                    left = _IDLE if due is None else max(0.001, min(_IDLE, due - time.monotonic()))
                    self._store.lock.wait(left)
            # Requests come between two rounds.
            time.sleep(0.002)
