"""Tests are slow, or cover too little: say which tests and lines, since when, and whose they are."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.execution import Status
from nightshift.remediation.suites.arguments import RunAudit, RunTests
from nightshift.remediation.suites.facts import SuiteDiagnosis
from nightshift.remediation.suites.findings import evidence_markdown, findings_of, ranking_text
from nightshift.remediation.suites.planner import in_words, is_wrong, plan_suite, plan_tickets
from nightshift.remediation.suites.policy import Project, TestSuitePolicy
from nightshift.remediation.suites.verification import judge_suite
from nightshift.tasks.suites import diagnose_suite, look_at_audit, watch_suite

NAME = "test-suite-quality"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def test_suite_quality(  # a flow, and no test: whoever imports it for a test calls it otherwise
    system: str,
    target: str,
    incident: int | None = None,  # noqa: PT028
    attempt: int = 1,  # noqa: PT028
    dry_run: bool = False,  # noqa: PT028
) -> State[str]:
    """Report slow tests, uncovered lines and their authors; where reports are old, run the project's tests once.

    Args:
        system: A system of the catalogue, e.g. `test_watcher`.
        target: A project on its host, e.g. `test_watcher/host/watcher1/project/backend`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, run nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), inform)


def inform(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, run, verify, report."""
    policy = incident.policy(TestSuitePolicy)
    host, name = incident.target.part("host"), incident.target.part("project")
    if name not in policy.projects:
        raise ConfigurationError(f"The runbook of {incident.alert} has no project {name!r}.")
    connection, project = incident.host_connection(host), policy.projects[name]
    metrics = incident.connection(policy.metrics.prometheus, HttpConnection) if policy.metrics else None
    place = (host, connection, metrics, project, policy)

    diagnosis = diagnose_suite(*place)
    _record(incident, diagnosis, project)

    audit_ns = look_at_audit(host, connection, project)
    done = [k for k in (RunTests.KIND, RunAudit.KIND) if incident.began(k) and incident.unfinished(k) is None]
    plan = plan_suite(incident.target, project, diagnosis, policy, audit_ns, done)
    execution = incident.carry_out(plan, enough=lambda: is_wrong(diagnose_suite(*place), policy) is False)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    after = watch_suite(*place)
    _record(incident, after, project)
    if all(result.status is not Status.FAILED for result in execution.results):
        # What a run that failed said must stay the last word.
        incident.carry_out(plan_tickets(incident.target, project, after, policy), enough=lambda: False)
    chart = ranking_text(project, after, policy)
    return incident.judged(judge_suite(after, policy), measured=in_words(after, policy), chart=chart)


def _record(incident: Incident, diagnosis: SuiteDiagnosis, project: Project) -> None:
    policy = incident.policy(TestSuitePolicy)
    evidence = evidence_markdown(project, diagnosis, policy)
    incident.diagnosed(in_words(diagnosis, policy), findings_of(diagnosis, policy), evidence)
