"""Freeze windows: times in which nothing is changed, as people write them: a cron expression and a duration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, StringConstraints

from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Value

_ANY_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def _known_time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("write a time zone of the IANA database such as UTC or Europe/Berlin")
    return name


def _cron(expression: str) -> str:
    if len(expression.split()) != 5:
        raise ValueError("write five fields: minute, hour, day of month, month, day of week")
    try:
        next(CronSim(expression, _ANY_DAY))
    except CronSimError as error:
        raise ValueError(f"this is no cron expression: {str(error)[:1].lower()}{str(error)[1:]}") from None
    except StopIteration:
        raise ValueError("this never happens") from None
    return expression


TimeZone = Annotated[str, AfterValidator(_known_time_zone)]
"""A time zone of the IANA database."""


class Freeze(Value):
    """A time that comes again and again, in which nothing is changed; diagnosing, paging and escalating go on."""

    cron: Annotated[str, StringConstraints(max_length=200), AfterValidator(_cron)]
    """When it begins: minute, hour, day of month, month, day of week. ``0 18 * * 5`` is Friday, 18:00."""
    duration: Annotated[Seconds, Field(gt=0)]
    """How long it lasts; when the clocks change meanwhile, until both that time has passed and the clock shows it."""
    time_zone: TimeZone | None = None
    """IANA time zone of the expression; null: the one of the system."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    """Why, for people."""
    runbooks: tuple[str, ...] = ()
    """Alerts whose runbooks it holds for; empty: all of the system."""

    def holds_for(self, runbook: str) -> bool:
        """Whether it is a freeze of this runbook."""
        return not self.runbooks or runbook in self.runbooks

    def window_at(self, moment: datetime) -> Window | None:
        """The window that this moment lies in."""
        # Stepping backwards leaves out the second it begins in, unless a part of it has passed.
        ticks = CronSim(self.cron, self._local(moment + timedelta(microseconds=1)), reverse=True)
        window = self._window(next(ticks))
        return window if moment < window.end else None

    def next_window(self, moment: datetime) -> Window:
        """The first window that begins after this moment."""
        return self._window(next(CronSim(self.cron, self._local(moment))))

    def _local(self, moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(self.time_zone or "UTC"))

    def _window(self, start: datetime) -> Window:
        length = timedelta(seconds=self.duration)
        by_the_clock = (start + length).astimezone(UTC)
        elapsed = start.astimezone(UTC) + length
        return Window(self, start.astimezone(UTC), max(by_the_clock, elapsed))


@dataclass(frozen=True)
class Window:
    """One freeze on one day."""

    freeze: Freeze
    start: datetime
    end: datetime

    def __str__(self) -> str:
        zone = ZoneInfo(self.freeze.time_zone or "UTC")
        return f"until {self.end.astimezone(zone):%Y-%m-%d %H:%M %Z}: {self.freeze.reason}"


def frozen(freezes: Iterable[Freeze], runbook: str, moment: datetime) -> Window | None:
    """The window that forbids changes by this runbook now; of several the one that ends last."""
    windows = (freeze.window_at(moment) for freeze in freezes if freeze.holds_for(runbook))
    return max((window for window in windows if window is not None), key=lambda window: window.end, default=None)
