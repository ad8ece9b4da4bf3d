"""Errors in the log of a service: grouped by what they are about, and a restart only where nothing explains them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.hosts.services import ServiceState, WritableDirectory
from nightshift.remediation.log_errors.grouping import Cause, LogError, errors_in, main_cause
from nightshift.remediation.log_errors.planner import ErrorsLook, findings_of, plan_fewer_errors
from nightshift.remediation.log_errors.policy import HostJobFailuresPolicy
from nightshift.remediation.models import Plan, Risk, Target

TARGET = Target(system="test_watcher", path=("host", "h1", "service", "watcher"))
POLICY = HostJobFailuresPolicy.model_validate(
    {"services": {"watcher": {"name": "watcher.service"}}, "errors": {"prometheus": "p", "name": "errors_total"}}
)
LOG = """\
2026-01-01 10:00:00,000 watcher ERROR an old one
2026-01-01 11:50:00,000 watcher INFO watching
2026-01-01 11:51:00,000 watcher ERROR could not run the tests of a.py
Traceback (most recent call last):
  File "/opt/w.py", line 7, in run
    import yaml
ModuleNotFoundError: No module named 'yaml'
2026-01-01 11:52:00,000 watcher ERROR could not run the tests of b.py
Traceback (most recent call last):
  File "/opt/w.py", line 7, in run
ModuleNotFoundError: No module named 'toml'
2026-01-01 11:53:00,000 watcher ERROR [Errno 28] No space left on device: '/var/x/7'
2026-01-01 11:54:00,000 watcher INFO nothing to do, 0 ERRORS
"""


def test_an_entry_counts_once_by_its_exception_and_old_ones_do_not() -> None:
    found = errors_in(LOG.splitlines(), look_back=600, log_age=1.0)

    assert [(one.cause, one.count) for one in found] == [(Cause.IMPORTS, 2), (Cause.FULL, 1)]
    assert found[0].example == "ModuleNotFoundError: No module named 'toml'"
    assert main_cause(found) is Cause.IMPORTS


def test_a_log_that_nobody_wrote_to_lately_has_no_errors_of_now() -> None:
    assert errors_in(LOG.splitlines(), look_back=600, log_age=3600.0) == ()


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ERROR OSError: [Errno 30] Read-only file system: '/x'", Cause.FULL),
        ("ERROR PermissionError: [Errno 13] Permission denied: '/x'", Cause.FILES),
        ("CRITICAL ImportError: cannot import name 'x' from 'y'", Cause.IMPORTS),
        ("ERROR tests failed: 3 failed, 12 passed", Cause.TESTS),
        ("ERROR FAILED tests/test_a.py::test_b", Cause.TESTS),
        ("ERROR queue is stuck", Cause.OTHER),
    ],
)
def test_what_an_error_is_about_is_told_by_its_words(line: str, cause: Cause) -> None:
    (found,) = errors_in([line], look_back=600, log_age=None)

    assert found.cause is cause


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=80), max_size=30))
def test_any_log_is_read_and_never_counts_more_errors_than_lines(lines: list[str]) -> None:
    assert sum(one.count for one in errors_in(lines, look_back=600, log_age=0.0)) <= len(lines)


def errors(cause: Cause) -> tuple[LogError, ...]:
    return (LogError(cause=cause, what="it", count=3, example="ERROR it, password=hunter2"),)


def look(cause: Cause | None = Cause.OTHER, *, state: str = "running", **fields: Any) -> ErrorsLook:
    service = ServiceState(state=state, run="r1", account="watcher")
    usual = {"rate": 0.4, "errors": errors(cause) if cause is not None else (), "service": service}
    return ErrorsLook(**{**usual, **fields})


def planned(seen: ErrorsLook, **more: Any) -> Plan:
    return plan_fewer_errors(TARGET, seen, POLICY, **more)


def test_what_nothing_explains_is_answered_by_one_restart() -> None:
    (action,) = planned(look()).actions

    assert (action.kind, action.asks) == ("restart_host_service", "")
    assert planned(look(), tried=True).actions == ()
    assert planned(look(rate=0.1)).goal.startswith("Nothing to do")


def test_without_its_log_a_person_is_asked() -> None:
    (action,) = planned(look(None, log_unseen="Permission denied")).actions

    assert action.risk is Risk.HIGH
    assert "could not be read" in action.asks


FULL = WritableDirectory(path="/opt/logs", used_percent=99.2)
DENIED = WritableDirectory(path="/opt/logs", used_percent=10, writable=False)


@pytest.mark.parametrize(
    ("seen", "why", "proposed"),
    [
        (look(Cause.FULL), "a disk that is full", "flow disk-space-reclaim"),
        (look(directories=(FULL,)), "99 % full", "flow disk-space-reclaim"),
        (look(directories=(DENIED,)), "may not write there", "Give watcher back"),
        (look(Cause.FILES), "files or their permissions", "the files that its log names"),
        (look(Cause.IMPORTS), "modules that it needs", "Put the release before back"),
        (look(dependencies=("a 1 requires b, which is not installed.",)), "modules that it needs", "release before"),
        (look(Cause.TESTS), "tests that fail", "who wrote them"),
        (look(rate=1.5), "a person is called at once", ""),
        (look(rate=None, unmeasured="prometheus has no errors_total now."), "is not known", ""),
        (look(state="failed"), "it does not run", ""),
    ],
)
def test_what_a_restart_would_not_change_is_left_to_people(seen: ErrorsLook, why: str, proposed: str) -> None:
    plan = planned(seen)

    assert plan.actions == ()
    assert why in plan.refusals[0].reason
    assert proposed in " ".join(proposal.title for proposal in plan.proposals)


def test_what_is_shown_of_the_log_masks_credentials() -> None:
    told = " ".join(finding.detail for finding in findings_of(look(), POLICY))

    assert "ERROR it" in told
    assert "hunter2" not in told
