"""Nothing happens where something is expected: is that expected now, what is broken, and does it happen again?"""

from __future__ import annotations

from dataclasses import replace

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.activity.planner import plan_activity
from nightshift.remediation.activity.policy import ActivityStalledPolicy, EventCounter
from nightshift.remediation.activity.verification import age_in_words, answer_in_words, judge_answers, judge_events
from nightshift.remediation.activity.words import findings_of, quiet_in_words
from nightshift.remediation.compose.arguments import RestartContainer
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.arguments import RolloutRestart
from nightshift.remediation.kubernetes.pods_verification import in_words as pods_in_words
from nightshift.remediation.kubernetes.pods_verification import judge
from nightshift.tasks.activity import diagnose_activity, look_at_last_event, watch_events, watch_synthetic
from nightshift.tasks.kubernetes_pods import watch_pods

NAME = "activity-stalled"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def activity_stalled(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Find why events stopped, off hours or not, and start again what makes them; old items expire, never late.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: What makes the events, e.g. `shop/compose/main/service/signal-generator`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), bring_back)


def bring_back(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(ActivityStalledPolicy)
    zone, connections = incident.system.time_zone, incident.connections

    diagnosis = diagnose_activity(incident.target, connections, policy, zone, incident.opened_at)
    kind = RestartContainer.KIND if policy.platform == "compose" else RolloutRestart.KIND
    restarted = incident.began(kind) and incident.unfinished(kind) is None
    diagnosis = replace(diagnosis, restarted=restarted)
    findings = findings_of(diagnosis, policy)
    incident.diagnosed(quiet_in_words(diagnosis, policy), findings, as_markdown(findings))

    plan = plan_activity(incident.target, diagnosis, policy)

    def enough() -> bool:
        return look_at_last_event(connections, policy).quiet_for <= policy.limit

    incident.carry_out(plan, enough=enough)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    release = diagnosis.producer.release
    if release is not None:
        cluster = incident.target.part("cluster")
        connection = incident.connection(cluster, KubernetesConnection)
        rollout = watch_pods(cluster, connection, release.workload, wait=policy.wait, hold=0)
        if not (pods := judge(rollout, 0)).healthy:
            return incident.judged(pods, measured=pods_in_words(rollout[-1]) if rollout else "not measured")
    if policy.looks.synthetic is not None and isinstance(policy.looks.events, EventCounter):
        answers = watch_synthetic(connections, policy)
        return incident.judged(judge_answers(answers, policy), measured=answer_in_words(answers[-1].value or 0))
    looks = watch_events(connections, policy)
    last = looks[-1].value
    return incident.judged(
        judge_events(looks, policy), measured="not measured" if last is None else age_in_words(last, policy)
    )
