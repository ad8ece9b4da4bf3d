"""How long something has stayed as it is, by a clock of this process that nobody can set.

What another process promised to renew, and did not for so long, is over, however often the clock of the database or
of a host was set meanwhile. See ``docs/decisions/0030-leases-end-by-silence.md``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Any


class Silence:
    """Remembers since when it has seen each thing unchanged. The first look at anything starts its time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._seen: dict[Any, tuple[Any, float]] = {}
        self._lock = threading.Lock()

    def of(self, thing: Any, state: Any, *, asked: float) -> float:
        """Seconds for which this thing has certainly been in this state.

        Args:
            thing: whatever tells it from others.
            state: differs after each change.
            asked: when it was asked for its state, by :attr:`clock`; it may have changed since.
        """
        with self._lock:
            known, since = self._seen.get(thing, (None, 0.0))
            if known != state:
                # Counted from the answer on: it may have come into this state a moment before.
                known, since = self._seen[thing] = (state, self.clock())
            return max(0.0, asked - since)

    def forget_others(self, things: Collection[Any], *, asked: float) -> None:
        """Only these existed when it was asked."""
        with self._lock:
            self._seen = {thing: seen for thing, seen in self._seen.items() if thing in things or seen[1] >= asked}
