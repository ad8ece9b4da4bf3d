"""Files wait to be tested: say whether nobody works, tests are slow or the host is full, else add workers."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.file_queues.facts import QueueDiagnosis
from nightshift.remediation.file_queues.planner import findings_of, in_words, is_short, plan_queue
from nightshift.remediation.file_queues.policy import FileQueuePolicy
from nightshift.remediation.file_queues.verification import judge_queue
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.program_settings.arguments import UpdateSetting
from nightshift.tasks.file_queues import diagnose_queue, watch_queue

NAME = "file-queue-backlog"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def file_queue_backlog(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Let more workers test files where the host has room; slow tests, a full host and a dead service are told.

    Args:
        system: A system of the catalogue, e.g. `test_watcher`.
        target: The service that works the queue off, e.g. `test_watcher/host/watcher1/service/test-watcher`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), shorten)


def shorten(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(FileQueuePolicy)
    host, service = incident.target.part("host"), incident.target.part("service")
    if service not in policy.services:
        raise ConfigurationError(f"The runbook of {incident.alert} has no service {service!r}.")
    connection = incident.host_connection(host)
    prometheus = incident.connection(policy.prometheus, HttpConnection)
    place = (host, connection, prometheus, service, policy)

    diagnosis = diagnose_queue(*place)
    findings = findings_of(diagnosis, policy)
    incident.diagnosed(in_words(diagnosis), findings, as_markdown(findings))

    kind = UpdateSetting.KIND
    raised = incident.began(kind) and incident.unfinished(kind) is None
    plan = plan_queue(incident.target, diagnosis, policy, raised=raised)
    incident.carry_out(plan, enough=lambda: is_short(diagnose_queue(*place).queue.waiting, policy))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_queue(connection, prometheus, policy)
    return incident.judged(judge_queue(looks, policy), measured=in_words(QueueDiagnosis(queue=looks[-1])))
