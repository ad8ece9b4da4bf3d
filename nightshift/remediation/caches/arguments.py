"""The arguments of the one action on a Redis server."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from nightshift.remediation.arguments import ActionArguments


class SetRedisMemory(ActionArguments):
    """Another limit of its memory, as long as it runs; its eviction policy stays."""

    KIND: ClassVar[str] = "set_redis_memory"

    redis: str
    """Name of the connection."""
    run_id: str
    """Of the run of the server that was diagnosed."""
    policy: str
    """The eviction policy that was diagnosed."""
    from_maxmemory: int = Field(ge=0)
    to_maxmemory: int = Field(gt=0)
    """Bytes."""
