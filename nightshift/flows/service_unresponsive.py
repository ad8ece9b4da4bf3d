"""Let a service of Docker Compose answer again: one restart with the evidence saved, else a person."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.services.compose_planner import findings_of, in_words, plan_answering
from nightshift.remediation.services.policy import ServiceUnresponsivePolicy
from nightshift.remediation.services.verification import judge_answering
from nightshift.tasks.service_unresponsive import look_at_api, watch_api

NAME = "service-unresponsive"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def service_unresponsive(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Save what the service leaves behind and restart it once; nothing where its database, memory or port is the cause.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The service, e.g. `shop/compose/main/service/web`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), bring_back)


def bring_back(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(ServiceUnresponsivePolicy)
    place = (incident.target.part("compose"), dict(incident.connections), incident.target.part("service"), policy)

    look = look_at_api(*place)
    findings = findings_of(look)
    incident.diagnosed(in_words(look), findings, as_markdown(findings))

    plan = plan_answering(incident.target, look, policy, tried=incident.changed_something)
    incident.carry_out(plan, enough=lambda: look_at_api(*place).well)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_api(*place)
    said = in_words(looks[-1])
    return incident.judged(judge_answering(looks, policy.hold, said, findings_of(looks[-1])), measured=said)
