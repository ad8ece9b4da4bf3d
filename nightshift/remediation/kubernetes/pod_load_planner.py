"""A pod at its CPU or memory limit: a larger limit up to the ceiling while its node has room, then more pods.

A pure function of what was seen and what is allowed. Covers cryptofunk.HighMemoryUsage (and its alias HighCPUUsage)
.d1-d5, r1.1, r1.2, r2.1 and v1: the new limit is computed from the present one, never a fixed one that may be smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.durations import format_duration
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.load import Kind
from nightshift.remediation.kubernetes.load_policy import PodLoadPolicy
from nightshift.remediation.kubernetes.objects import Autoscaler, Container, Node, Pod, Workload
from nightshift.remediation.kubernetes.saturation import Saturated, Use, relieve_cpu, relieve_memory
from nightshift.remediation.models import Finding, Plan, Proposal, Refusal, Target
from nightshift.remediation.text import printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a pod that is within its limits."""


@dataclass(frozen=True, kw_only=True)
class PodLoad:
    """Everything that the planner gets to know."""

    pod: Pod
    container: Container
    """The one that is nearest to its limit, as the pod has it."""
    uses: Sequence[Use]
    """Of that container, in order of time; the last one is of now."""
    throttled_percent: float | None = None
    workload: Workload | None = None
    node: Node | None = None
    left_on_node: int | None = None
    """What the pods of its node have not asked for; None: not known."""
    autoscalers: Sequence[Autoscaler] = ()
    kills_last_hour: int = 0
    """Of the pod, for memory."""

    def limit(self, kind: Kind) -> int | None:
        """Of the container, in the unit of its uses."""
        limits = self.container.limits
        return limits.cpu_millicores if kind is Kind.CPU else limits.memory_bytes

    def percent(self, kind: Kind) -> float:
        """Of its limit, in use; 0 without one."""
        limit = self.limit(kind)
        return 100 * self.uses[-1].amount / limit if limit and self.uses else 0.0


def is_high(load: PodLoad, policy: PodLoadPolicy) -> bool:
    """Whether it is at its limit, by what it uses or by being held back there."""
    held_back = policy.kind is Kind.CPU and (load.throttled_percent or 0) >= policy.throttled_percent
    return load.percent(policy.kind) > policy.high_percent or held_back


def plan_pod_relief(target: Target, load: PodLoad, policy: PodLoadPolicy) -> Plan:
    """What may be done so that it has enough, or what a person has to do."""
    kind, said = policy.kind, pod_in_words(load, policy.kind)
    if load.limit(kind) is not None and not is_high(load, policy):
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{said}, as it should be.")
    changes = Changes()
    if (refusal := _why_not(load, kind)) is not None:
        changes.refusals.append(refusal)
    elif (seen := saturated(load)) is not None:
        (relieve_cpu if kind is Kind.CPU else relieve_memory)(target, seen, policy, changes)
    if not (changes.actions or changes.proposals):
        name = printable(load.container.name, 80)
        changes.proposals.append(Proposal(title=f"Find why {name} needs so much {kind}", reason=f"{said}."))
    return Plan(
        goal=f"Give {printable(load.container.name, 80)} of {printable(load.pod.name, 120)} enough {kind}",
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=f"At most {policy.high_percent:g} % of its limit in use for {format_duration(policy.hold)}.",
    )


def pod_in_words(load: PodLoad, kind: Kind) -> str:
    """The symptom in one line."""
    name, used = printable(load.container.name, 80), load.uses[-1].amount if load.uses else 0
    limit = load.limit(kind)
    of = f"of {kind.shown(limit)}, {load.percent(kind):.0f} %" if limit else "without a limit of its own"
    return f"Container {name} uses {kind.shown(used)} {of}"


def findings_of(load: PodLoad, policy: PodLoadPolicy) -> tuple[Finding, ...]:
    """The container at its limit, how its use went, and what its node has left."""
    kind = policy.kind
    found = [
        Finding(
            title=pod_in_words(load, kind),
            detail=f"the limit of the alert is {policy.high_percent:g} %",
            data={"percent": load.percent(kind), "at_most": policy.high_percent},
            troubling=is_high(load, policy),
        )
    ]
    if load.throttled_percent is not None:
        found.append(Finding(title=f"It was held back at its limit in {load.throttled_percent:.0f} % of its periods"))
    if len(load.uses) > 1:
        first, lasts = load.uses[0], format_duration(max(0.0, load.uses[-1].at - load.uses[0].at))
        found.append(Finding(title=f"It used {kind.shown(first.amount)} {lasts} before"))
    if load.left_on_node is not None:
        node = printable(load.pod.node, 100)
        found.append(Finding(title=f"The pods of {node} leave {kind.shown(max(0, load.left_on_node))} unasked for"))
    return tuple(found)


def _why_not(load: PodLoad, kind: Kind) -> Refusal | None:
    what = f"Any change to {printable(load.pod.name, 120)}"
    if load.limit(kind) is None:
        reason = f"it has no {kind} limit that it could be at"
        return Refusal(what=what, reason=reason, lifted_by="a limit in its manifest")
    if load.node is not None and not load.node.is_ready:
        return Refusal(what=what, reason="its node is not ready: the node is the trouble", lifted_by="that incident")
    if (now := _of_template(load)) is None:
        return Refusal(what=what, reason="no workload that can be changed keeps it", lifted_by="its owner")
    if now.limits != load.container.limits:
        reason = "its workload has other limits already, and this pod is older"
        return Refusal(what=what, reason=reason, lifted_by="the end of its rollout")
    return None


def _of_template(load: PodLoad) -> Container | None:
    template = load.workload.template.containers if load.workload is not None else ()
    return next((one for one in template if one.name == load.container.name), None)


def saturated(load: PodLoad) -> Saturated | None:
    """What the rules about limits need to know; None: no workload that can be changed keeps it."""
    container = _of_template(load)
    if load.workload is None or container is None:
        return None
    return Saturated(
        workload=load.workload,
        container=container,
        uses=load.uses,
        autoscalers=load.autoscalers,
        left_on_node=load.left_on_node,
        kills_last_hour=load.kills_last_hour,
        throttled_percent=load.throttled_percent,
    )
