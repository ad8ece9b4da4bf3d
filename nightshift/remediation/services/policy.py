"""What may be done about a service that does not answer; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.durations import Seconds
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.services.health import HealthChecks, RunningMetric
from nightshift.remediation.text import printable

Words = Annotated[str, StringConstraints(max_length=300)]


class _Answering(Value):
    crashes: int = Field(default=3, ge=1, le=100)
    """Starts by its own manager after which another one would not help."""
    wait: Annotated[Seconds, Field(ge=1, le=300)] = 30
    """How long it may take to answer after a start."""
    hold: Annotated[Seconds, Field(ge=1, le=3600)] = 60
    """It must answer for so long on end."""


class ServiceUnresponsivePolicy(_Answering):
    """Limits of the flow ``service-unresponsive``: a service of Docker Compose."""

    TARGET: ClassVar[tuple[str, ...]] = ("compose", "service")
    """Kinds of the target's path, outermost first."""

    health: HealthChecks
    database: Annotated[str | None, ConnectionOf("postgres")] = None
    """Asked before anything is restarted; null: it needs none."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """The port of the host that leads to it; null: none."""
    host: Annotated[str | None, ConnectionOf("ssh")] = None
    """The host that is asked who holds the port; null: nobody is asked."""
    recovery: Words = ""
    """How the application is brought up elsewhere, for people."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        service, paths = printable(target.part("service")), ", ".join(self.health.paths)
        return Symptom(
            what=f"{service} does not answer",
            solved=f"{service} answers on {paths} with a 2xx",
            measured_by="requests of the worker",
            hold=self.hold,
            allowances=(f"up to {self.wait:g} s until it answers after a start",),
        )


class HostServiceUnresponsivePolicy(_Answering):
    """Limits of the flow ``host-service-unresponsive``: a service of a host, whoever keeps it."""

    TARGET: ClassVar[tuple[str, ...]] = ("host", "service")
    """Kinds of the target's path, outermost first."""
    ON_WINDOWS: ClassVar[bool] = True
    """The host may be a Windows host."""

    services: dict[str, HostService] = Field(min_length=1, max_length=20)
    """By their name in the target."""
    metric: RunningMetric | None = None
    health: HealthChecks | None = None

    @model_validator(mode="after")
    def _measured(self) -> HostServiceUnresponsivePolicy:
        if self.metric is None and self.health is None:
            raise ValueError("say how to tell that the service works: a metric, or health")
        return self

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        service = printable(target.part("service"))
        measured = [f"{self.metric.name} of {self.metric.prometheus}"] if self.metric is not None else []
        measured += ["requests of the worker"] if self.health is not None else []
        return Symptom(
            what=f"{service} does not run, or does not answer",
            solved=f"{service} runs, the same run throughout, and says so",
            measured_by=" and ".join(["its manager on the host", *measured]),
            hold=self.hold,
            allowances=(f"up to {self.wait:g} s until it says so after a start",),
        )
