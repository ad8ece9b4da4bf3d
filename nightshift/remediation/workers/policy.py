"""Limits of the flows about Celery workers: written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable

QueueName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$")]


class Workers(Value):
    """Workers of one service, and where their work comes from."""

    TARGET: ClassVar[tuple[str, ...]] = ("compose", "service")
    """Kinds of the target's path, outermost first."""

    broker: Annotated[str, ConnectionOf("redis")]
    """Name of the connection to the Redis server that holds the queues."""
    broker_service: ServiceName | None = None
    """Its service in the same project; null: it is somewhere else, and never started from here."""
    broker_persistent: bool | None = None
    """Whether it keeps its queues on disk; null: by its command line."""
    queues: tuple[QueueName, ...] = Field(default=("celery",), min_length=1, max_length=20)
    wait: Annotated[Seconds, Field(ge=1, le=300)] = 60
    """How long a container may take to work after a start."""
    poison_after: int = Field(default=2, ge=1, le=20)
    """A task over which a worker died so often is set aside, when it would be next again."""
    watch: Annotated[Seconds, Field(ge=1, le=3600)] = 120
    """How long workers must answer, and the queue must not grow, afterwards."""


class WorkerUnavailablePolicy(Workers):
    """Limits of the flow ``worker-unavailable``."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        service = printable(target.part("service"))
        return Symptom(
            what=f"no worker of {service} answers",
            solved=f"every container of {service} has a worker that answers, and its queues do not grow",
            measured_by="ping over the broker, and the lengths of the queues",
            hold=self.watch,
            allowances=("half of the watch time for workers to connect",),
        )


class QueueBacklogPolicy(Workers):
    """Limits of the flow ``queue-backlog``."""

    most_waiting: int = Field(ge=1)
    """The symptom: more tasks wait in all its queues together."""
    ceiling: int = Field(default=1, ge=1, le=50)
    """Most containers of the service; 1: never another one."""
    slow_after: Annotated[Seconds, Field(ge=1)] = 600
    """A task that runs for longer holds up the others."""
    cpu_free_below: float = Field(default=0.7, gt=0, le=1)
    """Share of the host's processors in use by the project above which no container is added."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        service = printable(target.part("service"))
        return Symptom(
            what=f"more than {self.most_waiting:,} tasks wait for {service}",
            solved="fewer wait, or ever fewer",
            measured_by="the lengths of the queues in the broker",
            hold=self.watch,
            allowances=("a queue that shrinks steadily",),
        )


class JobFailurePolicy(Workers):
    """Limits of the flow ``job-failure-rate``."""

    most_failing: float = Field(default=0.1, gt=0, lt=1)
    """The symptom: a larger share of the tasks fails."""
    measure: Annotated[Seconds, Field(ge=1, le=3600)] = 600
    """How far back in the log tasks are counted."""
    least: int = Field(default=10, ge=1)
    """Fewer tasks than these say nothing."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        service = printable(target.part("service"))
        return Symptom(
            what=f"more than {self.most_failing:.0%} of the tasks of {service} fail",
            solved=f"at most {self.most_failing:.0%} of those that end since the repair",
            measured_by="the log of the workers",
            hold=self.watch,
        )
