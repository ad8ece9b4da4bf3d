"""What may be done about files that wait to be tested; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.durations import Seconds
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.program_settings.places import AdjustableNumber, SettingInFile
from nightshift.remediation.requests.measures import MetricName
from nightshift.remediation.suites.policy import Percent, SuiteMetrics
from nightshift.remediation.text import printable

TargetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9:._-]{0,120}$")]


class FileQueuePolicy(Value):
    """Limits and permissions of :func:`file_queue_backlog`."""

    TARGET: ClassVar[tuple[str, ...]] = ("host", "service")
    """Kinds of the target's path, outermost first."""

    services: dict[str, HostService] = Field(min_length=1, max_length=20)
    """What works the queue off, by its name in the target."""
    prometheus: Annotated[str, ConnectionOf("http")]
    queue: MetricName = "test_watcher_changed_files_current"
    """A gauge: files that wait."""
    durations: MetricName = "test_watcher_test_execution_duration_seconds_bucket"
    """A histogram: how long one takes, in seconds."""
    window: Annotated[Seconds, Field(ge=60, le=86400)] = 1800
    """Of the rate of durations."""
    most_waiting: int = Field(default=10, ge=0)
    """The alert's own limit."""
    slow_seconds: float = Field(default=120, gt=0)
    """When 95 % take up to more than this, they are slow."""
    project: TargetName | None = None
    """What people name to the flow test-suite-quality when they are slow: ``watcher1:backend``; null: nothing."""
    cpu_percent: Percent = 70
    """Above it the host has no room for more workers."""
    memory_percent: Percent = 75
    workers: AdjustableNumber | None = None
    """The setting that says how many; null: that is changed by people only."""
    keeps_queue: bool = False
    """Whether what waits is still there after a restart of the program; else a person decides, in any mode."""
    wait: Annotated[Seconds, Field(ge=1, le=7200)] = 900
    """So long it may take until fewer wait."""

    @model_validator(mode="after")
    def _can_be_changed(self) -> FileQueuePolicy:
        if self.workers is not None and not isinstance(self.workers.setting, SettingInFile):
            raise ValueError("workers.setting: name a file on the host (type: file)")
        if self.workers is not None and self.workers.factor <= 1:
            raise ValueError("workers.factor: more workers take a factor above 1")
        return self

    @property
    def pause(self) -> float:
        """Seconds between two looks after a change; three in a row must find it short."""
        return min(30.0, self.wait / 20)

    @property
    def metrics(self) -> SuiteMetrics:
        """How durations are measured."""
        return SuiteMetrics(prometheus=self.prometheus, durations=self.durations, window=self.window)

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("service"))
        return Symptom(
            what=f"more than {self.most_waiting:,} files wait for {name}",
            solved=f"at most {self.most_waiting:,} files wait for {name}, and they do not become more",
            measured_by=f"{self.queue}, through {printable(self.prometheus)}",
            hold=2 * self.pause,
            allowances=(f"up to {self.wait:g} s until fewer wait",),
        )
