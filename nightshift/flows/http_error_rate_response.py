"""Requests of a service fail: go back from a bad release, leave causes to their own runbooks, restart once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.compose.arguments import RestartContainer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.arguments import RolloutRestart
from nightshift.remediation.kubernetes.regression import judge_requests
from nightshift.remediation.models import Finding, Outcome
from nightshift.remediation.requests.errors_planner import plan_error_repair
from nightshift.remediation.requests.errors_policy import HttpErrorRatePolicy
from nightshift.remediation.requests.evidence import RequestEvidence, with_recorded_changes
from nightshift.remediation.requests.findings import findings_of
from nightshift.remediation.requests.trees import outage, why_this_way
from nightshift.remediation.text import printable
from nightshift.tasks.requests import look_at_requests, not_up, watch_service, within_limit

NAME = "http-error-rate-response"
LOOK_BACK = timedelta(hours=6)
"""Changes recorded before that are not shown beside the trouble."""


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def http_error_rate_response(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Tell a bad release, something that does not answer, and a shortage apart; act on what is the service's own.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The service, e.g. `shop/compose/main/service/web` or
            `shop/cluster/main/namespace/shop/deployment/web`, each part percent-encoded.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), repair)


def repair(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy, place = incident.policy(HttpErrorRatePolicy), (incident.target, dict(incident.connections))

    evidence = look_at_requests(*place, policy)
    if evidence is None:
        name = printable(incident.target.path[-1], 120)
        return Conclusion(Outcome.EXPECTED, f"{name} exists no more.")
    evidence = with_recorded_changes(evidence, incident.changes_since(incident.opened_at - LOOK_BACK))
    measured, findings = (
        policy.measure.shown(evidence.value),
        (*_way(incident, evidence), *findings_of(evidence, policy)),
    )
    incident.diagnosed(measured, findings, as_markdown(findings))

    restarted = any(incident.began(kind.KIND) for kind in (RestartContainer, RolloutRestart))
    plan = plan_error_repair(incident.target, evidence, policy, _repairs(incident), restarted=restarted)
    incident.carry_out(plan, enough=lambda: within_limit(*place, policy))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    if (failed := not_up(*place, evidence, policy)) is not None:
        return incident.judged(failed, measured=measured)
    looks = watch_service(*place, policy)
    last = looks[-1].value
    shown = "not measured" if last is None else policy.measure.shown(last)
    return incident.judged(judge_requests(looks, policy), measured=shown)


def _way(incident: Incident, evidence: RequestEvidence) -> tuple[Finding, ...]:
    """The way through the system's decision tree, where it has one and the share of errors is measured."""
    policy = incident.policy(HttpErrorRatePolicy)
    if policy.tree is None or policy.measure.kind != "errors" or evidence.value is None:
        return ()
    others = len(incident.open_beside((incident.alert,)))
    return why_this_way("outages", outage(evidence.value, others, policy.tree))


def _repairs(incident: Incident) -> Mapping[str, str]:
    """How the other runbooks of the system are started by hand, by their alerts."""
    return {
        alert: f"nightshift run {runbook.flow} --system {incident.system.id} --target "
        + ":".join(part.default or kind.upper() for kind, part in runbook.target.items())
        for alert, runbook in incident.system.runbooks.items()
        if runbook.flow is not None
    }
