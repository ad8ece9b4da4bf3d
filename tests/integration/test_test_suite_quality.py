"""A real project on a real host: real pytest, coverage and git, its own tests run once, tickets for its authors."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import preloaded
from lab.patient_host import MIB, PatientHost
from lab.prefect_server import PrefectServer
from lab.python_project import ACCOUNT, COVERAGE, DIRECTORY, JUNIT, PRICES, PythonProject
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.suites import look_at_suite, run_tests
from nightshift.remediation.errors import CommandFailedError, TargetChangedError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.suites.arguments import RunTests
from nightshift.remediation.suites.facts import SuiteDiagnosis
from nightshift.remediation.suites.history import uncovered_changes
from nightshift.remediation.suites.policy import Project

TARGET = "test_watcher/host/web1/project/backend"
_RUN = """
import sys
from nightshift.flows import test_suite_quality as flow
state = flow.test_suite_quality("test_watcher", sys.argv[1], return_state=True)
print("outcome:", state.name)
"""


@pytest.fixture(scope="module")
def project_on_host() -> Iterator[PythonProject]:
    """One host and one project for all tests here."""
    with PatientHost({"/data": 96 * MIB}, name="web1") as host:
        project = PythonProject(host)
        project.make()
        yield project


@pytest.fixture
def project(project_on_host: PythonProject) -> PythonProject:
    project_on_host.forget()
    return project_on_host


def run(project: PythonProject, prefect: PrefectServer, ledger_url: str, folder: Path, **policy: Any) -> str:
    """Run the whole flow in a process of its own; the name of the state it ends in."""
    connection = project.host.connection()
    system: dict[str, Any] = {
        "id": "test_watcher",
        "display": "TestWatcher",
        "title": "Tests",
        "mode": "auto",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {
            "web1": {
                "type": "ssh",
                "address": connection.address,
                "port": connection.port,
                "host_key": connection.host_key,
                "private_key": {"file": str(project.host.private_key_path)},
            }
        },
        "runbooks": {
            "TestCoverageDrop": {
                "summary": "coverage fell",
                "severity": "critical",
                "flow": "test-suite-quality",
                "target": {"host": {"default": "web1"}, "project": {"default": "backend", "among": ["backend"]}},
                "policy": {"projects": {"backend": project.declared()}, "wait": "1s", **policy},
            }
        },
    }
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "test_watcher.yaml").write_text(json.dumps(system))
    environment = {
        **os.environ,
        "NIGHTSHIFT_DATABASE_URL": ledger_url,
        "NIGHTSHIFT_HOME": str(folder),
        "NIGHTSHIFT_RUNBOOKS": str(folder / "runbooks"),
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(folder / "prefect"),
    }
    code, said = preloaded.run(_RUN, TARGET, environment=environment, seconds=120)
    assert code == 0, said
    return said.rpartition("outcome: ")[2].strip()


def look(project: PythonProject, hours: float = 2) -> SuiteDiagnosis:
    declared = Project.model_validate(project.declared())
    with open_host("web1", project.host.connection()) as opened:
        return look_at_suite(opened, declared, time.time() - hours * 3600)


def run_once(project: PythonProject, **rule: Any) -> bool:
    declared = Project.model_validate(project.declared())
    assert declared.run is not None
    arguments = RunTests(
        directory=DIRECTORY,
        account=ACCOUNT,
        junit=JUNIT,
        coverage=COVERAGE,
        rule=declared.run.model_copy(update=rule),
        written_ns=0,
    )
    with open_host("web1", project.host.connection()) as opened:
        return run_tests(opened, arguments)


def test_coverage_that_fell_is_measured_anew_and_the_authors_of_the_untested_lines_are_told(
    project: PythonProject, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    project.add_untested("Bob `reboot`|")

    outcome = run(project, prefect, database_url, tmp_path, about="drop", coverage_percent=70)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert project.measured() < 70
    assert project.audits() == 1
    assert project.changed_files() == [], "only reports were written"
    owner = project.host.run("stat", "-c", "%U", COVERAGE, JUNIT).stdout.split()
    assert owner == [ACCOUNT, ACCOUNT]
    assert "there is no report of durations" in report
    assert "test the new lines of backend/orders.py" in report
    assert "without a test: 1-7, 10-14" in report
    assert "Coverage 25.0 % by the newest report: the developers have to act" in report
    assert "0.0 %  backend/orders.py  lines 1-7, 10-14" in report, "what the run showed"
    assert "Ticket for Bob \\x60reboot\\x60\\x7c" in report
    assert "Ann" not in report, "the commit from two days ago has no part in it"


def test_coverage_that_people_have_mended_is_found_so_by_running_the_tests_once(
    project: PythonProject, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    project.add_untested()
    project.test_everything()

    outcome = run(project, prefect, database_url, tmp_path, about="low", coverage_percent=80)

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert project.measured() == 100
    assert project.audits() == 0, "the audit is for coverage that fell"
    assert "It is over: coverage 100.0 % by the newest report" in report


def test_fresh_reports_are_read_and_nothing_is_run(
    project: PythonProject, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    assert run_once(project) is False
    written = project.host.path(JUNIT).stat().st_mtime_ns

    outcome = run(project, prefect, database_url, tmp_path, about="slow")

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert project.host.path(JUNIT).stat().st_mtime_ns == written
    assert (
        "tests.test\\x5fprices::test_that_takes_its_time 0.3 s" in report or "test_that_takes_its_time 0.3 s" in report
    )
    assert "pytest-xdist" not in report or "-n" in report


def test_uncovered_lines_are_those_that_the_last_hours_brought(project: PythonProject) -> None:
    project.add_untested()
    project.write("backend/prices.py", PRICES + "\n\ndef new():\n    return 1\n")
    project.commit("Zoë", "a subject with \x01 and \x02", days=0.005)
    run_once(project)

    seen = look(project)

    assert seen.history is not None
    assert [(commit.author, commit.files) for commit in seen.history.commits] == [
        ("Zoë", ("backend/prices.py",)),
        ("Bob", ("backend/orders.py",)),
    ]
    assert uncovered_changes(seen)["backend/prices.py"] == ((10, 10),)
    assert seen.report is not None
    assert (seen.report.tests, seen.report.failed) == (3, 0)
    assert seen.report.slowest[0].name.endswith("::test_that_takes_its_time")
    assert look(project, hours=0).history is not None


@pytest.mark.hazard("test_watcher.TestWatcherSlowTests.d1")
def test_a_failing_test_leaves_a_report_and_a_suite_that_cannot_run_leaves_the_old_one(project: PythonProject) -> None:
    project.write("tests/test_wrong.py", "def test_wrong():\n    assert 1 == 2\n")
    assert run_once(project) is True
    seen = look(project)
    assert seen.report is not None
    assert (seen.report.tests, seen.report.failed) == (4, 1)

    with pytest.raises(CommandFailedError, match="no-such"):
        run_once(project, tests=("no-such",))
    project.write("tests/test_endless.py", "import time\n\n\ndef test_endless():\n    time.sleep(60)\n")
    with pytest.raises(CommandFailedError, match="took longer"):
        run_once(project, timeout=4)
    again = look(project)
    assert again.report is not None
    assert again.report.written_ns == seen.report.written_ns
    left = project.host.run("find", "/", "-xdev", "-name", "nightshift-suite-*").stdout
    assert left == "", "nothing of a run stays"


def test_two_runs_do_not_meet(project: PythonProject) -> None:
    held = os.open(project.host.path(DIRECTORY), os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TargetChangedError, match="run already"):
            run_once(project)
    finally:
        os.close(held)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><testsuites><testcase name="&b;"/></testsuites>', "cannot be read"),
        ("<testsuites><testcase", "cannot be read"),
        ('<testsuites><testcase name="a" time="soon"/></testsuites>', "cannot be read"),
    ],
)
def test_a_report_that_is_no_report_is_said_to_be_none(project: PythonProject, text: str, complaint: str) -> None:
    project.write("reports/junit.xml", text)
    project.write("reports/coverage.json", '{"files": []}')

    seen = look(project)

    assert seen.report is None
    assert complaint in seen.report_complaint
    assert "cannot be read" in seen.coverage_complaint


def test_a_report_is_no_way_to_read_another_file(project: PythonProject) -> None:
    project.as_account("mkdir", "-p", f"{DIRECTORY}/reports")
    project.as_account("ln", "-s", "/etc/shadow", JUNIT)

    seen = look(project)

    assert seen.report is None
    assert seen.report_complaint
