"""What was found about a Deployment that lacks pods, in words; names and messages are escaped."""

from __future__ import annotations

from nightshift.remediation.kubernetes.drain_plan import pod_name
from nightshift.remediation.kubernetes.objects import Pod
from nightshift.remediation.kubernetes.replicas_planner import ReplicasDiagnosis
from nightshift.remediation.text import counted, printable

_MOST_ROWS = 100


def in_words(diagnosis: ReplicasDiagnosis) -> str:
    """The symptom in one line."""
    workload = diagnosis.workload
    wanted = counted(workload.replicas, "pod")
    return f"{printable(workload.name, 100)}: {workload.available} of {wanted} available"


def evidence_markdown(diagnosis: ReplicasDiagnosis) -> str:
    """Every pod with its node and what it waits for, those that are not ready first."""
    pods = sorted(diagnosis.pods, key=lambda pod: (pod.is_ready, pod.name))
    rows = [f"| {pod_name(pod)} | {printable(pod.node, 80)} | {_state(pod)} |" for pod in pods[:_MOST_ROWS]]
    more = len(pods) - _MOST_ROWS
    head = ["### Pods", "", "| pod | node | state |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows, *([f"\n… and {more:,} more."] if more > 0 else [])])


def _state(pod: Pod) -> str:
    waiting = [printable(status.waiting_reason, 60) for status in pod.statuses if status.waiting_reason]
    return "ready" if pod.is_ready else f"not ready, {', '.join(waiting) or printable(pod.phase, 20).lower()}"
