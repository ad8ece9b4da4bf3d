"""A node in trouble: close it, move its pods, open it again when it is well; several nodes: touch nothing, page.

A pure function of what was seen and what is allowed. Covers the automatable steps of octollm.NodeNotReady (r1.5, r1.6,
r2.4-r2.7, r3.5, r3.6, r4.4, r4.6, r4.7, r5.3, r5.4), octollm.scenario.node_failure_with_crashing_pods and
octollm.tree.infrastructure, and avoids their hazards: no ``--force``, a drain that ends, budgets kept, nothing forced.
A kubelet or a container runtime that has stopped is started again first, once; replacing the machine is proposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.arguments import CordonNode, RestartNodeService, UncordonNode
from nightshift.remediation.kubernetes.drain import PodVerdict, Scene, verdicts
from nightshift.remediation.kubernetes.drain_plan import drain_action, eviction_action, refusals_of
from nightshift.remediation.kubernetes.node_diagnosis import NodeDiagnosis, NodeTrouble, trouble_of
from nightshift.remediation.kubernetes.node_guards import not_settled, objection
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.kubernetes.node_proposals import proposals_for
from nightshift.remediation.kubernetes.objects import Node, Pod
from nightshift.remediation.kubernetes.room import requests_of, without_place
from nightshift.remediation.models import Action, Plan, Quantity, Refusal, Risk, Target, UndoWhen
from nightshift.remediation.text import counted, printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a node without trouble."""
_RESTARTED: dict[str, Literal["kubelet", "containerd", "crio"]] = {
    "kubelet": "kubelet",
    "containerd": "containerd",
    "crio": "crio",
}
"""What may be started again while containers run on; Docker's may end with its engine."""
_ONE_NODE = Quantity(amount=1, unit="nodes")
_ONE_SERVICE = Quantity(amount=1, unit="services")
_NO_RELIEF = Refusal(
    what="Evicting pods to relieve the node",
    reason="no pod of low priority may be evicted now",
    lifted_by="relieve_pods, relieve_priority_at_most or protected_namespaces",
)
_WORDS = {
    NodeTrouble.HARDWARE: "its kernel reports failing hardware",
    NodeTrouble.SILENT: "its kubelet does not report",
    NodeTrouble.KUBELET: "its kubelet does not run",
    NodeTrouble.NETWORK: "pods on it have no network",
    NodeTrouble.RUNTIME: "its container runtime does not answer",
    NodeTrouble.NOT_READY: "it is not ready",
    NodeTrouble.DISK: "it is short of disk space",
    NodeTrouble.MEMORY: "it is short of memory",
    NodeTrouble.PIDS: "it is short of process ids",
    NodeTrouble.NONE: "it is well",
}


def plan_node_repair(
    target: Target, diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy, *, force: bool = False
) -> Plan:
    """What may be done about the node, in order; or why nothing may be done.

    Args:
        target: the node.
        diagnosis: of this moment.
        policy: limits.
        force: go on although the trouble is young; for a repair that was begun.
    """
    trouble, name = trouble_of(diagnosis), printable(diagnosis.node.name)
    if trouble is NodeTrouble.NONE:
        return _plan_for_a_well_node(target, diagnosis, policy)
    goal = f"Keep pods off {name} and running: {_WORDS[trouble]}"
    judged = judge_pods(diagnosis, policy)
    homeless = len(pods_without_place(diagnosis, judged))
    sure = force or trouble is NodeTrouble.HARDWARE
    refusal = objection(diagnosis, policy) or (None if sure else not_settled(diagnosis, policy))
    if refusal is not None:
        return Plan(goal=goal, target=target, refusals=(refusal,), expected="Nothing changes before a person decides.")
    actions, refusals = _actions(target, diagnosis, policy, trouble, judged, homeless)
    cordoned = diagnosis.cordoned_by_us or not diagnosis.node.unschedulable
    # Failing hardware calls itself ready: only a person may open such a node again.
    opens = cordoned and trouble is not NodeTrouble.HARDWARE and (actions or force)
    opened = (_uncordon(target, diagnosis.node, policy),) if opens else ()
    return Plan(
        goal=goal,
        target=target,
        actions=(*actions, *opened),
        refusals=refusals,
        proposals=proposals_for(diagnosis, trouble, judged, homeless),
        expected=f"Pods start elsewhere; {name} is opened again after {format_duration(policy.hold)} of being well."
        if opened
        else f"Pods start elsewhere; {name} stays closed until a person opens it.",
    )


