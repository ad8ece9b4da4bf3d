"""What is done about slow tests and coverage: at most the project's own tests and audit are run once. Pure.

Follows test_watcher.TestWatcherSlowTests, TestCoverageDrop and TestCoverageLow of the inventory. Tests are written and
made faster by people: they get a ticket's text, with durations, lines and authors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Action, Plan, Quantity, Refusal, Risk, Target
from nightshift.remediation.suites.arguments import RunAudit, RunTests
from nightshift.remediation.suites.facts import CoverageReport, SuiteDiagnosis, SuiteReport
from nightshift.remediation.suites.policy import Project, TestSuitePolicy
from nightshift.remediation.suites.tickets import tickets
from nightshift.remediation.text import printable

_ONE = Quantity(amount=1, unit="runs")
_RUNNING = "Running the tests"


def in_words(diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> str:
    """What the alert is about, in numbers."""
    measured = diagnosis.measured
    if policy.about == "slow":
        report = diagnosis.report
        words = [f"p95 of test runs {format_duration(measured.p95)}"] if measured.p95 is not None else []
        if report is not None:
            words.append(f"{report.tests:,} tests in {format_duration(report.seconds)} by the newest report")
        return "; ".join(words) or "how long tests take is not known"
    words = [f"{measured.coverage:.1f} % as exported"] if measured.coverage is not None else []
    if diagnosis.coverage is not None:
        words.append(f"{diagnosis.coverage.percent:.1f} % by the newest report")
    return f"coverage {' and '.join(words)}" if words else "what the tests cover is not known"


def is_wrong(diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> bool | None:
    """Whether it is as the alert says, by its own series or by a fresh report; None: it cannot be told."""
    measured = diagnosis.measured
    if policy.about == "slow":
        return None if measured.p95 is None else measured.p95 > policy.p95_seconds
    values = [measured.coverage] if measured.coverage is not None else []
    if diagnosis.coverage is not None and is_fresh(diagnosis.coverage.written_ns, diagnosis, policy):
        values.append(diagnosis.coverage.percent)
    return min(values) < policy.coverage_percent if values else None


def is_fresh(written_ns: int, diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> bool:
    """Whether a report is young enough to speak of now."""
    return diagnosis.now - written_ns / 1e9 <= policy.fresh


def plan_suite(
    target: Target,
    project: Project,
    diagnosis: SuiteDiagnosis,
    policy: TestSuitePolicy,
    audit_ns: int = 0,
    done: Collection[str] = (),
) -> Plan:
    """What is run, and what people get to know.

    Args:
        target: host and project.
        project: as declared.
        diagnosis: what was seen.
        policy: limits.
        audit_ns: when the audit's report was written.
        done: kinds of action that were done for this incident before; they are not done twice.
    """
    name = printable(target.part("project"), 80)
    if is_wrong(diagnosis, policy) is False:
        return Plan(goal=f"Nothing to do: {in_words(diagnosis, policy)}.", target=target)
    found = [one for one in _runs(target, project, diagnosis, policy, audit_ns) if _kind(one) not in done]
    return Plan(
        goal=f"Bring before the developers of {name}: {in_words(diagnosis, policy)}",
        target=target,
        actions=tuple(one for one in found if isinstance(one, Action)),
        refusals=tuple(one for one in found if isinstance(one, Refusal)),
        proposals=tuple(tickets(project, diagnosis, policy)),
        expected=policy.symptom(target).solved,
    )


def plan_tickets(target: Target, project: Project, diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> Plan:
    """What people get to know after a run: nothing is run again."""
    plan = plan_suite(target, project, diagnosis, policy)
    return plan.model_copy(update={"actions": (), "refusals": ()})


def _kind(one: Action | Refusal) -> str:
    return one.kind if isinstance(one, Action) else ""


def _runs(
    target: Target, project: Project, diagnosis: SuiteDiagnosis, policy: TestSuitePolicy, audit_ns: int
) -> Iterator[Action | Refusal]:
    if (stale := _stale(project, diagnosis, policy)) is not None:
        yield _run_tests(target, project, diagnosis, stale)
    if policy.about == "drop" and project.audit is not None:
        yield _run_audit(target, project, diagnosis, audit_ns)


def _stale(project: Project, diagnosis: SuiteDiagnosis, policy: TestSuitePolicy) -> str | None:
    """Why the reports do not speak of now; None: they do."""
    wanted: list[tuple[str, SuiteReport | CoverageReport | None, str]] = [
        ("durations", diagnosis.report, diagnosis.report_complaint)
    ]
    if project.coverage is not None and policy.about != "slow":
        wanted.append(("coverage", diagnosis.coverage, diagnosis.coverage_complaint))
    for what, report, complaint in wanted:
        if report is None:
            return f"there is no report of {what}: {printable(complaint)}"
        if not is_fresh(report.written_ns, diagnosis, policy):
            return f"the report of {what} is {format_duration(diagnosis.now - report.written_ns / 1e9)} old"
    return None


def _run_tests(target: Target, project: Project, diagnosis: SuiteDiagnosis, why: str) -> Action | Refusal:
    rule = project.run
    if rule is None:
        return Refusal(what=_RUNNING, reason=f"{why}; no way to run them is declared", lifted_by="run in the project")
    if diagnosis.load_per_cpu > rule.most_load:
        busy = f"the host is busy: {diagnosis.load_per_cpu:.1f} programs for each CPU, at most {rule.most_load:g}"
        return Refusal(what=_RUNNING, reason=f"{why}; {busy}", lifted_by="a calmer host")
    arguments = RunTests(
        directory=project.directory,
        account=project.account,
        junit=project.junit,
        coverage=project.coverage,
        rule=rule,
        written_ns=diagnosis.report.written_ns if diagnosis.report is not None else 0,
    )
    return Action(
        kind=RunTests.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(project.directory,),
        title=f"Run the tests in {printable(project.directory)} once, as {project.account}, "
        f"with the lowest priority and for at most {format_duration(rule.timeout)}",
        reason=why,
        risk=Risk.LOW,
        bound=_ONE,
        undo=f"{CANNOT_BE_UNDONE}; it replaces the reports",
    )


@serves("test_watcher.TestCoverageDrop: r1.3")
def _run_audit(target: Target, project: Project, diagnosis: SuiteDiagnosis, audit_ns: int) -> Action | Refusal:
    assert project.audit is not None  # noqa: S101 - asked before
    rule = project.run
    if rule is not None and diagnosis.load_per_cpu > rule.most_load:
        busy = f"the host is busy: {diagnosis.load_per_cpu:.1f} programs for each CPU"
        return Refusal(what="Running the audit", reason=busy, lifted_by="a calmer host")
    arguments = RunAudit(directory=project.directory, account=project.account, rule=project.audit, written_ns=audit_ns)
    return Action(
        kind=RunAudit.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(project.directory,),
        title=f"Run the audit of {printable(project.directory)} once, as {project.account}",
        reason="coverage fell, and the audit says what else did",
        risk=Risk.LOW,
        bound=_ONE,
        undo=f"{CANNOT_BE_UNDONE}; it replaces its report",
    )
