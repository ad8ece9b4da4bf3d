"""Find out why a Deployment of a Kubernetes cluster lacks pods, and take a bad release back where that is allowed."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.kubernetes.pods_verification import in_words as measured_in_words
from nightshift.remediation.kubernetes.pods_verification import judge
from nightshift.remediation.kubernetes.replicas_findings import evidence_markdown, in_words
from nightshift.remediation.kubernetes.replicas_planner import findings_of, plan_missing_replicas, seconds_to_wait
from nightshift.remediation.kubernetes.replicas_policy import ReplicasPolicy
from nightshift.remediation.models import Outcome
from nightshift.remediation.text import printable
from nightshift.tasks.kubernetes_pods import pods_are_calm, watch_pods
from nightshift.tasks.kubernetes_replicas import look_at_replicas

NAME = "deployment-replicas-mismatch"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def deployment_replicas_mismatch(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Wait for a rollout, take back one that is stuck, leave nodes, claims and crashes to their own flows.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The Deployment, e.g. `shop/cluster/main/namespace/shop/deployment/web`, each part percent-encoded.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), repair)


def repair(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(ReplicasPolicy)
    cluster, namespace, name = (incident.target.part(kind) for kind in ("cluster", "namespace", "deployment"))
    connection = incident.connection(cluster, KubernetesConnection)

    diagnosis = look_at_replicas(cluster, connection, namespace, name, policy)
    if diagnosis is not None and (seconds := seconds_to_wait(diagnosis, policy)):
        watch_pods(cluster, connection, diagnosis.workload, wait=seconds, hold=0)
        diagnosis = look_at_replicas(cluster, connection, namespace, name, policy)
    if diagnosis is None:
        return Conclusion(Outcome.EXPECTED, f"The Deployment {printable(name, 120)} exists no more.")
    incident.diagnosed(in_words(diagnosis), findings_of(diagnosis), evidence_markdown(diagnosis))

    plan = plan_missing_replicas(incident.target, diagnosis, policy)
    workload = diagnosis.workload
    incident.carry_out(plan, enough=lambda: pods_are_calm(cluster, connection, workload))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    samples = watch_pods(cluster, connection, workload, wait=policy.wait, hold=policy.hold)
    measured = measured_in_words(samples[-1]) if samples else "not measured"
    return incident.judged(judge(samples, policy.hold), measured=measured)
