"""What a host says of its load: its processors and memory, and the processes that take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from nightshift.remediation.compose.objects import Container, ServiceLook, Usage
from nightshift.remediation.hosts.services import ServiceState
from nightshift.remediation.models import Value


class Process(Value):
    """One process, with what tells it from every other one."""

    pid: int
    started: int
    """Clock ticks after the host's start."""
    age: float
    """Seconds."""
    executable: str
    """Empty: the account may not see it."""
    identity: str
    """Device and inode of the executable."""
    owner: int
    account: str
    """Name of the owner."""
    command: str
    """The program with its script or module, without further arguments; hostile text."""
    unit: str
    container: str
    program: str
    """Of supervisor, that it is or descends from."""
    main: bool
    """Whether its unit or container ends with it."""
    cpus: float
    """Processors in use, 1.0 = one of them, measured between two looks."""
    memory: int
    """Bytes, resident."""


class HostLook(Value):
    """A host at one moment."""

    boot: str
    cpus: int
    busy: float
    """Percent of all processors, measured between two looks."""
    memory_total: int
    memory_available: int
    processes: tuple[Process, ...] = ()
    """The hungriest, by processors and by memory."""

    @property
    def memory_used_percent(self) -> float:
        """Without what the kernel gives back when it is needed."""
        return 100 * (1 - self.memory_available / max(1, self.memory_total))


class MemoryPoint(Value):
    """Resident memory at one moment."""

    at: float
    """Unix time."""
    amount: float
    """Bytes."""


class Evidence(Value):
    """What a running process tells of itself without being stopped; numbers as the kernel writes them."""

    memory: dict[str, str] = Field(default_factory=dict)
    """By kind, from ``smaps_rollup`` and ``status``."""
    threads: tuple[str, ...] = ()
    """The hungriest: number, name and processors in use; printable."""
    files: int | None = None
    """Open ones; None: the account may not see it."""


@dataclass(frozen=True, kw_only=True)
class ProjectContainer:
    """A container of the system's Compose project on the host, with what it uses."""

    container: Container
    usage: Usage | None = None
    """None: it does not run."""
    profile: tuple[str, ...] = ()
    """Lines of its log that speak of a profile; printable, credentials masked."""


@dataclass(frozen=True, kw_only=True)
class HostLoad:
    """Everything that the planner gets to know."""

    host: str
    percent: float | None
    """In use, as Prometheus has it and the alert saw it; None: it cannot tell."""
    unknown: str = ""
    """Why not."""
    look: HostLook
    services: Mapping[str, ServiceLook] = field(default_factory=dict)
    """Of the Compose project, by name."""
    containers: Sequence[ProjectContainer] = ()
    states: Mapping[str, ServiceState] = field(default_factory=dict)
    """Of the services of the host whose memory is looked at, by their name in the policy."""
    growth: Mapping[str, Sequence[MemoryPoint]] = field(default_factory=dict)
    """Memory over time of the services whose series the runbook names, by service."""

    @property
    def services_of(self) -> Mapping[str, str]:
        """The Compose service by id of its container."""
        return {one.container.id: one.container.service for one in self.containers}
