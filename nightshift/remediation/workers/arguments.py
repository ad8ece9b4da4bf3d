"""The arguments of the action on a queue."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from nightshift.remediation.arguments import ActionArguments


class SetAside(ActionArguments):
    """Move messages from a queue to a list beside it, or back: by their ids, never their contents."""

    KIND: ClassVar[str] = "set_messages_aside"

    redis: str
    """Name of the connection to the broker."""
    source: str
    destination: str
    """Keys of Redis lists."""
    messages: tuple[str, ...] = Field(min_length=1, max_length=20)
    """Id of each task."""
    back: bool = False
    """Whether they return to the end of their queue."""
