"""What is run and told about slow tests and coverage: at most two runs of the project's own, and tickets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.remediation.clients.host_probe.script import suite
from nightshift.remediation.clients.suite_metrics import p95
from nightshift.remediation.models import Plan, Target
from nightshift.remediation.suites.arguments import RunAudit, RunTests
from nightshift.remediation.suites.facts import (
    Commit,
    CoverageReport,
    History,
    Measured,
    Module,
    SlowModule,
    SlowTest,
    SuiteDiagnosis,
    SuiteReport,
)
from nightshift.remediation.suites.findings import evidence_markdown, findings_of
from nightshift.remediation.suites.history import fell_at, lines_in_words, uncovered_changes
from nightshift.remediation.suites.planner import is_wrong, plan_suite, plan_tickets
from nightshift.remediation.suites.policy import Project, SuiteMetrics, TestSuitePolicy
from nightshift.remediation.suites.tickets import below_target
from nightshift.remediation.suites.verification import is_settled, judge_suite

NOW = 1_000_000.0
FRESH, OLD = int((NOW - 60) * 1e9), int((NOW - 7200) * 1e9)
TARGET = Target(system="test_watcher", path=("host", "web1", "project", "backend"))
DECLARED: dict[str, Any] = {
    "directory": "/srv/project",
    "account": "watcher",
    "junit": "/srv/project/junit.xml",
    "coverage": "/srv/project/coverage.json",
    "run": {"python": "/srv/project/.venv/bin/python", "source": ["backend"]},
    "audit": {"command": ["python3", "audit.py"], "report": "/srv/project/audit.json"},
    "critical": ["backend/money"],
}
PROJECT = Project.model_validate(DECLARED)
MODULES = (
    Module(name="backend/large.py", statements=100, missing_lines=50, missing=((1, 50),)),
    Module(name="backend/money/fees.py", statements=10, missing_lines=2, missing=((3, 4),)),
    Module(name="backend/fine.py", statements=100, missing_lines=1, missing=((9, 9),)),
)
HISTORY = History(
    commits=(
        Commit(id="b", author="Bob", at=NOW - 60, subject="more", files=("backend/large.py",)),
        Commit(id="a", author="Ann", at=NOW - 90, subject="docs", files=("README",)),
    ),
    changed={"backend/large.py": ((45, 60),), "backend/fine.py": ((1, 8),), "gone.py": ((1, 2),)},
)


def policy(about: str = "drop", **changes: Any) -> TestSuitePolicy:
    return TestSuitePolicy.model_validate({"about": about, "projects": {"backend": DECLARED}, **changes})


def seen(**changes: Any) -> SuiteDiagnosis:
    slowest = (SlowTest(name="tests.test_a::test_slow", seconds=90), SlowTest(name="tests.test_b::test_b", seconds=10))
    modules = (
        SlowModule(name="tests.test_a", tests=5, seconds=90),
        SlowModule(name="tests.test_b", tests=1, seconds=10),
    )
    report = SuiteReport(
        tests=6, failed=0, skipped=0, seconds=100, p95=90, slowest=slowest, modules=modules, written_ns=FRESH
    )
    coverage = CoverageReport(percent=60, statements=210, modules=MODULES, written_ns=FRESH)
    known: dict[str, Any] = {
        "now": NOW,
        "load": 0.2,
        "cpus": 4,
        "report": report,
        "coverage": coverage,
        "history": HISTORY,
        "measured": Measured(p95=300, coverage=60, best=82, fell_at=NOW - 600),
    }
    return SuiteDiagnosis.model_validate({**known, **changes})


def old(diagnosis: SuiteDiagnosis, what: str) -> SuiteDiagnosis:
    return diagnosis.model_copy(update={what: getattr(diagnosis, what).model_copy(update={"written_ns": OLD})})


def kinds(plan: Plan) -> list[str]:
    return [action.kind for action in plan.actions]


def words(plan: Plan) -> str:
    return "\n".join(f"{one.title} | {one.detail} | {one.reason}" for one in plan.proposals)


@pytest.mark.parametrize(
    ("about", "diagnosis", "runs"),
    [
        ("slow", seen(), []),
        ("slow", old(seen(), "report"), ["run_tests"]),
        ("slow", seen(report=None, report_complaint="it is not there"), ["run_tests"]),
        ("slow", old(seen(), "coverage"), []),  # nobody asked about coverage
        ("low", old(seen(), "coverage"), ["run_tests"]),
        ("low", seen(), []),
        ("drop", seen(), ["run_audit"]),
        ("drop", seen(coverage=None), ["run_tests", "run_audit"]),
    ],
)
def test_tests_are_run_only_where_no_report_speaks_of_now(
    about: str, diagnosis: SuiteDiagnosis, runs: list[str]
) -> None:
    assert kinds(plan_suite(TARGET, PROJECT, diagnosis, policy(about))) == runs


def test_what_was_run_for_an_incident_is_not_run_twice() -> None:
    plan = plan_suite(TARGET, PROJECT, seen(report=None), policy(), done=[RunTests.KIND, RunAudit.KIND])

    assert plan.actions == ()
    assert plan_tickets(TARGET, PROJECT, seen(report=None), policy()).actions == ()


@pytest.mark.parametrize(
    ("project", "load", "reason"),
    [
        (DECLARED, 3.0, "the host is busy: 0.8 programs for each CPU"),
        ({**DECLARED, "run": None}, 0.1, "no way to run them is declared"),
    ],
)
def test_a_run_that_must_not_be_is_refused_with_its_reason(project: dict[str, Any], load: float, reason: str) -> None:
    plan = plan_suite(TARGET, Project.model_validate(project), seen(load=load, report=None), policy("slow"))

    assert plan.actions == ()
    assert reason in plan.refusals[0].reason


@pytest.mark.parametrize(
    ("about", "diagnosis", "wrong"),
    [
        ("slow", seen(), True),
        ("slow", seen(measured=Measured(p95=100)), False),
        ("slow", seen(measured=Measured()), None),
        ("drop", seen(), True),
        ("drop", seen(measured=Measured(coverage=90)), True),  # the fresh report says 60
        ("drop", old(seen(measured=Measured(coverage=90)), "coverage"), False),
        ("drop", old(seen(measured=Measured()), "coverage"), None),
    ],
)
def test_what_is_measured_now_decides_whether_it_is_as_the_alert_says(
    about: str, diagnosis: SuiteDiagnosis, wrong: bool | None
) -> None:
    assert is_wrong(diagnosis, policy(about, coverage_percent=70)) is wrong


def test_nothing_is_run_or_told_when_it_is_over() -> None:
    plan = plan_suite(TARGET, PROJECT, seen(report=None, measured=Measured(p95=9)), policy("slow"))

    assert (plan.actions, plan.proposals, plan.refusals) == ((), (), ())
    assert plan.goal == "Nothing to do: p95 of test runs 9.0s."


def test_slow_tests_are_named_with_their_seconds_and_xdist_is_only_proposed() -> None:
    text = words(plan_suite(TARGET, PROJECT, seen(), policy("slow")))

    assert "tests.test_a::test_slow 90.0 s" in text.replace("\\x5f", "_")
    assert "100% of the time" in text
    assert "split tests.test" in text
    assert "pytest-xdist with -n 3 | 1m 40s would become 1m 30s at best" in text


def test_xdist_is_no_advice_for_a_busy_host() -> None:
    assert "xdist" not in words(plan_suite(TARGET, PROJECT, seen(load=2.5), policy("slow")))


def test_untested_new_lines_are_a_ticket_for_who_wrote_them() -> None:
    assert uncovered_changes(seen()) == {"backend/large.py": ((45, 50),)}

    text = words(plan_suite(TARGET, PROJECT, seen(), policy("drop")))

    assert "Ticket for Bob: test the new lines of backend/large.py | 6 new lines without a test: 45-50" in text
    assert "Ann" not in text


def test_modules_below_the_target_are_ranked_critical_ones_first() -> None:
    ranked = below_target(PROJECT, seen(), policy("low"))
    assert [module.name for module in ranked] == ["backend/money/fees.py", "backend/large.py"]

    text = words(plan_suite(TARGET, PROJECT, seen(), policy("low")))

    assert "Plan time for tests: 52 statements more have to be covered" in text
    assert "backend/fine.py" not in text


@pytest.mark.hazard("test_watcher.TestCoverageDrop.d2")
@pytest.mark.parametrize(
    ("values", "at"),
    [
        ([82, 82, 66, 66], 2),
        ([66, 82, 82, 66], 3),
        ([82, 66, 82, 82], None),
        ([66, 66, 66], None),
        ([82, 81.5], None),
        ([], None),
    ],
)
def test_the_moment_of_the_fall_is_the_one_from_which_it_stayed(values: list[float], at: int | None) -> None:
    points = [(float(number), value) for number, value in enumerate(values)]
    assert fell_at(points, values[-1] if values else 66) == at


def test_a_run_is_no_cure_and_what_cannot_be_told_is_no_success() -> None:
    assert judge_suite(seen(), policy("drop", coverage_percent=70)).healthy is False
    assert judge_suite(seen(measured=Measured(), coverage=None), policy()).inconclusive
    better = seen(measured=Measured(coverage=90), coverage=None)
    assert judge_suite(better, policy()).healthy
    assert is_settled(better, policy())
    assert is_settled(seen(), policy()), "the report itself says that it is too little: no use to wait for the metric"
    late = seen(coverage=CoverageReport(percent=95, statements=10, written_ns=FRESH))
    assert not is_settled(late, policy()), "the metric follows"


@given(st.text(max_size=80), st.text(max_size=80))
def test_names_out_of_reports_and_commits_cannot_break_a_table(name: str, author: str) -> None:
    module = Module(name=name, statements=2, missing_lines=2, missing=((1, 2),))
    coverage = CoverageReport(percent=0, statements=2, modules=(module,), written_ns=FRESH)
    commit = Commit(id="a", author=author, at=NOW, subject=name, files=(name,))
    diagnosis = seen(coverage=coverage, history=History(commits=(commit,), changed={name: ((1, 1),)}))

    evidence = evidence_markdown(PROJECT, diagnosis, policy("low"))
    text = words(plan_suite(TARGET, PROJECT, diagnosis, policy("drop")))

    assert {line.count("|") for line in evidence.splitlines() if line} <= {5, 6}
    assert "`" not in text
    assert all(finding.title.isprintable() for finding in findings_of(diagnosis, policy("drop")))


@given(st.sets(st.integers(1, 60), max_size=40))
def test_ranges_hold_exactly_the_lines(lines: set[int]) -> None:
    ranges = suite._ranges(sorted(lines))
    assert {line for first, last in ranges for line in range(first, last + 1)} == lines


def test_added_lines_of_a_diff_are_read_by_its_counts_not_by_their_looks() -> None:
    diff = (
        b"diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1 +1,2 @@\n-a\n+++ b/evil.py\n+b\n"
        b"@@ -9,2 +10,0 @@\n--- a\n-b\ndiff --git a/y.py b/y.py\n--- /dev/null\n+++ b/y.py\n@@ -0,0 +1 @@\n+c\n"
    )
    assert suite._added(diff) == {"x.py": [[1, 2]], "y.py": [[1, 1]]}


def test_instances_are_escaped_in_the_query() -> None:
    asked = p95(SuiteMetrics(prometheus="p"), ['a.b:9"} or vector(1) #'])

    assert r'instance=~"a\\.b:9\"\\}\\ or\\ vector\\(1\\)\\ \\#"' in asked


def test_lines_are_told_shortly() -> None:
    assert lines_in_words([(1, 1), (3, 5)]) == "1, 3-5"
    assert lines_in_words([(n, n) for n in range(12)]).endswith("7 and 4 more places")


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"account": "root"}, "do not run as root"),
        ({"coverage": None}, "belong together"),
        ({"directory": "relative"}, "absolute path"),
        ({"run": {"python": "python3", "source": ["backend"]}}, "pattern"),
        ({"run": {"python": "/usr/bin/python3", "source": ["-x"]}}, "pattern"),
    ],
)
def test_a_project_that_cannot_be_looked_at_safely_is_refused(wrong: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Project.model_validate({**DECLARED, **wrong})