@serves("octollm.NodeNotReady: r4.2")
def plan_restart(target: Target, diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> Plan | None:
    """Start again what its host says has stopped; None where that is not it, was tried, or nothing may be done."""
    stopped = _stopped(diagnosis, policy)
    if stopped is None or objection(diagnosis, policy) is not None or not_settled(diagnosis, policy) is not None:
        return None
    name, unit = printable(diagnosis.node.name), stopped.unit
    action = Action(
        kind=stopped.KIND,
        target=target,
        arguments=stopped.to_json(),
        items=(f"{stopped.unit}/{stopped.run}",),
        title=f"Restart {unit} on {name}",
        reason=f"Its host says that it does not run. Containers on {name} go on meanwhile.",
        risk=Risk.MEDIUM,
        bound=_ONE_SERVICE,
        gain=_ONE_NODE,
        undo="cannot be undone",
    )
    ready = f"{name} is ready within {format_duration(policy.restart_wait)}"
    expected = f"{ready}; else it is closed and its pods move."
    return Plan(goal=f"Bring {name} back: {unit} has stopped", target=target, actions=(action,), expected=expected)


def _stopped(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> RestartNodeService | None:
    """The service of the node that may be started again."""
    host, node = diagnosis.host, diagnosis.node
    if host is None or not host.connection or diagnosis.was_restarted or not policy.restart_services:
        return None
    units = {
        NodeTrouble.KUBELET: ("kubelet", host.kubelet_run),
        NodeTrouble.RUNTIME: (host.runtime_unit, host.runtime_run),
    }
    unit, run = units.get(trouble_of(diagnosis), ("", ""))
    if unit not in _RESTARTED:
        return None
    return RestartNodeService(node=node.name, uid=node.uid, host=host.connection, unit=_RESTARTED[unit], run=run)


def seconds_to_wait(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> float:
    """How long to see whether young trouble passes by itself, before anything is planned: then it is planned whole.

    0 when something else keeps everybody from touching the node: waiting would only delay the page.
    """
    trouble = trouble_of(diagnosis)
    if trouble in (NodeTrouble.NONE, NodeTrouble.HARDWARE) or objection(diagnosis, policy) is not None:
        return 0.0
    drains = trouble not in (NodeTrouble.MEMORY, NodeTrouble.PIDS) and _stopped(diagnosis, policy) is None
    wanted = max(policy.settle, policy.drain_after) if drains else policy.settle
    return max(0.0, wanted - diagnosis.seconds_in_trouble)


def judge_pods(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> tuple[PodVerdict, ...]:
    """Every pod of the node with what a drain would do about it."""
    scene = Scene(
        now=diagnosis.now,
        options=policy.drain_options,
        budgets=diagnosis.budgets,
        volumes=diagnosis.volumes,
        daemon_sets=diagnosis.daemon_sets,
        urgent_first=not diagnosis.node.is_ready,
    )
    return verdicts(diagnosis.pods, scene)


def pods_without_place(diagnosis: NodeDiagnosis, judged: Sequence[PodVerdict]) -> tuple[Pod, ...]:
    """Pods that a drain would move and for which no other node has room; empty where that was not seen."""
    if diagnosis.requested is None:
        return ()
    moving = [verdict.pod for verdict in judged if verdict.goes and not verdict.pod.is_finished]
    others = [n for n in diagnosis.nodes if n.name != diagnosis.node.name and n.is_ready and not n.unschedulable]
    return without_place(moving, others, diagnosis.requested)


def _plan_for_a_well_node(target: Target, diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> Plan:
    node, name = diagnosis.node, printable(diagnosis.node.name)
    if not node.unschedulable:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{name} is ready and without pressure.")
    if not diagnosis.cordoned_by_us:
        expected = f"{name} is ready. Somebody else cordoned it, so somebody else opens it."
        return Plan(goal=NOTHING_TO_DO, target=target, expected=expected)
    goal = f"Open {name} for pods again: it is ready"
    refusal = objection(diagnosis, policy) if diagnosis.others_not_ready or diagnosis.replaced_by_others else None
    if refusal is None and diagnosis.host is not None and not diagnosis.host.reachable:
        reason = "its host does not answer over SSH, so that nobody knows what its kernel says"
        refusal = Refusal(what=f"Opening {name} for pods", reason=reason, lifted_by="its host answering, or a person")
    if refusal is None and diagnosis.seconds_ready < policy.hold:
        reason = f"it is well for {format_duration(diagnosis.seconds_ready)} only"
        lifted_by = f"{format_duration(policy.hold)} of being well"
        refusal = Refusal(what=f"Opening {name} for pods", reason=reason, lifted_by=lifted_by)
    if refusal is not None:
        return Plan(goal=goal, target=target, refusals=(refusal,))
    action = _uncordon(target, node, policy)
    return Plan(goal=goal, target=target, actions=(action,), expected=f"Pods may start on {name} again.")


@serves("octollm.NodeNotReady: r2.7 r4.4")
def _uncordon(target: Target, node: Node, policy: NodeNotReadyPolicy) -> Action:
    """The last step of every repair, so that whoever approves the cordon approves its end, too."""
    arguments = UncordonNode(node=node.name, uid=node.uid, well_for=policy.hold)
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(node.uid,),
        title=f"Uncordon {printable(node.name)} once it is well for {format_duration(policy.hold)}",
        reason="Only where Nightshift cordoned it; the node itself is looked at again before.",
        risk=Risk.LOW,
        bound=_ONE_NODE,
        gain=_ONE_NODE,
        undo="cordon it again",
        undo_when=UndoWhen.BY_HAND,
    )


def _actions(
    target: Target,
    diagnosis: NodeDiagnosis,
    policy: NodeNotReadyPolicy,
    trouble: NodeTrouble,
    judged: Sequence[PodVerdict],
    homeless: int,
) -> tuple[tuple[Action, ...], tuple[Refusal, ...]]:
    actions = [] if diagnosis.node.unschedulable else [_cordon(target, diagnosis, trouble)]
    if trouble is NodeTrouble.MEMORY:
        relief = _relief(target, diagnosis, policy, judged)
        return (*actions, *relief), () if relief else (_NO_RELIEF,)
    if (refusal := _why_not_drain(diagnosis, policy, trouble, homeless)) is not None:
        return tuple(actions), (refusal,)
    drain = drain_action(
        target,
        diagnosis.node,
        judged,
        seconds=policy.drain_within,
        most=policy.most_pods,
        reason=f"{_WORDS[trouble].capitalize()} for {format_duration(diagnosis.seconds_in_trouble)}.",
        only_in_trouble=trouble is not NodeTrouble.HARDWARE,
    )
    return (*actions, *([drain] if drain else [])), refusals_of(judged)


@serves("octollm.NodeNotReady: r1.5 r2.4 r3.5 r4.6 r5.3")
def _cordon(target: Target, diagnosis: NodeDiagnosis, trouble: NodeTrouble) -> Action:
    node = diagnosis.node
    arguments = CordonNode(node=node.name, uid=node.uid)
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(node.uid,),
        title=f"Cordon {printable(node.name)}",
        reason=f"No new pod should start on it: {_WORDS[trouble]}.",
        risk=Risk.MEDIUM,
        bound=_ONE_NODE,
        gain=_ONE_NODE,
        undo="uncordon it",
        undo_when=UndoWhen.BY_HAND,
    )


def _why_not_drain(
    diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy, trouble: NodeTrouble, homeless: int
) -> Refusal | None:
    name = printable(diagnosis.node.name)
    what, lasts = f"Draining {name}", diagnosis.seconds_in_trouble
    if trouble is NodeTrouble.PIDS:
        reason = "one process that makes others takes the process ids; elsewhere it would take them, too"
        return Refusal(what=what, reason=reason, lifted_by="a person who stops it")
    if trouble is not NodeTrouble.HARDWARE and lasts < policy.drain_after:
        reason = f"it is in trouble for {format_duration(lasts)} only"
        return Refusal(what=what, reason=reason, lifted_by=f"{format_duration(policy.drain_after)} of trouble")
    if diagnosis.node.is_ready and homeless:
        reason = f"{counted(homeless, 'pod')} that still run would find no place elsewhere"
        return Refusal(what=what, reason=reason, lifted_by="more nodes, or smaller requests")
    return None


@serves("octollm.NodeNotReady: r2.5")
def _relief(
    target: Target, diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy, judged: Sequence[PodVerdict]
) -> list[Action]:
    """The largest pods of low priority, a few of them (octollm.NodeNotReady.r2.2, r2.4)."""
    used = diagnosis.memory_used or {}
    allowed = [
        verdict
        for verdict in judged
        if verdict.fate == "evict"
        and verdict.pod.priority <= policy.relieve_priority_at_most
        and verdict.pod.namespace not in policy.protected_namespaces
    ]
    largest = sorted(allowed, key=lambda v: (-used.get(v.pod.uid, requests_of(v.pod)[1]), v.pod.uid))
    chosen = largest[: policy.relieve_pods]
    if not chosen:
        return []
    return [
        eviction_action(
            target,
            diagnosis.node,
            chosen,
            seconds=policy.drain_within,
            reason="The node is short of memory; they take the most of it among the pods of low priority.",
        )
    ]
