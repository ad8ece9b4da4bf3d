"""What was seen of a project's tests, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Finding
from nightshift.remediation.suites.facts import CoverageReport, SuiteDiagnosis, SuiteReport
from nightshift.remediation.suites.history import is_critical, lines_in_words
from nightshift.remediation.suites.planner import in_words, is_fresh, is_wrong
from nightshift.remediation.suites.policy import Project, TestSuitePolicy
from nightshift.remediation.suites.tickets import below_target
from nightshift.remediation.text import counted, listed, printable

_MOST = 20


def findings_of(diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> tuple[Finding, ...]:
    """Most telling first."""
    return tuple(_findings(diagnosis, policy))


def _findings(diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> Iterator[Finding]:
    words, measured = in_words(diagnosis, policy), diagnosis.measured
    yield Finding(title=words[0].upper() + words[1:], troubling=is_wrong(diagnosis, policy) is not False)
    if measured.complaint:
        yield Finding(title="The metrics are not known", detail=printable(measured.complaint), troubling=True)
    if measured.fell_at is not None and measured.best is not None:
        title = f"Coverage fell at {_clock(measured.fell_at)}"
        yield Finding(title=title, detail=f"the best of the last hour is {measured.best:.1f} %", troubling=True)
    yield from _reports(diagnosis, policy)
    load = f"{diagnosis.load_per_cpu:.1f} programs for each of {counted(diagnosis.cpus, 'CPU')}"
    yield Finding(title=f"Load of the host: {load}")


def _reports(diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> Iterator[Finding]:
    reports: list[tuple[str, SuiteReport | CoverageReport | None, str]] = [
        ("durations", diagnosis.report, diagnosis.report_complaint)
    ]
    if policy.about != "slow":
        reports.append(("coverage", diagnosis.coverage, diagnosis.coverage_complaint))
    for what, report, complaint in reports:
        if report is None:
            yield Finding(title=f"No report of {what}", detail=printable(complaint), troubling=True)
            continue
        age = format_duration(max(0.0, diagnosis.now - report.written_ns / 1e9))
        yield Finding(
            title=f"Report of {what} from {age} ago", troubling=not is_fresh(report.written_ns, diagnosis, policy)
        )
    if diagnosis.history is None:
        yield Finding(title="History is not known", detail=printable(diagnosis.history_complaint))
    else:
        authors = dict.fromkeys(printable(commit.author, 60) for commit in diagnosis.history.commits)
        title = counted(len(diagnosis.history.commits), "commit") + f" in {format_duration(policy.changes_within)}"
        yield Finding(title=title, detail=listed(list(authors)))


def evidence_markdown(project: Project, diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> str:
    """Slowest tests, or modules below the target; and the commits that may be why."""
    parts = [_tests(diagnosis)] if policy.about == "slow" else [_modules(project, diagnosis, policy)]
    return "\n\n".join([*parts, _commits(diagnosis)])


def ranking_text(project: Project, diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> str:
    """The same ranking as plain text: what a run showed, where the evidence is from before it."""
    if policy.about == "slow":
        report = diagnosis.report
        slowest = report.slowest[:_MOST] if report is not None else ()
        return "\n".join(f"{one.seconds:8.2f} s  {printable(one.name, 160)}" for one in slowest)
    return "\n".join(
        f"{one.percent:6.1f} %  {printable(one.name, 120)}  lines {lines_in_words(one.missing)}"
        for one in below_target(project, diagnosis, policy)[:_MOST]
    )


@serves("test_watcher.TestWatcherSlowTests: r1.1")
def _tests(diagnosis: SuiteDiagnosis) -> str:
    report = diagnosis.report
    rows = [(one.name, f"{one.seconds:.2f}") for one in report.slowest] if report is not None else []
    return _table(("Slowest test", "Seconds"), rows)


def _modules(project: Project, diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> str:
    rows = [
        (
            one.name + (" (critical)" if is_critical(one.name, project.critical) else ""),
            f"{one.percent:.1f} %",
            f"{one.missing_lines:,} of {one.statements:,}",
            lines_in_words(one.missing),
        )
        for one in below_target(project, diagnosis, policy)
    ]
    return _table((f"Module below {policy.target_percent:g} %", "Covered", "Without a test", "Lines"), rows)


def _commits(diagnosis: SuiteDiagnosis) -> str:
    commits = diagnosis.history.commits if diagnosis.history is not None else ()
    rows = [(one.id, _clock(one.at), one.author, one.subject, listed(list(one.files))) for one in commits]
    return _table(("Commit", "At", "Author", "Subject", "Files"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(printable(cell, 160) for cell in row)} |" for row in rows[:_MOST]]
    more = len(rows) - _MOST
    return "\n".join([*lines, *([f"\nand {more:,} more"] if more > 0 else [])])


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M UTC")
