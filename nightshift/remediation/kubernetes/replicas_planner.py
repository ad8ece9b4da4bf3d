"""Fewer pods than wanted: which pods are missing, why, and whose trouble that is.

Covers octollm.DeploymentReplicasMismatch.d1-d3, r1.1-r3.1: a rollout within its deadline is waited for, one stuck
since its release is taken back, crashing pods, claims and nodes have runbooks of their own, room is for people to buy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.drain_plan import pod_name
from nightshift.remediation.kubernetes.objects import Node, Pod, Workload
from nightshift.remediation.kubernetes.replicas_policy import ReplicasPolicy
from nightshift.remediation.kubernetes.rollback import Release, roll_back, why_not_the_release
from nightshift.remediation.kubernetes.rollout_state import RolloutState, RolloutStatus, rollout_status
from nightshift.remediation.kubernetes.scheduling import Homeless, NoPlace, homeless
from nightshift.remediation.models import Finding, HandOver, Plan, Proposal, Refusal, Target
from nightshift.remediation.text import counted, listed, printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a workload that has all its pods."""
_IMAGE_TROUBLE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_CRASHES = ("CrashLoopBackOff", "RunContainerError", "CreateContainerError", "CreateContainerConfigError", "StartError")


@dataclass(frozen=True, kw_only=True)
class ReplicasDiagnosis:
    """Everything the planner gets to know."""

    release: Release
    pods: Sequence[Pod] = ()
    """Of the workload, finished ones left out."""
    nodes: Sequence[Node] = ()
    missing_since: datetime | None = None
    now: datetime

    @property
    def workload(self) -> Workload:
        """The one that lacks pods."""
        return self.release.workload

    @property
    def missing(self) -> int:
        """How many pods are not available."""
        return max(0, self.workload.replicas - self.workload.available)

    @property
    def without_node(self) -> tuple[Homeless, ...]:
        """Pods that the scheduler found no node for."""
        return tuple(found for pod in self.pods if (found := homeless(pod)) is not None)

    @property
    def on_bad_nodes(self) -> tuple[Pod, ...]:
        """Pods that are not ready on nodes that are not."""
        bad = {node.name for node in self.nodes if not node.is_ready}
        return tuple(pod for pod in self.pods if pod.node in bad and not pod.is_ready)

    def waiting_for(self, reasons: Sequence[str]) -> tuple[Pod, ...]:
        """Pods with a container that waits for one of these reasons, on nodes that are well."""
        bad = {pod.uid for pod in self.on_bad_nodes}
        return tuple(
            pod
            for pod in self.pods
            if pod.uid not in bad and any(status.waiting_reason in reasons for status in pod.statuses)
        )


def plan_missing_replicas(target: Target, diagnosis: ReplicasDiagnosis, policy: ReplicasPolicy) -> Plan:
    """What may be done so that all pods are available, or whose trouble it is."""
    workload, name = diagnosis.workload, printable(diagnosis.workload.name, 100)
    status = rollout_status(workload)
    if status.state is RolloutState.COMPLETE and not diagnosis.missing:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{status.words}, as it should be.")
    changes = Changes()
    goal = f"Have all {workload.replicas} pods of {name} available: {diagnosis.missing} missing"
    if (waiting := _wait(diagnosis, status, policy)) is not None:
        changes.refusals.append(waiting)
    elif not _elsewhere(target, diagnosis, changes):
        _released(target, diagnosis, policy, status, changes)
        _missing_room(diagnosis, changes)
        if not (changes.actions or changes.proposals):
            detail = f"kubectl -n {printable(workload.namespace, 80)} describe deployment {name}"
            changes.proposals.append(Proposal(title=f"Look at {name}: {detail}", reason=status.words))
    return Plan(
        goal=goal,
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=f"{workload.replicas} pods of {name} available for {format_duration(policy.hold)}.",
    )


def seconds_to_wait(diagnosis: ReplicasDiagnosis, policy: ReplicasPolicy) -> float:
    """How long the rollout may still take, after which it is looked at again; 0 when none is under way."""
    moved = _moved(diagnosis, rollout_status(diagnosis.workload))
    return 0.0 if moved is None else max(0.0, _deadline(diagnosis, policy) - moved)


def findings_of(diagnosis: ReplicasDiagnosis) -> tuple[Finding, ...]:
    """The rollout, and what each missing pod lacks."""
    status = rollout_status(diagnosis.workload)
    workload = diagnosis.workload
    return (
        Finding(
            title=f"{workload.available} of {counted(workload.replicas, 'pod')} available",
            detail=status.words,
            data={"wanted": workload.replicas, "available": workload.available},
            troubling=diagnosis.missing > 0,
        ),
        *(
            Finding(title=f"{pod_name(lost.pod)} has no node: {lost.why}", detail=lost.said, troubling=True)
            for lost in diagnosis.without_node[:10]
        ),
        *(
            Finding(title=f"{pod_name(pod)} is on {printable(pod.node, 80)}, which is not ready", troubling=True)
            for pod in diagnosis.on_bad_nodes[:10]
        ),
    )


