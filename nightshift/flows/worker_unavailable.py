"""Let Celery workers answer again, their broker first."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.workers.findings import findings_of, in_words
from nightshift.remediation.workers.policy import WorkerUnavailablePolicy
from nightshift.remediation.workers.repairing import plan_workers
from nightshift.remediation.workers.verification import judge_workers, works
from nightshift.tasks.celery_workers import diagnose_workers, watch_workers

NAME = "worker-unavailable"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def worker_unavailable(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Start the broker and the workers that do not answer; set aside tasks over which workers die.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The service, e.g. `shop/compose/main/service/celery`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), bring_back)


def bring_back(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(WorkerUnavailablePolicy)
    place = (incident.target.part("compose"), incident.connections, incident.target.part("service"), policy)

    diagnosis = diagnose_workers(*place)
    findings = findings_of(diagnosis)
    incident.diagnosed(in_words(diagnosis), findings, as_markdown(findings))

    plan = plan_workers(incident.target, diagnosis, policy)
    incident.carry_out(plan, enough=lambda: works(diagnose_workers(*place)))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_workers(*place)
    return incident.judged(judge_workers(looks), measured=in_words(looks[-1]))
