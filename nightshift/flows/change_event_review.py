"""Something changed in a cluster: record who, what and when, and watch whether the service takes it well."""

from __future__ import annotations

import time

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection, KubernetesConnection
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.change_planner import (
    ChangeSeen,
    conclusion_of,
    findings_of,
    judge_calm,
    plan_change_review,
    watched_until,
)
from nightshift.remediation.kubernetes.change_policy import ChangeReviewPolicy
from nightshift.remediation.kubernetes.change_record import AlertSeen, related
from nightshift.remediation.kubernetes.pods_verification import in_words as pods_in_words
from nightshift.remediation.kubernetes.pods_verification import judge
from nightshift.remediation.models import Outcome, Verdict
from nightshift.remediation.text import listed, printable
from nightshift.tasks.kubernetes_changes import look_at_change, look_at_rollout
from nightshift.tasks.kubernetes_pods import watch_pods

NAME = "change-event-review"
_LONGEST_PAUSE = 15.0


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def change_event_review(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Record a release, a scaling or a new configuration, and watch the alerts of the service for the declared time.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: What changed, e.g. `shop/cluster/main/namespace/shop/configmap/web`, each part percent-encoded.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), review)


def review(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(ChangeReviewPolicy)
    cluster, namespace, name = (incident.target.part(kind) for kind in policy.TARGET)
    connection = incident.connection(cluster, KubernetesConnection)

    seen = _look(incident, policy)
    if seen is None:
        return Conclusion(Outcome.EXPECTED, f"{printable(name, 120)} exists no more.")
    findings = findings_of(seen, policy)
    incident.diagnosed(seen.record.said, findings, as_markdown(findings))

    plan = plan_change_review(incident.target, seen, policy)
    execution = incident.carry_out(plan, enough=lambda: False)
    if incident.changed_something:
        return (_calmed if policy.change == "scaling" else _restarted)(incident, seen, policy)
    if execution.ended is not None:
        return incident.without_change()

    alerts = _watch(incident, seen, policy)
    if plan.actions or plan.proposals:
        return incident.without_change()
    rollout = look_at_rollout(cluster, connection, namespace, name) if policy.change == "release" else None
    well, words = conclusion_of(seen, alerts, rollout, policy)
    return Conclusion(Outcome.EXPECTED if well else Outcome.ESCALATED, words)


def _look(incident: Incident, policy: ChangeReviewPolicy) -> ChangeSeen | None:
    cluster, namespace, name = (incident.target.part(kind) for kind in policy.TARGET)
    connection, measured = incident.connection(cluster, KubernetesConnection), policy.prometheus
    metrics = (measured, incident.connection(measured, HttpConnection)) if measured is not None else None
    return look_at_change(cluster, connection, metrics, namespace, name, policy, incident.system.time_zone)


def _watch(incident: Incident, seen: ChangeSeen, policy: ChangeReviewPolicy) -> tuple[AlertSeen, ...]:
    """Critical and warning alerts of the service since the change, looked for until its time is over."""
    until = watched_until(seen.record, incident.opened_at, policy)
    while (left := until - time.time()) > 0:
        time.sleep(min(_LONGEST_PAUSE, left))
    return related(seen.record, incident.alerts_since(seen.record.at))


def _calmed(incident: Incident, seen: ChangeSeen, policy: ChangeReviewPolicy) -> Conclusion:
    """Whether the autoscaler keeps its direction with its longer window."""
    incident.verifying()
    time.sleep(policy.hold)
    again = _look(incident, policy)
    verdict = judge_calm(again, f"{printable(seen.name, 100)} waits longer", policy.hold)
    return incident.judged(verdict, measured=verdict.reason)


def _restarted(incident: Incident, seen: ChangeSeen, policy: ChangeReviewPolicy) -> Conclusion:
    """Whether what uses the configuration came up with it."""
    cluster = incident.target.part("cluster")
    connection = incident.connection(cluster, KubernetesConnection)
    incident.verifying()
    for workload in (*seen.stale, *seen.fresh):
        samples = watch_pods(cluster, connection, workload, wait=policy.wait, hold=policy.hold)
        verdict = judge(samples, policy.hold)
        if not verdict.healthy:
            return incident.judged(verdict, measured=pods_in_words(samples[-1]) if samples else "not measured")
    alerts = related(seen.record, incident.alerts_since(seen.record.at))
    words = listed([alert.said for alert in alerts])
    reason = f"Since the change: {words}." if alerts else "All pods that use it are ready, and no alert of theirs came."
    return incident.judged(Verdict(healthy=not alerts, reason=reason), measured=reason)
