"""A container that was killed for memory: a larger limit for a spike, a restart or a person for a leak.

A pure function of what was seen and what is allowed. Covers octollm.PodOOMKilled.d1-d3, r1.1 and r2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.durations import format_duration
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.crash_diagnosis import CrashDiagnosis
from nightshift.remediation.kubernetes.memory_policy import PodMemoryPolicy
from nightshift.remediation.kubernetes.objects import Autoscaler, ContainerStatus, Pod
from nightshift.remediation.kubernetes.saturation import Saturated, SaturationPolicy, Use, relieve_memory
from nightshift.remediation.models import Finding, Plan, Refusal, Target, format_bytes
from nightshift.remediation.text import counted, printable

OOM_KILLED = "OOMKilled"
NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a pod no container of which was killed."""


@dataclass(frozen=True, kw_only=True)
class MemoryDiagnosis:
    """Everything the planner gets to know."""

    crash: CrashDiagnosis
    """The pod, its node and its workload."""
    uses: Sequence[Use] = ()
    """Of the killed container, in order of time; empty: not measured."""
    autoscalers: Sequence[Autoscaler] = ()
    """Of its namespace."""


def killed_container(pod: Pod) -> ContainerStatus | None:
    """The container whose last run, or this one, was ended for memory."""
    ends = ((status, status.terminated or status.last_termination) for status in pod.statuses)
    return next((status for status, end in ends if end is not None and end.reason == OOM_KILLED), None)


def plan_memory_relief(target: Target, diagnosis: MemoryDiagnosis, policy: PodMemoryPolicy) -> Plan:
    """What may be done so that it is not killed again, or what a person has to do."""
    pod, killed = diagnosis.crash.pod, killed_container(diagnosis.crash.pod)
    name = printable(pod.name, 120)
    if killed is None:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"No container of {name} was killed for memory.")
    changes = Changes()
    relieve_killed(target, diagnosis, killed, policy, changes)
    return Plan(
        goal=f"Keep {printable(killed.name, 80)} of {name} from being killed for memory again",
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=f"No kill for {format_duration(policy.hold)} after the new pods are ready.",
    )


def relieve_killed(
    target: Target, diagnosis: MemoryDiagnosis, killed: ContainerStatus, policy: SaturationPolicy, changes: Changes
) -> None:
    """More memory for the container that was killed, or why it gets none."""
    if (refusal := _why_not(diagnosis, killed)) is not None:
        changes.refusals.append(refusal)
    else:
        relieve_memory(target, _saturated(diagnosis, killed), policy, changes)


def findings_of(diagnosis: MemoryDiagnosis) -> tuple[Finding, ...]:
    """The kill, the limit, and how its memory went."""
    crash, killed = diagnosis.crash, killed_container(diagnosis.crash.pod)
    if killed is None:
        return (Finding(title="No container of it was killed for memory"),)
    limit = _limit(crash.pod, killed)
    title = f"Container {printable(killed.name, 80)} was killed for memory, {counted(killed.restarts, 'restart')}"
    of = f"its limit is {format_bytes(limit)}" if limit else "it has no limit of its own"
    found = [Finding(title=title, detail=f"{of}; {counted(crash.kills_last_hour, 'kill')} an hour", troubling=True)]
    if diagnosis.uses:
        first, last = diagnosis.uses[0], diagnosis.uses[-1]
        lasts = format_duration(max(0.0, last.at - first.at))
        found.append(
            Finding(title=f"It used {format_bytes(first.amount)}, and {format_bytes(last.amount)} {lasts} later")
        )
    return tuple(found)


def _why_not(diagnosis: MemoryDiagnosis, killed: ContainerStatus) -> Refusal | None:
    crash = diagnosis.crash
    what = f"Any change to {printable(crash.pod.name, 120)}"
    if crash.node is not None and not crash.node.is_ready:
        return Refusal(what=what, reason="its node is not ready: the node is the trouble", lifted_by="that incident")
    template = crash.release.workload.template.containers if crash.release is not None else ()
    container = next((one for one in template if one.name == killed.name), None)
    if container is None:
        return Refusal(what=what, reason="no workload that can be changed keeps it", lifted_by="its owner")
    had, has = _limit(crash.pod, killed), container.limits.memory_bytes
    if had is not None and has is not None and had < has:
        reason = f"its workload allows {format_bytes(has)} already, and this pod is older"
        return Refusal(what=what, reason=reason, lifted_by="the end of its rollout")
    return None


def _saturated(diagnosis: MemoryDiagnosis, killed: ContainerStatus) -> Saturated:
    release, limit = diagnosis.crash.release, _limit(diagnosis.crash.pod, killed)
    if release is None:
        raise ValueError("a pod that no workload keeps has nothing to change")
    container = next(one for one in release.workload.template.containers if one.name == killed.name)
    # The kill says that it was at its limit, whatever was measured before.
    at = diagnosis.uses[-1].at if diagnosis.uses else diagnosis.crash.now.timestamp()
    at_the_limit = [Use(at=at, amount=limit)] if limit else []
    return Saturated(
        workload=release.workload,
        container=container,
        uses=(*diagnosis.uses, *at_the_limit),
        autoscalers=diagnosis.autoscalers,
        left_on_node=diagnosis.crash.memory_left_on_node,
        kills_last_hour=diagnosis.crash.kills_last_hour,
    )


def _limit(pod: Pod, killed: ContainerStatus) -> int | None:
    return next((c.limits.memory_bytes for c in pod.containers if c.name == killed.name), None)
