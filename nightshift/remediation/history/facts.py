"""What the ledger and Prometheus know of the alerts of a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Firing:
    """One alert, from its beginning to its end, as its Alertmanager said."""

    system: str
    """Empty: it is no system's of the catalogue."""
    name: str
    """Hostile text."""
    identity: str
    """Source and fingerprint: the same labels are the same alert."""
    began: datetime
    ended: datetime | None
    """None: it fires."""
    effect: bool
    """It joined an incident as an effect of its cause."""


@dataclass(frozen=True)
class Answered:
    """An incident, and how people and flows answered it."""

    system: str
    name: str
    """The alert's."""
    opened: datetime
    acknowledged: datetime | None
    ended: datetime | None
    outcome: str | None
    """None: it has not ended."""
    silences: int
    """Times that a person silenced its alerts."""


@dataclass(frozen=True)
class Recorded:
    """What the ledger has of a time."""

    since: datetime
    until: datetime
    firings: tuple[Firing, ...]
    """The oldest first."""
    answered: tuple[Answered, ...]
    cut: bool = False
    """There was more than is read."""


@dataclass(frozen=True)
class Periods:
    """When an alert fired by Prometheus, as far as its resolution tells."""

    name: str
    """Hostile text."""
    times: int
    longest: float
    """Seconds, up to one step too short or too long."""


@dataclass(frozen=True)
class Measured:
    """What the Prometheus of a system says."""

    system: str
    prometheus: str
    periods: tuple[Periods, ...] = ()
    complaint: str = ""
    """Why nothing is known; empty: it answered."""
