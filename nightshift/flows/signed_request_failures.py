"""Signed requests are refused: tell the secret from the clock, replay protection and whoever replays."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.inbound_abuse.verification import judge_abuse
from nightshift.remediation.signed_requests.findings import findings_of
from nightshift.remediation.signed_requests.planner import plan_signed
from nightshift.remediation.signed_requests.policy import SignedRequestPolicy
from nightshift.remediation.signed_requests.verification import judge_signed, numbers_in_words, within_limits
from nightshift.tasks.inbound_abuse import watch_abuse
from nightshift.tasks.signed_requests import diagnose_signed, measure_signed

NAME = "signed-request-failures"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def signed_request_failures(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Find why signatures are invalid or requests replayed; secrets are rotated by people, who replays may be blocked.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The service, e.g. `shop/compose/main/service/backend`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), have_them_accepted)


def have_them_accepted(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy, service = incident.policy(SignedRequestPolicy), incident.target.part("service")
    engine, replays = incident.target.part("compose"), policy.replays

    diagnosis = diagnose_signed(engine, incident.connections, service, policy)
    findings = findings_of(diagnosis, policy)
    incident.diagnosed(numbers_in_words(diagnosis.numbers, policy), findings, as_markdown(findings))

    plan = plan_signed(incident.target, diagnosis, policy)
    incident.carry_out(
        plan, enough=lambda: within_limits(measure_signed(service, incident.connections, policy), policy)
    )
    if not incident.changed_something or replays is None or diagnosis.abuse is None:
        return incident.without_change()

    incident.verifying()
    samples, after = watch_abuse(engine, incident.connections, service, replays)
    numbers = measure_signed(service, incident.connections, policy)
    verdict = judge_signed(judge_abuse(diagnosis.abuse, samples, after, replays), numbers, policy)
    return incident.judged(verdict, measured=numbers_in_words(numbers, policy))
