"""Where a project and its reports are on its host, and what is asked of its tests: written once per runbook."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.policy import Directory
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.requests.measures import MetricName
from nightshift.remediation.text import printable

Percent = Annotated[float, Field(gt=0, le=100)]
AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
Program = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9/_.-]{1,250}$")]
Inside = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]{0,200}$")]
"""A path below the project's directory: ``tests``, ``backend``."""
Argument = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{1,300}$")]


class TestRun(Value):
    """How the suite is run once, where its reports are missing or old: never as root, with the lowest priority."""

    __test__: ClassVar[bool] = False

    python: Program
    """The interpreter that has pytest, and coverage where ``source`` is named."""
    tests: tuple[Inside, ...] = Field(default=("tests",), min_length=1, max_length=20)
    source: tuple[Inside, ...] = Field(default=(), max_length=20)
    """What is measured; nothing: durations alone."""
    timeout: Annotated[Seconds, Field(ge=5, le=1200)] = 600
    """Then it is ended, and there is no report."""
    most_load: float = Field(default=0.7, gt=0)
    """It is not begun on a host with more runnable programs than this per CPU."""


class AuditRun(Value):
    """The project's own audit, run once after a fall of coverage."""

    command: tuple[Argument, ...] = Field(min_length=1, max_length=20)
    """The program and its arguments, in the project's directory."""
    report: Directory
    """A file that it writes, by which it is seen whether it was done."""
    timeout: Annotated[Seconds, Field(ge=5, le=1200)] = 600


class Project(Value):
    """A project under git on the host."""

    directory: Directory
    account: AccountName
    """Who owns it: git, the tests and the audit run as this account. Never root."""
    junit: Directory
    """The JUnit report that pytest writes with ``--junitxml``."""
    coverage: Directory | None = None
    """The report of ``coverage json``; null: coverage is not measured."""
    run: TestRun | None = None
    """Null: reports are only read."""
    audit: AuditRun | None = None
    critical: tuple[Inside, ...] = Field(default=(), max_length=50)
    """Modules, or directories of modules, that count first."""

    @model_validator(mode="after")
    def _fits(self) -> Project:
        if self.account == "root":
            raise ValueError("tests of a project do not run as root: name the account that owns it")
        if self.run is not None and bool(self.run.source) != (self.coverage is not None):
            raise ValueError("run.source and coverage belong together: what is measured, and where it is reported")
        return self


class SuiteMetrics(Value):
    """The series that the alerts are made of."""

    prometheus: Annotated[str, ConnectionOf("http")]
    durations: MetricName = "test_watcher_test_execution_duration_seconds_bucket"
    coverage: MetricName = "audit_agent_coverage_percent"
    window: Annotated[Seconds, Field(ge=60, le=86400)] = 1800
    """Of the rate of durations, as in the alert."""


class TestSuitePolicy(Value):
    """Limits and permissions of :func:`test_suite_quality`."""

    __test__: ClassVar[bool] = False
    TARGET: ClassVar[tuple[str, ...]] = ("host", "project")
    """Kinds of the target's path, outermost first."""

    about: Literal["slow", "drop", "low"]
    """What the alert says: tests are slow, coverage fell, coverage is low."""
    projects: dict[str, Project] = Field(min_length=1, max_length=20)
    """By their name in the target."""
    metrics: SuiteMetrics | None = None
    p95_seconds: float = Field(default=120, gt=0)
    coverage_percent: Percent = 80
    """The alert's own limit."""
    target_percent: Percent = 85
    """What each module should have; modules below are ranked."""
    changes_within: Annotated[Seconds, Field(ge=60, le=7 * 86400)] = 7200
    """So old commits may be why: the hour in which it fell, and the time until somebody was told."""
    fresh: Annotated[Seconds, Field(ge=60, le=7 * 86400)] = 3600
    """Older reports are old."""
    wait: Annotated[Seconds, Field(ge=1, le=3600)] = 600
    """So long the metric may take after a run."""

    @model_validator(mode="after")
    def _can_be_answered(self) -> TestSuitePolicy:
        if self.target_percent < self.coverage_percent:
            raise ValueError("target_percent must not be below coverage_percent")
        unmeasured = [name for name, project in self.projects.items() if project.coverage is None]
        if self.about != "slow" and unmeasured:
            raise ValueError(f"projects.{unmeasured[0]}.coverage: name its report, this runbook is about coverage")
        return self

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that it is over."""
        name = printable(target.part("project"))
        if self.about == "slow":
            what = f"95 % of the test runs of {name} take up to more than {self.p95_seconds:g} s"
            solved = f"95 % of the test runs of {name} take at most {self.p95_seconds:g} s"
        else:
            what = f"the tests of {name} cover less than {self.coverage_percent:g} %"
            solved = f"the tests of {name} cover at least {self.coverage_percent:g} %"
        through = f", and {self.metrics.prometheus}" if self.metrics is not None else ""
        measured_by = f"the project's newest reports{through}"
        return Symptom(what=what, solved=solved, measured_by=measured_by, hold=1)
