"""How many incidents may be on their way to a flow run at once: as many as Prefect and its workers take.

Little's law: what is on its way is what is taken per second times how long that takes. Taking is observed, how long
it may take is bounded, and so is the number: more than that would only wait in Prefect, where nothing goes before it.
Nothing is remembered: every gateway computes the same from what the ledger knows. See
``docs/decisions/0047-dispatch-follows-what-is-taken.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WINDOW_SECONDS = 20.0
"""What was taken within this time says how fast it goes now."""
MEMORY_SECONDS = 600.0
"""The fastest of this time says how long it takes while nothing waits."""
PATIENCE_SECONDS = 1.0
"""An incident may be on its way for this long, or twice the fastest if that is longer. What is on its way is a process
already, with memory of its own: more of them are no faster once the processor is busy."""
LOST_SECONDS = 10.0
"""What is on its way for this long, or two and a half times its patience, takes no place any more."""
START = 3
"""So many while nothing speaks against it: a storm begins with them."""
FLOOR = 2
"""So many while nothing is taken: they find out when it goes on."""
_HEADROOM = 1.25
"""By how much more is tried than is taken, so that what became faster is noticed."""
_SHORTEST_SECONDS = 0.5
"""Over less time than this no speed is believed."""


@dataclass(frozen=True)
class Pace:
    """What was seen of Prefect and the workers."""

    taken: int = 0
    """Incidents that flow runs took within :data:`WINDOW_SECONDS`."""
    since: float = 0.0
    """Seconds since the first of them was sent; as far as it matters, the window's length."""
    fastest: float = 0.0
    """Seconds from sending to taking, the shortest within :data:`MEMORY_SECONDS`; 0: not known."""
    oldest: float = 0.0
    """Seconds for which the oldest one that was sent has not been taken."""

    @property
    def patience(self) -> float:
        """Seconds that an incident may be on its way before it is too long."""
        return max(PATIENCE_SECONDS, 2 * self.fastest)

    @property
    def gives_up_after(self) -> float:
        """Seconds after which what was sent takes no place any more: it got lost, or its worker died."""
        return max(LOST_SECONDS, 2.5 * self.patience)

    def most(self, bound: int) -> int:
        """How many may be on their way at once, ``bound`` at most."""
        rate = self.taken / max(_SHORTEST_SECONDS, min(self.since, WINDOW_SECONDS))
        least = FLOOR if self.oldest > self.patience else START
        return min(bound, max(least, math.ceil(rate * self.patience * _HEADROOM)))
