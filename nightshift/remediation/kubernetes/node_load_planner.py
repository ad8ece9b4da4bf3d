"""A node short of CPU or memory: its noisy neighbour named, and relieved by more pods elsewhere or by a restart.

A pure function of what was seen and what is allowed. Covers octollm.HighNodeCPUUsage.r1.1, r1.2, r3.1, e1 and
octollm.HighNodeMemoryUsage.r1.2, r3.1, e1. Their r2.1, a larger limit for a pod, is never done here: it loads a node
more that has too little already (its hazard). Deleting a leaking pod (r1.1) is its restart, which keeps the others up.
"""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.load import Consumer, Kind, NodeLoad
from nightshift.remediation.kubernetes.load_policy import NodeLoadPolicy
from nightshift.remediation.kubernetes.objects import Node
from nightshift.remediation.kubernetes.room import without_place
from nightshift.remediation.kubernetes.saturation import Saturated, propose_autoscaler, relieve_leak, scale_out
from nightshift.remediation.models import Finding, Plan, Proposal, Refusal, Target
from nightshift.remediation.text import counted, listed, printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a node that is within its limit."""
_MOST_TRIED = 3
"""Neighbours, the noisiest first."""
_MOST_SHOWN = 5


def plan_node_relief(target: Target, load: NodeLoad, policy: NodeLoadPolicy) -> Plan:
    """Relieve the node of its noisiest neighbour; where all nodes are as full, propose more nodes instead."""
    said = node_in_words(load, policy.kind)
    if load.percent <= policy.at_most_percent:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{said}, as it should be.")
    changes = Changes()
    if (refusal := _why_not(load)) is not None:
        changes.refusals.append(refusal)
    elif relaxed(load, policy):
        _relieve(target, load, policy, changes)
    else:
        _node_wide(load, policy, changes)
    return Plan(
        goal=f"Relieve the node: {said}",
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=f"At most {policy.at_most_percent:g} % in use for {format_duration(policy.hold)}.",
    )


def relaxed(load: NodeLoad, policy: NodeLoadPolicy) -> tuple[str, ...]:
    """Names of the other nodes that are within the limit, the least loaded first."""
    within = [name for name, percent in load.others.items() if percent <= policy.at_most_percent]
    return tuple(sorted(within, key=lambda name: (load.others[name], name)))


def node_in_words(load: NodeLoad, kind: Kind) -> str:
    """The symptom in one line."""
    return f"{load.percent:.0f} % of the {kind} of {printable(load.node.node.name, 100)} in use"


def findings_of(load: NodeLoad, policy: NodeLoadPolicy) -> tuple[Finding, ...]:
    """The node beside the others, and its hungriest neighbours."""
    high = load.percent > policy.at_most_percent
    others = [f"{printable(name, 60)} {percent:.0f} %" for name, percent in sorted(load.others.items())]
    above = len(load.others) - len(relaxed(load, policy))
    node = Finding(
        title=node_in_words(load, policy.kind),
        detail=f"the limit is {policy.at_most_percent:g} %; others: {listed(others, 5) or 'none that take pods'}",
        data={"percent": load.percent, "at_most": policy.at_most_percent, "others_above": above},
        troubling=high,
    )
    neighbours = (_neighbour(consumer, load, policy) for consumer in load.consumers[:_MOST_SHOWN])
    return (node, *neighbours)


def _neighbour(consumer: Consumer, load: NodeLoad, policy: NodeLoadPolicy) -> Finding:
    share = _share(consumer, load)
    held_back = "" if consumer.throttled_percent is None else f", held back in {consumer.throttled_percent:.0f} %"
    title = f"{consumer.name} uses {policy.kind.shown(consumer.used)} there{held_back}"
    noisy = share >= policy.neighbour_percent and load.percent > policy.at_most_percent
    detail = f"{share:.0f} % of what its pods use; {counted(len(consumer.pods), 'pod')}, {_pods(consumer)}"
    return Finding(title=title, detail=detail, troubling=noisy)


def _pods(consumer: Consumer) -> str:
    return listed([printable(pod.name, 100) for pod in consumer.pods])


def _share(consumer: Consumer, load: NodeLoad) -> float:
    return 100 * consumer.used / max(1, load.used_by_pods)


def _why_not(load: NodeLoad) -> Refusal | None:
    if load.node.node.is_ready and load.node.heard_lately:
        return None
    reason = "the node is not ready: that is the trouble"
    return Refusal(what="Any change because of its load", reason=reason, lifted_by="that incident")


@proposes("octollm.HighNodeCPUUsage: r3.1")
def _node_wide(load: NodeLoad, policy: NodeLoadPolicy, changes: Changes) -> None:
    """octollm.HighNodeCPUUsage.r3.1: it costs money, and pods that run already do not move."""
    what = f"no other node is below {policy.at_most_percent:g} %" if load.others else "no other node takes pods"
    changes.refusals.append(
        Refusal(what="Scaling out", reason=f"{what}: more pods would find no better place", lifted_by="another node")
    )
    noisiest = f"The most is used by {load.consumers[0].name}." if load.consumers else ""
    changes.proposals.append(
        Proposal(
            title="Add nodes to the pool",
            detail=f"{noisiest} Mind that the number may count per zone, and that a cluster autoscaler may undo it.",
            reason=f"It is not one node: {what}.",
        )
    )


def _relieve(target: Target, load: NodeLoad, policy: NodeLoadPolicy, changes: Changes) -> None:
    noisy = [consumer for consumer in load.consumers if _share(consumer, load) >= policy.neighbour_percent]
    for consumer in noisy[:_MOST_TRIED]:
        if _relieved_of(target, consumer, load, policy, changes):
            return
    if not noisy:
        reason = f"no workload takes {policy.neighbour_percent:g} % of what the pods of the node use"
        changes.refusals.append(Refusal(what="Relieving it of one workload", reason=reason))
    first = load.consumers[0].name if load.consumers else "what no pod uses: its own daemons"
    least = printable(relaxed(load, policy)[0], 100)
    changes.proposals.append(
        Proposal(
            title=f"Relieve {printable(load.node.node.name, 100)} by hand, beginning with {first}",
            reason=f"{least} has the most left: {load.others[relaxed(load, policy)[0]]:.0f} % in use there.",
        )
    )


def _relieved_of(target: Target, consumer: Consumer, load: NodeLoad, policy: NodeLoadPolicy, changes: Changes) -> bool:
    """Whether something is done about this neighbour; otherwise the changes say why not."""
    if (refusal := _not_ours(consumer, load, policy)) is not None:
        changes.refusals.append(refusal)
        return False
    seen = _saturated(consumer, load)
    if policy.kind is Kind.MEMORY and seen.grows_steadily_for >= policy.leak_watch:
        # A leak fills every pod that is added, too.
        return relieve_leak(target, seen, policy, seen.grows_steadily_for, changes)
    reason = f"It uses {policy.kind.shown(consumer.used)} there, {_share(consumer, load):.0f} % of what pods use."
    if policy.kind is Kind.CPU:
        propose_autoscaler(seen, policy, changes)
    return scale_out(target, seen, policy, f"{reason}{seen.held_back}", changes)


def _not_ours(consumer: Consumer, load: NodeLoad, policy: NodeLoadPolicy) -> Refusal | None:
    what, pod = f"Relieving the node of {consumer.name}", consumer.pods[0]
    if pod.namespace not in load.managed:
        return Refusal(what=what, reason="it belongs to somebody else", lifted_by="who looks after its namespace")
    if consumer.workload is None:
        return Refusal(what=what, reason="no workload that can be changed keeps it", lifted_by="its owner")
    if without_place([pod], _within(load, policy), load.node.requested or {}):
        reason = "another pod of it would find no place on a node that has something left"
        return Refusal(what=what, reason=reason, lifted_by="another node, or smaller requests")
    return None


def _within(load: NodeLoad, policy: NodeLoadPolicy) -> Sequence[Node]:
    names = relaxed(load, policy)
    return [node for node in load.node.nodes if node.name in names]


def _saturated(consumer: Consumer, load: NodeLoad) -> Saturated:
    workload = consumer.workload
    if workload is None:
        raise ValueError("a pod that no workload keeps has nothing to change")
    pod = consumer.pods[0]
    container = next(one for one in pod.containers if one.name == consumer.container)
    return Saturated(
        workload=workload,
        container=container,
        uses=consumer.uses,
        autoscalers=load.autoscalers,
        throttled_percent=consumer.throttled_percent,
    )
