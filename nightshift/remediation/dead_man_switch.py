"""The dead man's switch: a process that is frozen in the middle of a change does not wake up to go on with it.

Checking a clock before acting leaves a gap: a process may be stopped (SIGSTOP, a debugger, an exhausted machine)
between the check and the command it sends. The kernel's timer has none. It runs on while the process stands still, and
ends it with SIGALRM before its next instruction.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nightshift.remediation.errors import LeaseLostError

_PRECISE_SECONDS = 0.05
"""A timer that took longer to set than this is set again: the process may have been frozen meanwhile."""


@contextmanager
def dead_man_switch(good_until: float) -> Iterator[None]:
    """End this process at that moment of its monotonic clock, unless what is done inside has ended before.

    Raises:
        LeaseLostError: it is too late already; nothing was begun.
    """
    before = _arm(good_until)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)


def _arm(good_until: float) -> tuple[float, float]:
    """Set the timer; returns what it was set to."""
    before: tuple[float, float] | None = None
    while True:
        asked = time.monotonic()
        if asked >= good_until:
            signal.setitimer(signal.ITIMER_REAL, *(before or (0.0, 0.0)))
            raise LeaseLostError("This run stood still for longer than its lease lasts; it stops.")
        replaced = signal.setitimer(signal.ITIMER_REAL, good_until - asked)
        before = before or replaced
        if time.monotonic() - asked < _PRECISE_SECONDS:
            return before
