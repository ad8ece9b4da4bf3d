"""The arguments of the one new action: items that wait for too long are expired."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from nightshift.remediation.activity.policy import StuckQueue
from nightshift.remediation.arguments import ActionArguments


class ExpireItems(ActionArguments):
    """Let items expire that nobody decided about in time. None is approved, none deleted."""

    KIND: ClassVar[str] = "expire_items"

    queue: StuckQueue
    ids: tuple[str, ...] = Field(min_length=1, max_length=1000)
    """Their keys as text, oldest first: nobody else is meant, however many have become old since."""
