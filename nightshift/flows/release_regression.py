"""Requests of a service fail or are slow: if that began with its newest release, go back to the last healthy one."""

from __future__ import annotations

from datetime import timedelta

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer, run_name
from nightshift.remediation.connections import HttpConnection, KubernetesConnection
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.pods_verification import in_words as pods_in_words
from nightshift.remediation.kubernetes.pods_verification import judge
from nightshift.remediation.kubernetes.regression import (
    findings_of,
    judge_requests,
    plan_release_regression,
    with_changes,
)
from nightshift.remediation.kubernetes.regression_policy import ReleaseRegressionPolicy
from nightshift.remediation.models import Outcome
from nightshift.remediation.text import printable
from nightshift.tasks.kubernetes_pods import watch_pods
from nightshift.tasks.release_regression import look_at_regression, requests_are_well, watch_requests

NAME = "release-regression"
LOOK_BACK = timedelta(hours=6)
"""Changes recorded before that are not shown beside the trouble."""


@flow(name=NAME, flow_run_name=run_name, persist_result=False, result_storage=NOWHERE)
def release_regression(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Compare the onset of errors or latency with the newest release, and take that back where it is to blame.

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
    policy = incident.policy(ReleaseRegressionPolicy)
    cluster, namespace, name = (incident.target.part(kind) for kind in ("cluster", "namespace", "deployment"))
    connection = incident.connection(cluster, KubernetesConnection)
    metrics = incident.connection(policy.prometheus, HttpConnection)

    diagnosis = look_at_regression(cluster, connection, metrics, namespace, name, policy)
    if diagnosis is None:
        return Conclusion(Outcome.EXPECTED, f"The Deployment {printable(name, 120)} exists no more.")
    diagnosis = with_changes(diagnosis, incident.changes_since(incident.opened_at - LOOK_BACK))
    measured, findings = policy.measure.shown(diagnosis.value), findings_of(diagnosis, policy)
    incident.diagnosed(measured, findings, as_markdown(findings))

    plan = plan_release_regression(incident.target, diagnosis, policy)
    incident.carry_out(plan, enough=lambda: requests_are_well(metrics, namespace, name, policy))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    rollout = watch_pods(cluster, connection, diagnosis.workload, wait=policy.wait, hold=0)
    if not (pods := judge(rollout, 0)).healthy:
        return incident.judged(pods, measured=pods_in_words(rollout[-1]) if rollout else "not measured")
    looks = watch_requests(metrics, namespace, name, policy)
    last = looks[-1].value
    shown = "not measured" if last is None else policy.measure.shown(last)
    return incident.judged(judge_requests(looks, policy), measured=shown)
