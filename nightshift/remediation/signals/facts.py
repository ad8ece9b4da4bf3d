"""What was seen of signals and of what users decided about them."""

from __future__ import annotations

from nightshift.remediation.models import Value


class Tally(Value):
    """Signals of one sort. Each counts once, by what most of those said who decided about it."""

    name: str = ""
    """Instrument and side, source, or hour."""
    signals: int = 0
    rejected: int = 0
    approved: int = 0
    divided: int = 0
    """As many said yes as no."""

    @property
    def decided(self) -> int:
        """Signals about which anybody decided."""
        return self.rejected + self.approved + self.divided

    @property
    def undecided(self) -> int:
        """Signals about which nobody decided; no part of any share."""
        return self.signals - self.decided

    @property
    def rejected_percent(self) -> float:
        """Of the decided ones; 0 when there are none."""
        return 100 * self.rejected / self.decided if self.decided else 0.0


class Results(Value):
    """How signals ended that users approved."""

    closed: int = 0
    won: int = 0


class Market(Value):
    """What the declared metrics say."""

    volatility: float | None = None
    trend: float | None = None
    complaint: str = ""
    """Why it is not known."""


class SignalDiagnosis(Value):
    """Everything that the review knows."""

    last_hour: Tally
    hours: tuple[Tally, ...] = ()
    """Of the last 24, the newest first; hours without a signal are there, too."""
    instruments: tuple[Tally, ...] = ()
    """Of the last hour, most rejected first, at most 50."""
    sources: tuple[Tally, ...] | None = None
    """The same; None: what made a signal is not kept."""
    results: Results | None = None
    """Of the last 24 hours; None: not kept."""
    results_complaint: str = ""
    counted_percent: float | None = None
    """Rejected of all decisions, as the application counts them; None: not measured."""
    counter_complaint: str = ""
    market: Market | None = None
    """None: nothing is declared that tells about it."""
