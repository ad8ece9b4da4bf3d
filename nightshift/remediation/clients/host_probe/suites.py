"""A project's tests on a host: ``pytest.durations``, ``pytest.coverage``, ``git.recent_changes``, ``audit.run``."""

from __future__ import annotations

from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.clients.host_probe.disk import parse
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Value
from nightshift.remediation.suites.arguments import RunAudit, RunTests
from nightshift.remediation.suites.facts import SuiteDiagnosis
from nightshift.remediation.suites.policy import Project
from nightshift.remediation.text import printable

LOOKING_SECONDS = 60.0
LONGEST_RUN = 1200.0
"""The longest that a policy may ask for."""


class CheckTimes(Value):
    """When a report was written, 0 for never, and the load of its host."""

    written_ns: int
    load: float
    cpus: int


@serves(
    "test_watcher.TestWatcherSlowTests: d1",
    "test_watcher.TestCoverageDrop: d1 d3 d4",
    "test_watcher.TestCoverageLow: d1 d2 r1.1",
)
def look_at_suite(host: Host, project: Project, since: float) -> SuiteDiagnosis:
    """The newest reports and the commits since then; what cannot be read has its reason.

    Follows test_watcher.TestWatcherSlowTests.d1, TestCoverageDrop.d1, d3, d4 and TestCoverageLow.d1, d2, r1.1. The
    document runs the whole suite to look at it; here that is an action of its own.

    Args:
        host: where the project lies.
        project: which.
        since: Unix time.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    answer = ask(
        host,
        f"look at the tests in {printable(project.directory)}",
        "suite",
        seconds=LOOKING_SECONDS,
        account=project.account,
        directory=project.directory,
        junit=project.junit,
        coverage=project.coverage,
        since=since,
    )
    return parse(SuiteDiagnosis, answer)


def check_times(host: Host, report: str) -> CheckTimes:
    """When the report was written.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    what = f"look at {printable(report)}"
    return parse(CheckTimes, ask(host, what, "check_times", seconds=LOOKING_SECONDS, report=report))


def run_tests(host: Host, arguments: RunTests) -> bool:
    """Whether a test failed.

    Raises:
        TargetChangedError: they run already.
        CommandFailedError: they could not run, or took too long; the reports are as before.
        NightshiftError: as :func:`ask`.
    """
    answer = ask(
        host,
        f"run the tests in {printable(arguments.directory)}",
        RunTests.KIND,
        seconds=arguments.rule.timeout,
        account=arguments.account,
        directory=arguments.directory,
        junit=arguments.junit,
        coverage=arguments.coverage,
        python=arguments.rule.python,
        tests=list(arguments.rule.tests),
        source=list(arguments.rule.source),
    )
    return bool(answer["failed"])


def run_audit(host: Host, arguments: RunAudit) -> None:
    """Run it to its end.

    Raises:
        TargetChangedError: it runs already.
        CommandFailedError: it failed, or took too long.
        NightshiftError: as :func:`ask`.
    """
    ask(
        host,
        f"run the audit in {printable(arguments.directory)}",
        RunAudit.KIND,
        seconds=arguments.rule.timeout,
        account=arguments.account,
        directory=arguments.directory,
        command=list(arguments.rule.command),
    )


def check_unchanged(host: Host, report: str, written_ns: int, most_load: float | None = None) -> None:
    """Raises TargetChangedError when a newer report was written meanwhile, or the host is too busy by now."""
    now = check_times(host, report)
    if now.written_ns != written_ns:
        raise TargetChangedError(f"{printable(report)} was written anew meanwhile.")
    if most_load is not None and now.load / now.cpus > most_load:
        raise TargetChangedError(f"The host is too busy by now: {now.load / now.cpus:.1f} programs for each CPU.")
