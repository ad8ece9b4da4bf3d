"""Whose processes are the system's own on a host, which jobs are known, and what may be done about the rest."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.policy import Percent
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.heap_profile import HeapProfile
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.requests.measures import LabelName, MetricName
from nightshift.remediation.text import printable
from nightshift.remediation.workers.policy import ServiceName

Account = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
_HOLDS_THE_HOST = frozenset({"root", "postgres", "redis", "mysql", "sshd", "messagebus", "nobody", "daemon"})


class OwnService(Value):
    """A part of the system on the host, by how its processes are known: exactly one way."""

    on_host: HostService | None = None
    """Processes of this service of systemd or supervisor."""
    service: ServiceName | None = None
    """Processes in the containers of this service of the Compose project."""
    account: Account | None = None
    """Processes of this account outside of containers, such as jobs that people start."""
    may_end: bool = True
    """Whether a runaway process of it may be ended, on a person's word; never its main process."""
    series: dict[LabelName, Line] = Field(default={})
    """Labels of its ``process_resident_memory_bytes`` in Prometheus; empty: nobody scrapes it."""

    @model_validator(mode="after")
    def _known_in_one_way(self) -> OwnService:
        if sum(way is not None for way in (self.on_host, self.service, self.account)) != 1:
            raise ValueError("write exactly one of on_host, service, account")
        if self.on_host is not None and self.on_host.manager == "windows":
            raise ValueError("processes are measured on Linux only: name a service of systemd or supervisor")
        if self.account in _HOLDS_THE_HOST:
            raise ValueError(f"processes of {self.account} are the host's own; name the account of the system")
        return self


class KnownJob(Value):
    """Work that is expected to take all it gets, such as a backtest or a test run."""

    name: Line
    """For people."""
    commands: tuple[Line, ...] = ()
    """Patterns (``*`` any text) of its command, which is the program with its script or module."""
    of: tuple[Line, ...] = ()
    """Names of services all of whose work is this job, such as workers that compute backtests."""
    at_most: Seconds = 4 * 3600
    """A process with such a command that is older is overdue, and no longer expected."""

    @model_validator(mode="after")
    def _is_known_somehow(self) -> KnownJob:
        if not self.commands and not self.of:
            raise ValueError("say how it is known: commands (patterns), or of (services)")
        return self


class OnHost(Value):
    """What both flows about processes of a host share."""

    prometheus: Annotated[str, ConnectionOf("http")]
    """Where the alert's metrics are."""
    docker: Annotated[str | None, ConnectionOf("docker")] = None
    """The Compose project whose containers run on the host; null: none."""
    services: dict[Line, OwnService] = Field(default={}, max_length=30)
    """The system's own parts on the host. No process outside of them is ever touched."""
    known_jobs: tuple[KnownJob, ...] = Field(default=(), max_length=20)
    job_wait: Annotated[Seconds, Field(ge=1, le=86400)] = 3600
    """So long is waited for a known job to end before a person is told that it did not."""
    sample: Annotated[Seconds, Field(ge=0.5, le=30)] = 5
    """Between the two looks that tell who uses the processors."""
    leak_watch: Annotated[Seconds, Field(ge=60, le=86400)] = 3 * 3600
    """Over so long memory must have grown to count as a leak; one large piece of work grows and falls."""
    leak_least: Annotated[Seconds, Field(ge=10, le=86400)] = 1800
    """A process that was started anew since must have grown for at least so long."""
    growth_per_10_minutes: int = Field(default=10_000_000, gt=0)
    """Bytes. Slower growth is no leak."""
    restart_leaking: bool = False
    """Whether a service that leaks may be started anew, once."""
    restart_wait: Annotated[Seconds, Field(ge=1, le=300)] = 60
    """How long a service may take to work after that."""

    @model_validator(mode="after")
    def _names_what_there_is(self) -> OnHost:
        if self.docker is None and any(own.service is not None for own in self.services.values()):
            raise ValueError("services of Compose need docker, the connection to their project")
        unknown = {name for job in self.known_jobs for name in job.of} - set(self.services)
        if unknown:
            raise ValueError(f"known_jobs name {', '.join(sorted(unknown))}, which does not stand in services")
        if self.leak_least > self.leak_watch:
            raise ValueError("leak_least must not be longer than leak_watch")
        return self


class HostLoadPolicy(OnHost):
    """Limits of the flow ``host-saturation``."""

    TARGET: ClassVar[tuple[str, ...]] = ("host",)
    """Kinds of the target's path, outermost first."""

    resource: Literal["cpu", "memory"]
    """What there is too little of."""
    metric: MetricName | None = None
    """A gauge in percent that the alert looks at; null: node_exporter's metrics."""
    window: Annotated[Seconds, Field(ge=5, le=3600)] = 300
    """node_exporter's CPU is measured over so long."""
    at_most_percent: Percent = 80
    """Of the host; the alert's own limit."""
    hungry_percent: float = Field(default=50, gt=0, le=10000)
    """Of one processor: a process that uses at least this is looked into."""
    grace: Annotated[Seconds, Field(ge=1, le=300)] = 30
    """Between SIGTERM and SIGKILL."""
    wait: Annotated[Seconds, Field(ge=1, le=7200)] = 900
    """So long what was done may take to show; at least ``window``."""
    hold: Annotated[Seconds, Field(ge=1, le=7200)] = 300
    """The measurement must stay below the limit for so long on end."""

    @model_validator(mode="after")
    def _waits_for_its_window(self) -> HostLoadPolicy:
        if self.wait < self.window and self.metric is None and self.resource == "cpu":
            raise ValueError("wait must not be shorter than window, or nothing could ever be seen to help")
        return self

    @property
    def what(self) -> str:
        """For people."""
        return "CPU" if self.resource == "cpu" else "memory"

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        host = printable(target.part("host"))
        return Symptom(
            what=f"the host {host} is short of {self.what}",
            solved=f"at most {self.at_most_percent:g} % of the {self.what} of {host} in use",
            measured_by=f"{self.metric or 'node_exporter'} through {printable(self.prometheus)}, as the alert",
            hold=self.hold,
            allowances=(f"the window of the measurement, {format_duration(self.window)}",),
        )


class ServiceMemoryPolicy(OnHost):
    """Limits of the flow ``service-memory-growth``."""

    TARGET: ClassVar[tuple[str, ...]] = ("host", "service")
    """Kinds of the target's path, outermost first."""

    at_most_bytes: int = Field(default=10**9, ge=1)
    """The symptom is growth above this; the alert's own limit."""
    profile: HeapProfile | None = None
    """Where its heap profile is, read before a restart; null: it offers none."""
    wait: Annotated[Seconds, Field(ge=1, le=7200)] = 300
    """So long a fresh start may take to show in Prometheus."""
    hold: Annotated[Seconds, Field(ge=1, le=86400)] = 3600
    """Its memory must stay below the limit for so long on end."""

    @model_validator(mode="after")
    def _measures_every_service(self) -> ServiceMemoryPolicy:
        unmeasured = [name for name, own in self.services.items() if not own.series]
        if unmeasured or not self.services:
            raise ValueError(
                f"services need series, the labels of their process_resident_memory_bytes: {', '.join(unmeasured)}"
            )
        return self

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        service = printable(target.part("service"))
        return Symptom(
            what=f"the memory of {service} grows steadily",
            solved=f"the memory of {service} is at {self.at_most_bytes / 1e6:,.0f} MB or less",
            measured_by=f"process_resident_memory_bytes through {printable(self.prometheus)}, as the alert",
            hold=self.hold,
            allowances=("the time that a fresh start takes",),
        )
