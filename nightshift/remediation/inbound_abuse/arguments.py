"""The arguments of blocking addresses for a time, and of letting them in again."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from nightshift.remediation.arguments import ActionArguments


class OnFirewall(ActionArguments):
    """Addresses and ports of one host."""

    host: str
    """Name of the connection."""
    chain: Literal["DOCKER-USER", "INPUT"]
    ports: tuple[int, ...] = Field(min_length=1, max_length=8)
    sources: tuple[str, ...] = Field(min_length=1, max_length=20)
    """Networks in canonical form: ``93.184.216.34/32``."""


class BlockSources(OnFirewall):
    """Drop what these addresses send to these ports, until the kernel's clock says that it is over."""

    KIND: ClassVar[str] = "block_sources"

    seconds: float = Field(gt=0, le=86400)
    most: int = Field(gt=0, le=40)
    """So many addresses may be blocked at one time, those from before counted."""
    never: tuple[str, ...] = ()
    """Networks that are not touched, looked at again in the moment it is done."""


class UnblockSources(OnFirewall):
    """Remove our blocks of these addresses; rules of others stay."""

    KIND: ClassVar[str] = "unblock_sources"
