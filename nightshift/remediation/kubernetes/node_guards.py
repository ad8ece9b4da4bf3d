"""Reasons to leave a node alone, each a small predicate; the first that objects ends the plan and pages.

Guard words as in kured (blockers fail closed) and medik8s NodeHealthCheck (``minHealthy``, one node at a time).
Serves octollm.NodeNotReady e1, e4 and octollm.tree.infrastructure: several nodes are one trouble of the cluster.
"""

from __future__ import annotations

from collections.abc import Callable

from nightshift.remediation.durations import format_duration
from nightshift.remediation.kubernetes.infrastructure_tree import walk
from nightshift.remediation.kubernetes.marks import CORDONED_BY
from nightshift.remediation.kubernetes.node_diagnosis import STALE_AFTER, NodeDiagnosis
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.models import Refusal
from nightshift.remediation.text import counted, listed, printable

_WHAT = "Any change to the node"
Guard = Callable[[NodeDiagnosis, NodeNotReadyPolicy], Refusal | None]


def control_plane_unreachable(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> Refusal | None:  # noqa: ARG001
    """No node was heard of: the control plane is cut off from all of them, or its answers are old."""
    if diagnosis.heard_lately:
        return None
    return Refusal(
        what=_WHAT,
        reason=f"no node of the cluster was heard of for {format_duration(STALE_AFTER)}: the control plane is cut off "
        "from its nodes or answers from memory, and draining would move pods that may run well",
        lifted_by="the control plane hearing its nodes again",
    )


def several_nodes(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> Refusal | None:
    """Several nodes down have one cause elsewhere; moving pods from one to the next makes it worse."""
    others = diagnosis.others_not_ready
    if not others:
        return None
    share = 100 * (len(others) + 1) / max(1, len(diagnosis.nodes))
    names = listed([printable(node.name, 60) for node in others])
    return Refusal(
        what=_WHAT,
        reason=f"{counted(len(others), 'other node')} not ready, too ({names}): {share:.0f} % of the cluster. "
        "That is one trouble of the cluster, its network or its control plane, not of one node"
        + (f". By the decision tree: {walk(diagnosis, policy.tree).then}" if policy.tree is not None else ""),
        lifted_by="a person who has found the common cause",
    )


def control_plane_node(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> Refusal | None:  # noqa: ARG001
    """Its static pods and etcd member cannot be moved."""
    if not diagnosis.node.is_control_plane:
        return None
    return Refusal(what=_WHAT, reason="it runs the control plane, which evictions do not move", lifted_by="a person")


def others_at_work(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> Refusal | None:  # noqa: ARG001
    """Somebody repairs or removes it already; two repairs at once fight."""
    words = diagnosis.replaced_by_others
    return Refusal(what=_WHAT, reason=words, lifted_by="its end") if words else None


def one_at_a_time(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> Refusal | None:  # noqa: ARG001
    """Another node that Nightshift cordoned has not come back yet."""
    busy = [
        printable(node.name, 60)
        for node in diagnosis.nodes
        if node.name != diagnosis.node.name and node.unschedulable and CORDONED_BY in node.meta.annotations
    ]
    if not busy:
        return None
    reason = f"one node at a time: Nightshift has cordoned {listed(busy)} and not opened it yet"
    return Refusal(what=_WHAT, reason=reason, lifted_by="that node uncordoned or removed")


def too_few_healthy(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> Refusal | None:
    """Without this node, too small a share would be ready and open for pods."""
    workers = [node for node in diagnosis.nodes if not node.is_control_plane]
    fit = [n for n in workers if n.name != diagnosis.node.name and n.is_ready and not n.unschedulable]
    share = 100 * len(fit) / max(1, len(workers))
    if share >= policy.min_healthy_percent:
        return None
    return Refusal(
        what=_WHAT,
        reason=f"without it {len(fit)} of {counted(len(workers), 'node')} ({share:.0f} %) would be ready and open for "
        f"pods, fewer than {policy.min_healthy_percent:g} %",
        lifted_by="more nodes, or a smaller min_healthy_percent",
    )


def not_settled(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> Refusal | None:
    """Nodes miss a heartbeat and come back; moving their pods would cost more than waiting."""
    lasts = diagnosis.seconds_in_trouble
    if diagnosis.seconds_in_trouble >= policy.settle:
        return None
    return Refusal(
        what=_WHAT,
        reason=f"the trouble lasts for {format_duration(lasts)} only; it may pass by itself",
        lifted_by=f"{format_duration(policy.settle)} of trouble",
    )


GUARDS: tuple[Guard, ...] = (
    control_plane_unreachable,
    several_nodes,
    control_plane_node,
    others_at_work,
    one_at_a_time,
    too_few_healthy,
)


def objection(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> Refusal | None:
    """Why nothing may be done; None when nothing stands against it."""
    return next((refusal for guard in GUARDS if (refusal := guard(diagnosis, policy)) is not None), None)
