"""What was seen of workers and their queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nightshift.remediation.caches.objects import Silence
from nightshift.remediation.compose.objects import Container, ServiceLook, Usage


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One worker that answered."""

    name: str
    """``celery@3f2a…``; by default with the short id of its container."""
    processes: int = 0
    """How many tasks it works on at the same time."""
    active: int = 0
    reserved: int = 0
    """Tasks that it has taken and not begun."""
    longest: float = 0.0
    """Seconds that its oldest task has run for."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A task that waits, without its arguments: those may be secrets."""

    queue: str
    task: str
    """Its name; hostile text."""
    id: str
    """Hostile text."""
    redelivered: bool
    """Whether a worker had it already and did not finish it."""
    size: int
    """Bytes."""
    taken: int = 0
    """How often a worker took it and never finished it, by the log."""


@dataclass(frozen=True, kw_only=True)
class WorkersDiagnosis:
    """Everything the planner gets to know."""

    engine: str
    """Name of the connection to the engine."""
    service: ServiceLook
    broker_silence: Silence | None = None
    """Why the broker does not answer; None: it does."""
    broker_service: ServiceLook | None = None
    """The broker's own service, where the policy names it."""
    queues: Mapping[str, int] = field(default_factory=dict)
    """Tasks that wait, by queue."""
    unacknowledged: int = 0
    """Tasks that workers have taken and not finished."""
    workers: Sequence[Worker] = ()
    head: Sequence[Message] = ()
    """The tasks whose turn is next, of each queue."""
    usages: Mapping[str, Usage] = field(default_factory=dict)
    """By container id, of all running containers of the project."""
    host_cpus: int = 0
    host_memory: int = 0
    """Bytes; 0: not asked for."""
    log: Sequence[str] = ()
    """Last lines, credentials masked, printable."""

    @property
    def waiting(self) -> int:
        """Tasks that wait in all queues."""
        return sum(self.queues.values())

    @property
    def processes(self) -> int:
        """How many tasks are worked on at the same time."""
        return sum(worker.processes for worker in self.workers)

    @property
    def busy(self) -> int:
        """How many are."""
        return sum(worker.active for worker in self.workers)

    def worker_of(self, container: Container) -> Worker | None:
        """The worker in a container, by its id in the worker's name; with one of each, they belong together."""
        named = next((worker for worker in self.workers if container.short_id in worker.name), None)
        if named is None and len(self.service.containers) == 1 and len(self.workers) == 1:
            return self.workers[0]
        return named

    @property
    def silent(self) -> tuple[Container, ...]:
        """Containers whose worker does not answer; by names of their own only all or none can be told."""
        if not self.workers:
            return tuple(self.service.containers)
        unknown = [one for one in self.service.containers if self.worker_of(one) is None]
        named = len(self.service.containers) - len(unknown)
        return tuple(unknown) if named == len(self.workers) else ()
