"""Running a project's tests or its audit once, with what makes that safe to do on a host that has other work."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.actions import Connections, Effect, Observation
from nightshift.remediation.clients.host_probe import permissions, suites
from nightshift.remediation.clients.host_probe.asking import ends_within
from nightshift.remediation.models import Action, Quantity
from nightshift.remediation.privileges import Lack
from nightshift.remediation.suites.arguments import RunAudit, RunTests
from nightshift.remediation.text import printable
from nightshift.tasks.disk_space_actions import host_of
from nightshift.tasks.steps import action

_ONE = Quantity(amount=1, unit="runs")
_TIMEOUT = ends_within(suites.LONGEST_RUN) + ends_within(suites.LOOKING_SECONDS)


def _tests_did_not_run(action: Action, connections: Connections) -> None:
    arguments = RunTests.from_json(action.arguments)
    with host_of(action, connections) as host:
        suites.check_unchanged(host, arguments.junit, arguments.written_ns, arguments.rule.most_load)


def _tests_ran(action: Action, connections: Connections) -> Observation:
    arguments = RunTests.from_json(action.arguments)
    return _is_newer(action, connections, arguments.junit, arguments.written_ns)


def _is_newer(action: Action, connections: Connections, report: str, written_ns: int) -> Observation:
    with host_of(action, connections) as host:
        now = suites.check_times(host, report).written_ns
    return Observation.DONE if now > written_ns else Observation.NOT_DONE


def _lacks_to_run(action: Action, connections: Connections) -> Sequence[Lack]:
    with host_of(action, connections) as host:
        return permissions.lacks(host, [("program", RunTests.from_json(action.arguments).rule.python)])


@action(
    kind=RunTests.KIND,
    name="run the tests of a project",
    timeout=_TIMEOUT,
    precondition=_tests_did_not_run,
    observe=_tests_ran,
    permitted=_lacks_to_run,
    undo=None,
)
def run_tests(action: Action, connections: Connections) -> Effect:
    """Operations ``pytest.durations`` and ``pytest.coverage``, where no report of the project speaks of now."""
    arguments = RunTests.from_json(action.arguments)
    with host_of(action, connections) as host:
        failed = suites.run_tests(host, arguments)
    summary = f"ran the tests in {printable(arguments.directory)}" + ("; some failed" if failed else "")
    return Effect(summary=summary, amount=_ONE, evidence={"failed": failed})


def _audit_did_not_run(action: Action, connections: Connections) -> None:
    arguments = RunAudit.from_json(action.arguments)
    with host_of(action, connections) as host:
        suites.check_unchanged(host, arguments.rule.report, arguments.written_ns)


def _audit_ran(action: Action, connections: Connections) -> Observation:
    arguments = RunAudit.from_json(action.arguments)
    return _is_newer(action, connections, arguments.rule.report, arguments.written_ns)


def _lacks_to_audit(action: Action, connections: Connections) -> Sequence[Lack]:
    program = RunAudit.from_json(action.arguments).rule.command[0]
    if not program.startswith("/"):
        return ()
    with host_of(action, connections) as host:
        return permissions.lacks(host, [("program", program)])


@action(
    kind=RunAudit.KIND,
    name="run the audit of a project",
    timeout=_TIMEOUT,
    precondition=_audit_did_not_run,
    observe=_audit_ran,
    permitted=_lacks_to_audit,
    undo=None,
)
def run_audit(action: Action, connections: Connections) -> Effect:
    """Operation ``audit.run``, for test_watcher.TestCoverageDrop.r1.3."""
    arguments = RunAudit.from_json(action.arguments)
    with host_of(action, connections) as host:
        suites.run_audit(host, arguments)
    return Effect(summary=f"ran the audit of {printable(arguments.directory)}", amount=_ONE)
