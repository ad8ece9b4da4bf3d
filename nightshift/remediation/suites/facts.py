"""What was seen of a project's tests: their reports, its history, and the metrics of whoever runs them."""

from __future__ import annotations

from pydantic import Field

from nightshift.remediation.models import Value

Lines = tuple[int, int]
"""First and last."""


class SlowTest(Value):
    """A test and how long it took, with its fixtures, in seconds."""

    name: str
    seconds: float


class SlowModule(Value):
    """The tests of one file together."""

    name: str
    tests: int
    seconds: float


class SuiteReport(Value):
    """The newest JUnit report."""

    tests: int
    failed: int
    skipped: int
    seconds: float
    p95: float
    """Seconds, of single tests."""
    slowest: tuple[SlowTest, ...] = ()
    modules: tuple[SlowModule, ...] = ()
    """Slowest first."""
    written_ns: int


class Module(Value):
    """A file of the program."""

    name: str
    statements: int
    missing_lines: int
    missing: tuple[Lines, ...] = ()

    @property
    def percent(self) -> float:
        """Covered of its statements."""
        return 100 * (self.statements - self.missing_lines) / self.statements if self.statements else 100.0


class CoverageReport(Value):
    """The newest report of coverage."""

    percent: float
    statements: int
    modules: tuple[Module, ...] = ()
    """Most uncovered lines first, at most 300."""
    written_ns: int


class Commit(Value):
    """A commit of the last hours."""

    id: str
    author: str
    at: float
    subject: str
    files: tuple[str, ...] = ()


class History(Value):
    """What changed of late."""

    commits: tuple[Commit, ...] = ()
    """Newest first."""
    changed: dict[str, tuple[Lines, ...]] = Field(default_factory=dict)
    """New and changed lines by file, of all commits together."""


class Measured(Value):
    """What Prometheus has of the alert's own series."""

    p95: float | None = None
    coverage: float | None = None
    best: float | None = None
    """The best coverage of the last hour."""
    fell_at: float | None = None
    """Unix time at which coverage fell to where it is; None: it did not, or that is not to be seen."""
    complaint: str = ""


class SuiteDiagnosis(Value):
    """Everything that the planner knows."""

    now: float
    """By the host's clock."""
    load: float
    """Runnable programs, over the last minute."""
    cpus: int
    report: SuiteReport | None = None
    report_complaint: str = ""
    coverage: CoverageReport | None = None
    coverage_complaint: str = ""
    history: History | None = None
    history_complaint: str = ""
    measured: Measured = Measured()

    @property
    def load_per_cpu(self) -> float:
        """Runnable programs for each CPU."""
        return self.load / self.cpus
