"""The arguments of the actions on a host's processes, as the diagnosis saw the world."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from nightshift.remediation.arguments import ActionArguments


class ProcessIdentity(ActionArguments):
    """Base: one process, so that no other one can be taken for it."""

    host: str
    """Name of the connection."""
    pid: int = Field(gt=1)
    started: int
    """Clock ticks after the host's start."""
    boot: str
    """Which start of the host that was."""
    executable: str
    """Path of the program that it runs."""
    identity: str = Field(min_length=1)
    """Device and inode of that program."""
    owner: int
    """User id."""
    unit: str
    """The systemd unit that it belongs to; empty: none."""
    container: str
    """Id of the container that it runs in; empty: in none."""


class EndProcess(ProcessIdentity):
    """Ask one process to end, and kill it when it does not."""

    KIND: ClassVar[str] = "end_process"

    grace: float = Field(default=30, ge=1, le=300)
    """Seconds that it has to end by itself."""
    cpus: float = Field(default=0, ge=0)
    """It is left alone when it uses fewer processors than this by now: then it runs away no more."""
