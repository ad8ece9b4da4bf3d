"""Find why Celery tasks fail, and mend what can be mended from here."""

from __future__ import annotations

import time

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.workers.failures import findings_of, in_words, judge_failures, plan_failures
from nightshift.remediation.workers.findings import findings_of as of_workers
from nightshift.remediation.workers.policy import JobFailurePolicy
from nightshift.tasks.celery_workers import count_failures, diagnose_workers

NAME = "job-failure-rate"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def job_failure_rate(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Group the failures; recreate, roll back or restart workers where that is the cause, propose the rest.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The service of the workers, e.g. `shop/compose/main/service/celery`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), mend)


def mend(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(JobFailurePolicy)
    place = (incident.target.part("compose"), incident.connections, incident.target.part("service"))

    diagnosis = diagnose_workers(*place, policy)
    before = count_failures(*place, time.time() - policy.measure)
    findings = (*findings_of(before), *of_workers(diagnosis))
    incident.diagnosed(in_words(before), findings, as_markdown(findings))

    plan = plan_failures(incident.target, diagnosis, before, policy)
    # Fewer failures in the last minutes are no sign that the cause is gone: what fails may not have come again.
    incident.carry_out(plan, enough=lambda: False)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    after = count_failures(*place, time.time(), policy.watch)
    return incident.judged(judge_failures(before, after, policy), measured=in_words(after))
