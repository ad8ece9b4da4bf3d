"""Say why a volume claim is not bound; make a missing class, or the claim anew, where people agree."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.claim_planner import (
    findings_of,
    in_words,
    is_young,
    judge_bound,
    plan_pending_claim,
)
from nightshift.remediation.kubernetes.claim_policy import ClaimPendingPolicy
from nightshift.remediation.kubernetes.claim_replacement import plan_again
from nightshift.remediation.kubernetes.recreating import RecreateClaim
from nightshift.tasks.claims import is_gone, look_at_claim, wait_for_new_claim, wait_until_bound

NAME = "volume-claim-pending"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def volume_claim_pending(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Find why a claim is not bound. What people agree to: its missing class is made as a copy, or the claim anew.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The claim, e.g. `shop/cluster/main/namespace/shop/claim/data`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), explain)


def explain(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(ClaimPendingPolicy)
    cluster, namespace, name = (incident.target.part(kind) for kind in policy.TARGET)
    connection = incident.connection(cluster, KubernetesConnection)

    def is_bound() -> bool:
        there = not is_gone(cluster, connection, namespace, name)
        return there and look_at_claim(cluster, connection, namespace, name).claim.phase == "Bound"

    def made_again() -> bool:
        # Deleted, and the new one not made: that comes before anything else, under the same approval.
        begun = incident.unfinished(RecreateClaim.KIND)
        if begun is None or not is_gone(cluster, connection, namespace, name):
            return False
        again = plan_again(incident.target, begun)
        incident.carry_out(again, enough=is_bound)
        return True

    if not made_again():
        diagnosis = look_at_claim(cluster, connection, namespace, name)
        if is_young(diagnosis, policy):
            diagnosis = wait_until_bound(cluster, connection, namespace, name, policy.patience - diagnosis.age)
        findings = findings_of(diagnosis)
        incident.diagnosed(in_words(diagnosis), findings, as_markdown(findings))
        incident.carry_out(plan_pending_claim(incident.target, diagnosis, policy), enough=is_bound)
        made_again()
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    after = wait_for_new_claim(cluster, connection, namespace, name, policy.bound_within)
    return incident.judged(judge_bound(name, after), measured=in_words(after) if after is not None else "no claim")
