"""Look at a project's tests: on its host, and at what Prometheus has of them."""

from __future__ import annotations

import time

from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.suites import check_times, look_at_suite
from nightshift.remediation.connections import HostConnection, HttpConnection
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.suites.facts import Measured, SuiteDiagnosis
from nightshift.remediation.suites.policy import Project, TestSuitePolicy
from nightshift.remediation.suites.verification import is_settled
from nightshift.tasks.steps import diagnostic

_PAUSE = 15.0


@diagnostic("look at the tests of a project", of="{host} {project.directory}")
def diagnose_suite(
    host: str,
    connection: HostConnection,
    metrics: HttpConnection | None,
    project: Project,
    policy: TestSuitePolicy,
) -> SuiteDiagnosis:
    """The newest reports of durations and coverage, the commits of the last hours, and the alert's own series."""
    return _look(host, connection, metrics, project, policy)


@diagnostic("see when the audit was run", of="{host} {project.directory}")
def look_at_audit(host: str, connection: HostConnection, project: Project) -> int:
    """When its report was written, in nanoseconds; 0: never, or there is no audit."""
    if project.audit is None:
        return 0
    with open_host(host, connection) as opened:
        return check_times(opened, project.audit.report).written_ns


@diagnostic("look at the tests again", of="{host} {project.directory}")
def watch_suite(
    host: str,
    connection: HostConnection,
    metrics: HttpConnection | None,
    project: Project,
    policy: TestSuitePolicy,
) -> SuiteDiagnosis:
    """The first look that settles it, or the last one of the time to wait: the metric follows a run only later."""
    until = time.monotonic() + policy.wait
    while True:
        seen = _look(host, connection, metrics, project, policy)
        left = until - time.monotonic()
        if left <= 0 or is_settled(seen, policy):
            return seen
        time.sleep(min(_PAUSE, left))


def _look(
    host: str,
    connection: HostConnection,
    metrics: HttpConnection | None,
    project: Project,
    policy: TestSuitePolicy,
) -> SuiteDiagnosis:
    since = time.time() - policy.changes_within
    with open_host(host, connection) as opened:
        seen = look_at_suite(opened, project, since)
    return seen.model_copy(update={"measured": _measured(connection, metrics, policy)})


def _measured(connection: HostConnection, metrics: HttpConnection | None, policy: TestSuitePolicy) -> Measured:
    from nightshift.remediation.clients.suite_metrics import measure_suite

    if policy.metrics is None or metrics is None:
        return Measured(complaint="no metrics are declared")
    try:
        return measure_suite(metrics, policy.metrics, connection.instances)
    except NightshiftError as error:
        # The reports count without them, and what is not known is said.
        return Measured(complaint=str(error))
