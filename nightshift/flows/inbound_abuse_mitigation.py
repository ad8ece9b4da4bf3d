"""Tell users from abuse, and keep who sends too much away for a time."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.inbound_abuse.findings import findings_of, in_words
from nightshift.remediation.inbound_abuse.planner import plan_abuse
from nightshift.remediation.inbound_abuse.policy import InboundAbusePolicy
from nightshift.remediation.inbound_abuse.verification import judge_abuse
from nightshift.tasks.inbound_abuse import abuse_is_over, diagnose_abuse, watch_abuse

NAME = "inbound-abuse-mitigation"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def inbound_abuse_mitigation(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Find who sends too much, and block the few who do for a time; users and attacks from everywhere are for people.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The service, e.g. `shop/compose/main/service/backend`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), mitigate)


def mitigate(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy, service = incident.policy(InboundAbusePolicy), incident.target.part("service")
    place = (incident.target.part("compose"), incident.connections, service, policy)

    diagnosis = diagnose_abuse(*place)
    findings = findings_of(diagnosis, policy)
    incident.diagnosed(in_words(diagnosis, policy), findings, as_markdown(findings))

    plan = plan_abuse(incident.target, diagnosis, policy)
    incident.carry_out(plan, enough=lambda: abuse_is_over(service, incident.connections, policy))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    samples, after = watch_abuse(*place)
    return incident.judged(judge_abuse(diagnosis, samples, after, policy), measured=in_words(after, policy))
