"""How far a rollout is, by the rules of ``kubectl rollout status`` (``pkg/polymorphichelpers/rollout_status.go``).

Serves kubernetes.rollout_status; ``ProgressDeadlineExceeded`` means that nothing moved for the deadline, and the
controller neither stops nor goes back by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nightshift.remediation.kubernetes.objects import Workload, WorkloadKind
from nightshift.remediation.text import counted, printable


class RolloutState(StrEnum):
    """Where a rollout stands."""

    COMPLETE = "complete"
    PROGRESSING = "progressing"
    STUCK = "stuck"
    """Its progress deadline is exceeded, or pods of it cannot even be made."""
    PAUSED = "paused"
    """A person stopped it; nobody else goes on."""
    UNSEEN = "unseen"
    """Its controller has not looked at the newest specification."""


@dataclass(frozen=True, kw_only=True)
class RolloutStatus:
    """Where a rollout stands, in words."""

    state: RolloutState
    words: str


def rollout_status(workload: Workload) -> RolloutStatus:
    """Where the rollout of this workload stands."""
    name = printable(workload.name, 100)
    if not workload.is_observed:
        words = f"the controller of {name} has not looked at its newest specification yet"
        return RolloutStatus(state=RolloutState.UNSEEN, words=words)
    if workload.paused:
        return RolloutStatus(state=RolloutState.PAUSED, words=f"{name} is paused: somebody wants it left as it is")
    if stuck := _stuck(workload):
        return RolloutStatus(state=RolloutState.STUCK, words=stuck)
    if waits := _waits(workload):
        return RolloutStatus(state=RolloutState.PROGRESSING, words=f"{name}: {waits}")
    words = f"{name} is complete: {counted(workload.available, 'pod')} of {workload.replicas} available"
    return RolloutStatus(state=RolloutState.COMPLETE, words=words)


def _stuck(workload: Workload) -> str:
    progressing, failure = workload.condition("Progressing"), workload.condition("ReplicaFailure")
    if failure is not None and failure.is_true:
        return f"no pods can be made: {printable(failure.reason, 60)} {printable(failure.message, 300)}"
    if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
        deadline = workload.progress_deadline_seconds
        within = f" for {deadline} s" if deadline else " for its deadline"
        pods = f"{workload.updated} of {workload.replicas} pods are new, {workload.available} available"
        return f"nothing moved{within}: {pods}"
    return ""


def _waits(workload: Workload) -> str:
    wanted = workload.replicas
    if workload.kind is not WorkloadKind.DEPLOYMENT and workload.strategy == "OnDelete":
        return ""
    if workload.updated < wanted:
        return f"{workload.updated} of {wanted} pods are new"
    if workload.kind is WorkloadKind.DEPLOYMENT and workload.existing > workload.updated:
        return f"{counted(workload.existing - workload.updated, 'old pod')} still ending"
    if workload.kind is WorkloadKind.STATEFUL_SET:
        missing = wanted - workload.ready
        if not missing and workload.current_revision != workload.update_revision:
            return "its partition keeps some pods old"
        return f"{counted(missing, 'pod')} not ready" if missing > 0 else ""
    if workload.available < wanted:
        return f"{workload.available} of {wanted} pods are available"
    return ""
