"""A service of a host: how the catalogue names it, and what was seen of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.disk_space.policy import Directory
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Value

Manager = Literal["systemd", "supervisor", "windows"]
ServiceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.@-]{0,240}$")]
"""A unit of systemd with its suffix, a program of supervisor, or a Windows service by its short name."""
WindowsPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]:(\\[A-Za-z0-9 ._()-]{1,200})+$", max_length=240)]
"""Such as ``C:\\test_watcher\\logs\\test_watcher.log``."""


class HostService(Value):
    """A service of a host, as the catalogue names it. No other one is ever looked at or changed."""

    manager: Manager = "systemd"
    name: ServiceName
    """``test-watcher.service`` for systemd, ``group:program`` for supervisor, ``Spooler`` for Windows."""
    socket: Directory = "/run/supervisor.sock"
    """Where supervisor listens; a socket with a password is refused."""
    log: Directory | WindowsPath | None = None
    """The file it logs to; null: the journal of systemd, the file that supervisor writes its output to, or none."""
    script: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./-]{0,200}$")] = ""
    """What stands on its command line and may run only once, such as ``test_watcher.py``; empty: not looked for."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """The TCP port it listens on; null: none."""
    settle: Annotated[Seconds, Field(ge=1, le=300)] = 10
    """How long it must run after a start for that to count as one."""

    @model_validator(mode="after")
    def _named_as_its_manager_does(self) -> HostService:
        if self.manager == "systemd" and not self.name.endswith(".service"):
            raise ValueError("write the unit of systemd with its suffix, such as test-watcher.service")
        if self.log is not None and self.log.startswith("/") == (self.manager == "windows"):
            raise ValueError("write the log as its host names files: /var/log/it.log, or C:\\logs\\it.log on Windows")
        return self


@dataclass(frozen=True, kw_only=True)
class ServiceState:
    """How a service is at one moment, in the same words for both managers."""

    state: str
    """``running``, ``starting``, ``stopping``, ``stopped``, ``failed`` or ``unknown``; empty: there is none."""
    run: str = ""
    """What tells this run of it, or the last one, from any other."""
    detail: str = ""
    """Its manager's own word; hostile text."""
    pid: int = 0
    last_pid: int = 0
    exit_code: int | None = None
    """Of the run that ended, or the number of the signal; None: it runs, or never did."""
    by_signal: bool = False
    out_of_memory: bool = False
    restarts: int = 0
    """How often its manager started it again by itself."""
    switched_off: bool = False
    """Whether somebody saw to it that it does not start with the host."""
    account: str = ""
    """Who it runs as; empty: not told, which for systemd is root."""
    anew: bool = False
    """After a start: whether another run has begun."""

    @property
    def runs(self) -> bool:
        """Whether it runs now."""
        return self.state == "running"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A process, as far as it may be shown."""

    pid: int
    command: str
    """The program and its script; hostile text."""
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class ServiceEvidence:
    """What is kept of a service before anything is done to it."""

    service: ServiceState
    log: Sequence[str] = ()
    """Newest lines, oldest first; hostile text."""
    log_age: float | None = None
    """Seconds since its log file was written; None: not known."""
    log_unseen: str = ""
    """Why it could not be read."""
    copies: Sequence[Running] = ()
    """Processes of the same program that are not the service's main one."""
    holders: Sequence[Running] = ()
    """Who listens on its port."""


@dataclass(frozen=True, kw_only=True)
class WritableDirectory:
    """A directory that the service writes to."""

    path: str
    there: bool = True
    used_percent: float | None = None
    """None: not known."""
    read_only: bool = False
    writable: bool = True
    """By the account of the service."""
