"""Say why a volume claim is not bound, and what a person can do about it."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer, run_name
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.claim_planner import findings_of, in_words, is_young, plan_pending_claim
from nightshift.remediation.kubernetes.claim_policy import ClaimPendingPolicy
from nightshift.tasks.claims import look_at_claim, wait_until_bound

NAME = "volume-claim-pending"


@flow(name=NAME, flow_run_name=run_name, persist_result=False, result_storage=NOWHERE)
def volume_claim_pending(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Find why a claim is not bound. It changes nothing: each way out makes or makes anew what holds data.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The claim, e.g. `shop/cluster/main/namespace/shop/claim/data`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan; nothing is changed in any case.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), explain)


def explain(incident: Incident) -> Conclusion:
    """Diagnose, plan, report: there is nothing to remediate here."""
    policy = incident.policy(ClaimPendingPolicy)
    cluster, namespace, name = (incident.target.part(kind) for kind in policy.TARGET)
    connection = incident.connection(cluster, KubernetesConnection)

    diagnosis = look_at_claim(cluster, connection, namespace, name)
    if is_young(diagnosis, policy):
        diagnosis = wait_until_bound(cluster, connection, namespace, name, policy.patience - diagnosis.age)
    findings = findings_of(diagnosis)
    incident.diagnosed(in_words(diagnosis), findings, as_markdown(findings))

    plan = plan_pending_claim(incident.target, diagnosis, policy)
    incident.carry_out(plan, enough=lambda: look_at_claim(cluster, connection, namespace, name).claim.phase == "Bound")
    return incident.without_change()
