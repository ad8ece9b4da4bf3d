"""Hours of the day in the time zone of a system."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from nightshift.remediation.models import Value


class Hours(Value):
    """Hours of the days on which something is expected."""

    from_hour: Annotated[int, Field(ge=0, le=23)]
    to_hour: Annotated[int, Field(ge=1, le=24)]
    """Exclusive; earlier than ``from_hour``: over midnight."""
    weekdays_only: bool = True

    def contain(self, moment: datetime, time_zone: str) -> bool:
        """Whether this moment is one of them."""
        local = moment.astimezone(ZoneInfo(time_zone))
        if self.weekdays_only and local.weekday() > 4:
            return False
        if self.from_hour < self.to_hour:
            return self.from_hour <= local.hour < self.to_hour
        return local.hour >= self.from_hour or local.hour < self.to_hour
