"""A pod uses nearly all CPU or memory that it may: a larger limit, then more pods; a leak goes to a person."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection, KubernetesConnection
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.levels import judge_level
from nightshift.remediation.kubernetes.load import Kind
from nightshift.remediation.kubernetes.load_policy import PodLoadPolicy
from nightshift.remediation.kubernetes.pod_load_planner import findings_of, is_high, plan_pod_relief, pod_in_words
from nightshift.remediation.kubernetes.pods_verification import in_words as pods_in_words
from nightshift.remediation.kubernetes.pods_verification import judge
from nightshift.remediation.models import Outcome
from nightshift.remediation.text import printable
from nightshift.tasks.heap_profile import take_heap_profile
from nightshift.tasks.kubernetes_load import look_at_pod_load, watch_pod_load
from nightshift.tasks.kubernetes_pods import watch_pods

NAME = "pod-saturation"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def pod_saturation(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Raise the limit of a container that is at it while its node has room, up to the ceiling; then add pods.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The pod, each part of its path percent-encoded, e.g. `shop/cluster/main/namespace/shop/pod/web-1-a`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), relieve)


def relieve(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(PodLoadPolicy)
    cluster, namespace, name = (incident.target.part(kind) for kind in policy.TARGET)
    connection = incident.connection(cluster, KubernetesConnection)
    metrics = incident.connection(policy.prometheus, HttpConnection)

    load = look_at_pod_load(cluster, connection, metrics, namespace, name, policy)
    if load is None:
        return Conclusion(Outcome.EXPECTED, f"The pod {printable(name, 120)} exists no more, and none in its place.")
    findings = findings_of(load, policy)
    if policy.kind is Kind.MEMORY and load.workload is not None and load.workload.name in policy.profiles:
        profile = policy.profiles[load.workload.name]
        findings = (*findings, take_heap_profile(incident.connections, profile))
    incident.diagnosed(pod_in_words(load, policy.kind), findings, as_markdown(findings))

    plan = plan_pod_relief(incident.target, load, policy)

    def enough() -> bool:
        now = look_at_pod_load(cluster, connection, metrics, namespace, name, policy)
        return now is not None and not is_high(now, policy)

    incident.carry_out(plan, enough=enough)
    if not incident.changed_something or load.workload is None:
        return incident.without_change()

    incident.verifying()
    rollout = watch_pods(cluster, connection, load.workload, wait=policy.wait, hold=0)
    if not (pods := judge(rollout, 0)).healthy:
        return incident.judged(pods, measured=pods_in_words(rollout[-1]) if rollout else "not measured")
    looks = watch_pod_load(cluster, connection, metrics, load.workload, policy)

    def shown(percent: float) -> str:
        return f"{percent:.0f} % of its {policy.kind} limit in use"

    last = looks[-1].value
    verdict = judge_level(looks, policy.high_percent, policy.hold, shown)
    return incident.judged(verdict, measured="not measured" if last is None else shown(last))
