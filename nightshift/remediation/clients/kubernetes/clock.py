"""What time it is in a cluster: its API says so with every answer, and its objects are dated by that clock.

A worker whose clock is wrong by minutes would otherwise take fresh trouble for old, or old trouble for fresh.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

WITHIN = timedelta(seconds=3)
"""Two clocks this close are the same: an answer is dated in whole seconds, and travels."""


def worker_now() -> datetime:
    """By this machine's clock."""
    return datetime.now(UTC)


class Clock:
    """A cluster's clock, as far as its answers told of it."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def told(self, date: str | None) -> None:
        """Take in the ``Date`` of an answer that has just come; one that is missing or no date says nothing."""
        try:
            ahead = parsedate_to_datetime(date or "") - worker_now()
        except (TypeError, ValueError):
            return
        self._ahead = ahead if abs(ahead) > WITHIN else timedelta()

    def now(self) -> datetime:
        """By the cluster's clock; by the worker's before the first answer, and where they agree."""
        return worker_now() + self._ahead
