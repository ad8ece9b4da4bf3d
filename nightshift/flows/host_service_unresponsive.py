"""Let a service of a host under systemd or supervisor run again: one start with the evidence saved, else a person."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.services.host_planner import findings_of, in_words, plan_running
from nightshift.remediation.services.policy import HostServiceUnresponsivePolicy
from nightshift.remediation.services.verification import judge_answering
from nightshift.tasks.service_unresponsive import look_at_host_service, watch_host_service

NAME = "host-service-unresponsive"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def host_service_unresponsive(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Save what the service leaves behind and start it once; nothing where it was switched off, or runs elsewhere.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The service, e.g. `shop/host/web1/service/web`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), bring_back)


def bring_back(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy, service = incident.policy(HostServiceUnresponsivePolicy), incident.target.part("service")
    place = (incident.target.part("host"), dict(incident.connections), service, policy)

    look = look_at_host_service(*place)
    findings = findings_of(look, policy.services[service])
    incident.diagnosed(in_words(look), findings, as_markdown(findings))

    plan = plan_running(incident.target, look, policy, tried=incident.changed_something)
    incident.carry_out(plan, enough=lambda: look_at_host_service(*place).well)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_host_service(*place)
    after, said = findings_of(looks[-1], policy.services[service]), in_words(looks[-1])
    return incident.judged(judge_answering(looks, policy.hold, said, after), measured=said)
