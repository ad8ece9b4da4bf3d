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
        self._thread = threading.Thread(target=self._run, name="fake-kubernetes-controllers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        with self._store.lock:
            self._store.lock.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._store.lock:
                before = self._store.version
                now = time.monotonic()
                due = earliest(*(c.reconcile(now) for c in self._controllers))
                if self._store.version == before and not self._stop.is_set():
                    left = _IDLE if due is None else max(0.001, min(_IDLE, due - time.monotonic()))
                    self._store.lock.wait(left)
            # Requests come between two rounds.
            time.sleep(0.002)
