"""Requests of a service are slow: find where the time goes, and relieve what may be relieved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.remediation.models import Finding, Outcome, Verdict
from nightshift.remediation.requests.evidence import with_recorded_changes
from nightshift.remediation.requests.latency_evidence import LatencyEvidence
from nightshift.remediation.requests.latency_findings import findings_of
from nightshift.remediation.requests.latency_planner import plan_slow_requests
from nightshift.remediation.requests.latency_policy import RequestLatencyPolicy
from nightshift.remediation.requests.latency_verification import judge_latency
from nightshift.remediation.requests.trees import slowness, why_this_way
from nightshift.remediation.text import printable
from nightshift.tasks.request_latency import look_at_latency, needs_now, share_of_errors
from nightshift.tasks.requests import look_at_requests, not_up, watch_service, within_limit

NAME = "request-latency-response"
LOOK_BACK = timedelta(hours=6)
"""Changes recorded before that are not shown beside the trouble."""


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def request_latency_response(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Look at releases, statements, caches, traces and CPU; take a release back, or let the service do more.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The service, e.g. `shop/compose/main/service/web`, or
            `shop/cluster/main/namespace/shop/deployment/web`, each part percent-encoded.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), speed_up)


def speed_up(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy, place = incident.policy(RequestLatencyPolicy), (incident.target, dict(incident.connections))
    if (now := _look(incident)) is None:
        name = printable(incident.target.path[-1], 120)
        return Conclusion(Outcome.EXPECTED, f"{name} exists no more.")
    findings = (*_way(incident, now), *findings_of(now, policy))
    incident.diagnosed(policy.measure.shown(now.requests.value), findings, as_markdown(findings))
    failing = share_of_errors(*place, policy)

    looks: Sequence[LevelSample] = ()
    verdict = Verdict(healthy=False, inconclusive=True, reason="Nobody looked after the repair.")
    for number in range(policy.rounds):
        plan = plan_slow_requests(incident.target, now, policy)
        if number and not plan.actions:
            break
        execution = incident.carry_out(plan, enough=lambda: within_limit(*place, policy))
        if not incident.changed_something:
            return incident.without_change()
        if (unsettled := not_up(*place, now.requests, policy)) is not None:
            incident.verifying()
            return incident.judged(unsettled, measured="not measured")
        looks = watch_service(*place, policy)
        verdict = judge_latency(looks, policy, (failing, share_of_errors(*place, policy)), needs_now(*place, policy))
        if verdict.healthy or verdict.inconclusive or execution.ended is not None or (again := _look(incident)) is None:
            break
        now = again

    incident.verifying()
    last = looks[-1].value if looks else None
    return incident.judged(verdict, measured="not measured" if last is None else policy.measure.shown(last))


def _way(incident: Incident, now: LatencyEvidence) -> tuple[Finding, ...]:
    """The way through the system's decision tree, where it has one and the latency is measured."""
    tree, p95 = incident.policy(RequestLatencyPolicy).tree, now.requests.value
    if tree is None or p95 is None:
        return ()
    since = (datetime.now(UTC) - incident.opened_at).total_seconds()
    return why_this_way("slow services", slowness(p95, max(0.0, since), tree))


def _look(incident: Incident) -> LatencyEvidence | None:
    """What is known now; None: what answers the requests exists no more."""
    policy, place = incident.policy(RequestLatencyPolicy), (incident.target, dict(incident.connections))
    found = look_at_requests(*place, policy)
    if found is None:
        return None
    requests = with_recorded_changes(found, incident.changes_since(incident.opened_at - LOOK_BACK))
    return look_at_latency(*place, policy, requests, incident.open_beside(policy.less_wanted_by))
