"""What may be done when a PostgreSQL server does not answer; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.databases.host_cluster import PEOPLE, HostCluster
from nightshift.remediation.databases.pool_policy import ServiceRestart
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable


class DataVolume(Value):
    """Where the server's files are."""

    host: Annotated[str, ConnectionOf("ssh")]
    mount: Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f]*$", max_length=255)]
    """The mount point on the host, not the path in the container."""
    full_percent: Annotated[float, Field(gt=0, le=100)] = 97
    """Above this nothing is restarted: recovery writes, and would fail again and again."""


class DatabaseUnavailablePolicy(Value):
    """Limits of the flow ``database-unavailable``."""

    TARGET: ClassVar[tuple[str, ...]] = ("database",)
    """Kinds of the target's path, outermost first."""

    service: ServiceRestart | None = None
    """The service of Docker Compose that it runs in; null: a restart is proposed."""
    on_host: HostCluster | None = None
    """The service of a host that it runs as, where that is no container, and what it may be recovered from."""
    volume: DataVolume | None = None
    """Looked at before anything is restarted; null: only the server's own log tells that it is full."""
    disk_runbook: Annotated[str, StringConstraints(max_length=100)] = ""
    """The alert whose runbook frees space there, for people: ``DiskSpaceCritical``."""
    recovery: Annotated[str, StringConstraints(max_length=300)] = ""
    """How the database comes back from a verified backup, for people."""
    clients: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=80)], ...], Field(max_length=10)
    ] = ()
    """Applications that have to connect again afterwards, for people: ``backend``."""
    wait: Annotated[Seconds, Field(ge=1, le=7200)] = 600
    """Recovery after a crash may take so long."""
    wait_moving: Annotated[Seconds, Field(ge=1, le=7200)] = 3600
    """A recovery that is seen to get on may take so long."""
    stands: Annotated[Seconds, Field(ge=1, le=7200)] = 180
    """A recovery that stays at one place for so long is a person's."""
    hold: Annotated[Seconds, Field(ge=1, le=7200)] = 60
    """It must answer for so long on end."""

    @model_validator(mode="after")
    def _runs_in_one_place(self) -> DatabaseUnavailablePolicy:
        if self.service is not None and self.on_host is not None:
            raise ValueError("name a service of Docker Compose or one of a host (on_host), not both")
        return self

    @property
    def people(self) -> int:
        """How many different people what it allows may take."""
        return PEOPLE if self.on_host is not None and self.on_host.recover is not None else 1

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("database"))
        return Symptom(
            what=f"{name} does not answer",
            solved=f"{name} takes connections, answers a statement and takes writes",
            measured_by="a connection and a statement, as the applications make them",
            hold=self.hold,
            allowances=(f"recovery after a crash, up to {self.wait:g} s",),
        )
