"""Find why a service of a host makes errors, and restart it where nothing explains them."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.levels import judge_level
from nightshift.remediation.log_errors.planner import findings_of, in_words, plan_fewer_errors, rate_in_words
from nightshift.remediation.log_errors.policy import HostJobFailuresPolicy
from nightshift.tasks.host_job_failures import look_at_errors, watch_errors

NAME = "host-job-failures"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def host_job_failures(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Group the errors of the log; say what is full, forbidden or missing; restart once what nothing explains.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The service, e.g. `shop/host/web1/service/tests`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), mend)


def mend(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy, service = incident.policy(HostJobFailuresPolicy), incident.target.part("service")
    host, connections = incident.target.part("host"), dict(incident.connections)

    look = look_at_errors(host, connections, service, policy)
    findings = findings_of(look, policy)
    incident.diagnosed(in_words(look), findings, as_markdown(findings))

    plan = plan_fewer_errors(incident.target, look, policy, tried=incident.changed_something)
    # Few errors in the last minutes are no sign that the cause is gone: what fails may not have come again.
    incident.carry_out(plan, enough=lambda: False)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    samples = watch_errors(service, connections, policy)
    verdict = judge_level(samples, policy.most_per_second, policy.hold, rate_in_words)
    return incident.judged(verdict, measured=verdict.reason)
