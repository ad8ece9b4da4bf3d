"""Which requests the trouble is made of: by endpoint, and by status where that is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.text import printable


@dataclass(frozen=True, kw_only=True)
class Share:
    """One part of the trouble. Names come from labels and are hostile."""

    endpoint: str
    status: str = ""
    value: float
    """Errors per second, or seconds."""

    @property
    def words(self) -> str:
        """For people: ``/api/v1/signals with 503: 0.4 a second``."""
        what = printable(self.endpoint, 100) or "all"
        return (
            f"{what} with {printable(self.status, 10)}: {self.value:.3g} a second"
            if self.status
            else (f"{what}: {self.value:.3g}")
        )


def share_of(shares: Sequence[Share], *statuses: str) -> float:
    """How much of the whole, from 0 to 1, has a status that begins so; 0 where statuses are not counted."""
    every = sum(share.value for share in shares)
    of = sum(share.value for share in shares if share.status.startswith(statuses))
    return of / every if every > 0 else 0.0