def _wait(diagnosis: ReplicasDiagnosis, status: RolloutStatus, policy: ReplicasPolicy) -> Refusal | None:
    """A rollout is at work: it has its own deadline."""
    what = f"Any change to {printable(diagnosis.workload.name, 100)}"
    if status.state is RolloutState.PAUSED:
        return Refusal(what=what, reason=status.words, lifted_by="kubectl rollout resume, by who paused it")
    if status.state is RolloutState.UNSEEN:
        return Refusal(what=what, reason=status.words, lifted_by="its controller; if it stays so, the control plane")
    moved, deadline = _moved(diagnosis, status), _deadline(diagnosis, policy)
    if moved is None or moved > deadline:
        return None
    reason = f"{status.words}; it last moved {format_duration(moved)} ago"
    return Refusal(what=what, reason=reason, lifted_by=f"its progress deadline of {format_duration(deadline)}")


def _moved(diagnosis: ReplicasDiagnosis, status: RolloutStatus) -> float | None:
    """Seconds since the rollout last moved; None when none is under way."""
    progressing = diagnosis.workload.condition("Progressing")
    if status.state is not RolloutState.PROGRESSING or progressing is None or not progressing.is_true:
        return None
    at = progressing.heard_at or progressing.since
    if at is None or progressing.reason == "NewReplicaSetAvailable":
        return None  # the last rollout was completed: pods are missing since, and no deadline runs
    return max(0.0, (diagnosis.now - at).total_seconds())


def _deadline(diagnosis: ReplicasDiagnosis, policy: ReplicasPolicy) -> float:
    return float(diagnosis.workload.progress_deadline_seconds or policy.default_deadline)


@serves("octollm.DeploymentReplicasMismatch: r3.1")
def _elsewhere(target: Target, diagnosis: ReplicasDiagnosis, changes: Changes) -> bool:
    """Troubles that have a runbook and an incident of their own; True when there is one."""
    claims = [lost for lost in diagnosis.without_node if lost.why is NoPlace.VOLUME]
    down = [lost for lost in diagnosis.without_node if lost.why is NoPlace.NODE_DOWN]
    crashing = diagnosis.waiting_for(_CRASHES)
    troubles = (
        (diagnosis.on_bad_nodes, "on nodes that are not ready: the node is the trouble"),
        ([lost.pod for lost in down], "without a node, because nodes are not ready or under pressure"),
        ([lost.pod for lost in claims], "waiting for a volume: the claim is the trouble"),
        (crashing, "crashing: the runbook for crashing pods is the one"),
    )
    what = f"Any change to {printable(diagnosis.workload.name, 100)}"
    for pods, words in troubles:
        if pods:
            names = listed([pod_name(pod) for pod in pods])
            reason = f"{counted(len(pods), 'pod')} {words} ({names})"
            changes.refusals.append(Refusal(what=what, reason=reason, lifted_by="that trouble's own repair"))
            if pods is diagnosis.on_bad_nodes and pods[0].node:
                changes.proposals.append(_of_node(target, pods[0].node, reason))
            return True
    return False


def _of_node(target: Target, node: str, why: str) -> Proposal:
    """The node is repaired by its own runbook."""
    place = {"cluster": target.part("cluster"), "node": node}
    handed = HandOver(flows=("node-not-ready",), place=place, why=why)
    return Proposal(title=f"Left to the runbook for the node {printable(node, 120)}", hand_over=handed)


@proposes("octollm.DeploymentReplicasMismatch: r2.1")
def _released(
    target: Target, diagnosis: ReplicasDiagnosis, policy: ReplicasPolicy, status: RolloutStatus, changes: Changes
) -> None:
    """A release whose image cannot be had, or whose pods never come up, is taken back."""
    unpulled = diagnosis.waiting_for(_IMAGE_TROUBLE)
    if unpulled:
        images = listed(sorted({printable(c.image, 120) for pod in unpulled for c in pod.containers}))
        changes.proposals.append(
            Proposal(
                title=f"Check that the image exists and may be pulled: {images}",
                reason="Then kubectl set image, or correct the pull secret; Nightshift does not guess a tag.",
            )
        )
    if policy.rollback is None or not (unpulled or status.state is RolloutState.STUCK):
        return
    if diagnosis.without_node or diagnosis.workload.condition("ReplicaFailure") is not None:
        return  # an older template would find no room either
    if innocent := why_not_the_release(diagnosis.release, diagnosis.missing_since, policy.rollback):
        what = f"Rolling back {printable(diagnosis.workload.name, 100)}"
        changes.refusals.append(Refusal(what=what, reason=innocent))
        return
    reason = f"{status.words[:1].upper()}{status.words[1:]}."
    roll_back(target, diagnosis.release, policy.rollback, reason, changes)


@serves("octollm.DeploymentReplicasMismatch: r1.1")
@proposes("octollm.DeploymentReplicasMismatch: r1.2 r1.3")
def _missing_room(diagnosis: ReplicasDiagnosis, changes: Changes) -> None:
    for why, title in (
        (NoPlace.ROOM, "Add a node, or reduce requests"),
        (NoPlace.RULES, "Look at node selector, affinity, taints and cordoned nodes"),
        (NoPlace.UNKNOWN, "Find out why no node takes them"),
    ):
        lost = [found for found in diagnosis.without_node if found.why is why]
        if lost:
            short = listed(sorted({name for found in lost for name in found.short_of}))
            of = f", short of {short}" if short else ""
            names = f"{counted(len(lost), 'pod')} without a node{of}"
            changes.proposals.append(Proposal(title=f"{title}: {names}", detail=lost[0].said))
    failure = diagnosis.workload.condition("ReplicaFailure")
    if failure is not None and failure.is_true:
        said = f"{printable(failure.reason, 60)}: {printable(failure.message, 300)}"
        changes.proposals.append(Proposal(title="Let its pods be made: quota or admission refuses them", detail=said))
