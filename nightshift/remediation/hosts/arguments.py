"""The arguments of the actions on a service of a host, as the diagnosis saw it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.hosts.services import Manager


class OnHostService(ActionArguments):
    """Base: exactly the run of one service that was seen."""

    host: str
    """Name of the connection."""
    service: str
    """Its name in the catalogue."""
    manager: Manager
    name: str
    socket: str
    run: str
    """Of the run that was seen; another one means that somebody started it meanwhile."""
    runs: bool
    """Whether it ran then."""
    settle: float = Field(default=10, ge=1, le=300)
    """Seconds that it must run for afterwards."""


class RestartHostService(OnHostService):
    """End a service that runs, and start it again."""

    KIND: ClassVar[str] = "restart_host_service"


class StartHostService(OnHostService):
    """Start a service that does not run."""

    KIND: ClassVar[str] = "start_host_service"


class StopHostService(OnHostService):
    """End a service that runs: the way back from starting it."""

    KIND: ClassVar[str] = "stop_host_service"
