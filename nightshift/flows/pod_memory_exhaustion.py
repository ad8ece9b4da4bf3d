"""Keep a container of a Kubernetes cluster from being killed for memory again."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection, KubernetesConnection
from nightshift.remediation.kubernetes.crash_findings import evidence_markdown, in_words
from nightshift.remediation.kubernetes.memory_planner import findings_of, plan_memory_relief
from nightshift.remediation.kubernetes.memory_policy import PodMemoryPolicy
from nightshift.remediation.kubernetes.pods_verification import in_words as measured_in_words
from nightshift.remediation.kubernetes.pods_verification import judge
from nightshift.remediation.models import Outcome
from nightshift.remediation.text import printable
from nightshift.tasks.kubernetes_memory import look_at_memory
from nightshift.tasks.kubernetes_pods import watch_pods

NAME = "pod-memory-exhaustion"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def pod_memory_exhaustion(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Raise the limit of what was killed at it, within a ceiling; what leaks or has no room goes to a person.

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
    policy = incident.policy(PodMemoryPolicy)
    cluster, namespace, name = (incident.target.part(kind) for kind in ("cluster", "namespace", "pod"))
    connection = incident.connection(cluster, KubernetesConnection)
    measured = policy.prometheus
    prometheus = (measured, incident.connection(measured, HttpConnection)) if measured is not None else None

    diagnosis = look_at_memory(cluster, connection, namespace, name, policy.leak_watch, prometheus)
    if diagnosis is None:
        return Conclusion(Outcome.EXPECTED, f"The pod {printable(name, 120)} exists no more, and none in its place.")
    crash = diagnosis.crash
    incident.diagnosed(in_words(crash), findings_of(diagnosis), evidence_markdown(crash))

    plan = plan_memory_relief(incident.target, diagnosis, policy)
    # A pod that runs again is no sign that it has enough: it is killed the next time it needs as much.
    incident.carry_out(plan, enough=lambda: False)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    kept = crash.release.workload if crash.release is not None else crash.pod
    samples = watch_pods(cluster, connection, kept, wait=policy.wait, hold=policy.hold)
    seen = measured_in_words(samples[-1]) if samples else "not measured"
    return incident.judged(judge(samples, policy.hold), measured=seen)
