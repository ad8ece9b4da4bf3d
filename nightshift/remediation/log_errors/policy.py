"""What may be done about a service of a host that logs errors; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.policy import Directory
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.services.health import LabelName, MetricName
from nightshift.remediation.text import printable


class ErrorCounter(Value):
    """The counter of errors that the alert is about."""

    prometheus: Annotated[str, ConnectionOf("http")]
    """Name of the connection."""
    name: MetricName
    labels: dict[LabelName, str] = Field(default_factory=dict, max_length=10)
    """That select the service's series."""
    type_label: LabelName | None = None
    """The label that tells sorts of errors apart; null: none."""
    window: Annotated[Seconds, Field(ge=1, le=3600)] = 300
    """Over which the rate is taken, as by the alert."""


class HostJobFailuresPolicy(Value):
    """Limits of the flow ``host-job-failures``."""

    TARGET: ClassVar[tuple[str, ...]] = ("host", "service")
    """Kinds of the target's path, outermost first."""

    services: dict[str, HostService] = Field(min_length=1, max_length=20)
    """By their name in the target."""
    errors: ErrorCounter
    most_per_second: float = Field(default=0.1, gt=0)
    """The symptom: more errors."""
    page_above: float = Field(default=1.0, gt=0)
    """Errors a second above which a person is called at once, and nothing is restarted."""
    look_back: Annotated[Seconds, Field(ge=1, le=86400)] = 600
    """How far back the log is read."""
    writes: tuple[Directory, ...] = Field(default=(), max_length=10)
    """Directories that it writes to: looked at for room and permissions."""
    python: Directory | None = None
    """The interpreter that it runs with, whose packages are checked; null: they are not."""
    full_percent: float = Field(default=97, gt=0, le=100)
    """From here on a filesystem counts as full."""
    wait: Annotated[Seconds, Field(ge=1, le=3600)] = 600
    """How long the rate may take to fall; it looks back."""
    hold: Annotated[Seconds, Field(ge=1, le=7200)] = 600
    """How long it must stay low afterwards."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        service, most = printable(target.part("service")), f"{self.most_per_second:g} errors a second"
        return Symptom(
            what=f"{service} has more than {most}",
            solved=f"at most {most}",
            measured_by=f"{self.errors.name} in {self.errors.prometheus}, over {format_duration(self.errors.window)}",
            hold=self.hold,
            allowances=(f"up to {format_duration(self.wait)} for the rate to fall, since it looks back",),
        )
