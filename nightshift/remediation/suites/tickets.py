"""The texts of tickets: what developers need to make tests faster, and to cover what no test runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Proposal
from nightshift.remediation.suites.facts import Module, SuiteDiagnosis, SuiteReport
from nightshift.remediation.suites.history import authors_of, is_critical, lines_in_words, uncovered_changes
from nightshift.remediation.suites.policy import Project, TestSuitePolicy
from nightshift.remediation.text import counted, listed, printable

MOST = 5
_LARGE = 0.4
"""Share of all seconds from which on one file of tests is worth being split."""
_WHO = "tests are written and changed by whoever knows what the code should do"


def tickets(project: Project, diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> Iterator[Proposal]:
    """Most urgent first."""
    report = diagnosis.report
    if report is not None and report.failed:
        title = f"Ticket: {counted(report.failed, 'test')} of {report.tests:,} failed in the newest report"
        yield Proposal(title=title, reason="a test that fails covers less, and says that something is broken")
    if policy.about == "slow":
        yield from _slow(diagnosis)
    elif policy.about == "drop":
        yield from _uncovered(diagnosis)
    else:
        yield from _low(project, diagnosis, policy)


@proposes("test_watcher.TestWatcherSlowTests: r1.2 r1.3 r1.4")
def _slow(diagnosis: SuiteDiagnosis) -> Iterator[Proposal]:
    report = diagnosis.report
    if report is None or not report.slowest:
        return
    slowest = [f"{printable(one.name, 120)} {one.seconds:.1f} s" for one in report.slowest[:MOST]]
    share = sum(one.seconds for one in report.slowest[:MOST]) / report.seconds if report.seconds else 0
    yield Proposal(
        title=f"Ticket: make the slowest tests faster, {counted(len(slowest), 'test')} take {share:.0%} of the time",
        detail="; ".join(slowest),
        reason="fixtures that are not needed, calls of real services and large data are the usual causes",
    )
    yield from _split(report)
    yield from _parallel(diagnosis, report)


@proposes("test_watcher.TestWatcherSlowTests: r1.5")
def _split(report: SuiteReport) -> Iterator[Proposal]:
    for module in report.modules[:1]:
        if len(report.modules) > 1 and module.tests > 1 and module.seconds >= _LARGE * report.seconds:
            yield Proposal(
                title=f"Ticket: split {printable(module.name, 120)}",
                detail=f"{counted(module.tests, 'test')}, {module.seconds:.1f} of {report.seconds:.1f} s",
                reason="files are what is run beside each other",
            )


@proposes("test_watcher.TestWatcherSlowTests: r1.6")
def _parallel(diagnosis: SuiteDiagnosis, report: SuiteReport) -> Iterator[Proposal]:
    free = int(diagnosis.cpus - diagnosis.load)
    if free < 2 or report.tests < 2:
        return
    longest = report.slowest[0].seconds
    best = max(longest, report.seconds / free)
    yield Proposal(
        title=f"Run the tests in parallel: pytest-xdist with -n {free}",
        detail=f"{format_duration(report.seconds)} would become {format_duration(best)} at best; "
        f"the longest test alone takes {format_duration(longest)}; the host has {counted(diagnosis.cpus, 'CPU')}",
        reason="tests that share files, ports or tables break when they run beside each other: developers decide",
    )


@proposes("test_watcher.TestCoverageDrop: r1.2")
def _uncovered(diagnosis: SuiteDiagnosis) -> Iterator[Proposal]:
    history = diagnosis.history
    for name, lines in sorted(uncovered_changes(diagnosis).items(), key=lambda one: -_number(one[1]))[:MOST]:
        authors = authors_of(name, history.commits) if history is not None else ()
        who = listed([printable(author, 60) for author in authors]) or "its authors"
        yield Proposal(
            title=f"Ticket for {who}: test the new lines of {printable(name, 120)}",
            detail=f"{counted(_number(lines), 'new line')} without a test: {lines_in_words(lines)}",
            reason=f"coverage fell after this change; {_WHO}",
        )


@proposes("test_watcher.TestCoverageLow: r1.3 r1.4")
def _low(project: Project, diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> Iterator[Proposal]:
    ranked = below_target(project, diagnosis, policy)
    for module in ranked[:MOST]:
        yield Proposal(
            title=f"Ticket: test {printable(module.name, 120)}, covered to {module.percent:.0f} %",
            detail=f"{counted(module.missing_lines, 'line')} without a test: {lines_in_words(module.missing)}",
            reason=f"the target is {policy.target_percent:g} %; {_WHO}",
        )
    coverage = diagnosis.coverage
    if coverage is None or not ranked:
        return
    needed = round(coverage.statements * (policy.target_percent - coverage.percent) / 100)
    if needed > 0:
        yield Proposal(
            title=f"Plan time for tests: {counted(needed, 'statement')} more have to be covered",
            detail=f"{coverage.percent:.1f} % of {coverage.statements:,} now; {counted(len(ranked), 'module')} below "
            f"the target of {policy.target_percent:g} %",
            reason="how developers spend their time is decided by people",
        )


@serves("test_watcher.TestCoverageLow: r1.2")
def below_target(project: Project, diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> tuple[Module, ...]:
    """Modules below the target: critical ones first, then those with most uncovered lines."""
    modules = diagnosis.coverage.modules if diagnosis.coverage is not None else ()
    below = (module for module in modules if module.percent < policy.target_percent)
    return tuple(
        sorted(below, key=lambda one: (not is_critical(one.name, project.critical), -one.missing_lines, one.name))
    )


def _number(lines: tuple[tuple[int, int], ...]) -> int:
    return sum(last - first + 1 for first, last in lines)
