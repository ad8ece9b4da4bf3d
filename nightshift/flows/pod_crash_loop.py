"""Find out why a pod of a Kubernetes cluster crashes again and again, and repair the cause where that is allowed."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection, KubernetesConnection
from nightshift.remediation.execution import Execution, Status
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.arguments import DeletePod
from nightshift.remediation.kubernetes.crash_cause import explain
from nightshift.remediation.kubernetes.crash_diagnosis import CrashDiagnosis
from nightshift.remediation.kubernetes.crash_findings import evidence_markdown, findings_of, in_words
from nightshift.remediation.kubernetes.crash_measures import CrashMeasures, findings_of_measures
from nightshift.remediation.kubernetes.crash_planner import plan_crash_repair
from nightshift.remediation.kubernetes.crash_policy import PodCrashLoopPolicy
from nightshift.remediation.kubernetes.objects import Pod, Workload
from nightshift.remediation.kubernetes.pods_verification import in_words as measured_in_words
from nightshift.remediation.kubernetes.pods_verification import judge
from nightshift.remediation.models import Outcome, Plan
from nightshift.remediation.text import printable
from nightshift.tasks.crash_measures import measure_crash, measure_memory
from nightshift.tasks.kubernetes_pods import look_at_pod, pods_are_calm, wait_for_service, watch_pods

NAME = "pod-crash-loop"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def pod_crash_loop(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Tell the cause apart, bring back what the pod needs before the pod itself, and see that all pods stay up.

    Args:
        system: A system of the catalogue, e.g. `shop`.
        target: The pod, each part of its path percent-encoded, e.g. `shop/cluster/main/namespace/shop/pod/web-1-a`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), repair)


def repair(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(PodCrashLoopPolicy)
    cluster, namespace, name = (incident.target.part(kind) for kind in ("cluster", "namespace", "pod"))
    connection = incident.connection(cluster, KubernetesConnection)

    diagnosis = look_at_pod(cluster, connection, namespace, name, policy)
    if diagnosis is None:
        return Conclusion(Outcome.EXPECTED, f"The pod {printable(name, 120)} exists no more, and none in its place.")
    why = explain(diagnosis)
    metrics, traces = (_reached(incident, name) for name in (policy.prometheus, policy.jaeger))
    measures = measure_crash(diagnosis, metrics, traces) if metrics or traces else CrashMeasures()
    findings = (*findings_of(diagnosis, why), *findings_of_measures(measures))
    shown = (as_markdown(findings), evidence_markdown(diagnosis))
    incident.diagnosed(in_words(diagnosis), findings, "\n\n".join(part for part in shown if part))

    plan, execution = _carry_out(incident, diagnosis, policy)
    service = _waits_for(plan, execution)
    if service and wait_for_service(cluster, connection, namespace, service, policy.wait):
        again = look_at_pod(cluster, connection, namespace, name, policy)
        _carry_out(incident, again or diagnosis, policy)
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    samples = watch_pods(cluster, connection, _kept(diagnosis), wait=policy.wait, hold=policy.hold)
    measured = measured_in_words(samples[-1]) if samples else "not measured"
    if metrics and samples and diagnosis.failing is not None:
        memory = measure_memory(tuple(samples[-1].pods), diagnosis.failing.name, metrics)
        measured = "; ".join(part for part in (measured, memory) if part)
    return incident.judged(judge(samples, policy.hold), measured=measured)


def _reached(incident: Incident, name: str | None) -> tuple[str, HttpConnection] | None:
    """A connection that the runbook may name."""
    return (name, incident.connection(name, HttpConnection)) if name is not None else None


def _carry_out(incident: Incident, diagnosis: CrashDiagnosis, policy: PodCrashLoopPolicy) -> tuple[Plan, Execution]:
    cluster = incident.target.part("cluster")
    connection = incident.connection(cluster, KubernetesConnection)

    def enough() -> bool:
        return pods_are_calm(cluster, connection, _kept(diagnosis))

    plan = plan_crash_repair(incident.target, diagnosis, policy)
    return plan, incident.carry_out(plan, enough=enough)


def _kept(diagnosis: CrashDiagnosis) -> Workload | Pod:
    """What is to be well in the end: the whole workload, where one keeps the pod."""
    return diagnosis.release.workload if diagnosis.release is not None else diagnosis.pod


def _waits_for(plan: Plan, execution: Execution) -> str:
    """The service for which the pod's own turn has to wait; empty when it need not."""
    waiting = [
        result.action
        for result in execution.results
        if result.action.kind == DeletePod.KIND and result.status is Status.REFUSED
    ]
    done = any(result.status in (Status.DONE, Status.NOT_NEEDED) for result in execution.results)
    return DeletePod.from_json(waiting[0].arguments).needs_service if waiting and done and plan.actions else ""
