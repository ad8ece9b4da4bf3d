"""A drain written down: the one action, its refusals, and the table that names every pod of the node."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.arguments import DrainNode, EvictPods, ListedPod
from nightshift.remediation.kubernetes.drain import Fate, PodVerdict
from nightshift.remediation.kubernetes.objects import Node, Pod
from nightshift.remediation.models import Action, Impact, Quantity, Refusal, Risk, Target
from nightshift.remediation.text import counted, listed, printable

MOST_ROWS = 500
"""Rows of the table; a node runs 110 pods by default and seldom more than 250."""
UNDO_OF_DRAIN = "uncordon the node; evicted pods stay where they were made again"


@serves("octollm.NodeNotReady: r1.6 r3.6 r4.7 r5.4")
def drain_action(
    target: Target,
    node: Node,
    judged: Sequence[PodVerdict],
    *,
    seconds: float,
    most: int,
    reason: str,
    only_in_trouble: bool = False,
) -> Action | None:
    """Evict what may go, at most so many pods; None when nothing may."""
    going = [verdict for verdict in judged if verdict.goes][:most]
    if not going:
        return None
    pods = tuple(listed_pod(verdict) for verdict in going)
    later = sum(verdict.fate is Fate.EVICT_LATER for verdict in going)
    waits = f", {later} of them when their disruption budgets allow" if later else ""
    arguments = DrainNode(node=node.name, uid=node.uid, pods=pods, seconds=seconds, only_in_trouble=only_in_trouble)
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=tuple(pod.identity for pod in pods),
        title=f"Evict {counted(len(pods), 'pod')} from {printable(node.name)}{waits}",
        reason=reason,
        risk=Risk.HIGH,
        bound=Quantity(amount=len(pods), unit="pods"),
        gain=Quantity(amount=len(pods), unit="pods"),
        undo=UNDO_OF_DRAIN,
        impact=impact_of([verdict.pod for verdict in going]),
    )


def eviction_action(target: Target, node: Node, going: Sequence[PodVerdict], *, seconds: float, reason: str) -> Action:
    """Evict a few pods to relieve a crowded node."""
    pods = tuple(listed_pod(verdict) for verdict in going)
    arguments = EvictPods(node=node.name, pods=pods, seconds=seconds)
    names = listed([pod_name(verdict.pod) for verdict in going])
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=tuple(pod.identity for pod in pods),
        title=f"Evict {counted(len(pods), 'pod')} of low priority from {printable(node.name)}: {names}",
        reason=reason,
        risk=Risk.MEDIUM,
        bound=Quantity(amount=len(pods), unit="pods"),
        gain=Quantity(amount=len(pods), unit="pods"),
        undo="cannot be undone; their controllers make them again elsewhere",
        impact=impact_of([verdict.pod for verdict in going]),
    )


def listed_pod(verdict: PodVerdict) -> ListedPod:
    """The pod as the executor checks it."""
    pod = verdict.pod
    return ListedPod(
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.uid,
        grace_seconds=max(0, pod.grace_seconds),
        budget=verdict.budget,
    )


def impact_of(pods: Sequence[Pod]) -> Impact:
    """What is disturbed, and whose it is."""
    owners = sorted({f"{pod.namespace}/{c.kind} {c.name}" for pod in pods if (c := pod.meta.controller) is not None})
    return Impact(
        what=counted(len(pods), "pod"),
        how_much=f"{counted(len({pod.namespace for pod in pods}), 'namespace')}, "
        f"{counted(sum(pod.is_ready for pod in pods), 'pod')} ready now",
        users=listed([printable(owner, 80) for owner in owners]) or "no controller",
    )


def refusals_of(judged: Sequence[PodVerdict]) -> tuple[Refusal, ...]:
    """Pods that stay though they are in the way, by reason."""
    by_reason: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for verdict in judged:
        if verdict.fate in (Fate.REFUSED, Fate.STUCK):
            by_reason[verdict.reason, verdict.lifted_by].append(pod_name(verdict.pod))
    return tuple(
        Refusal(what=f"Evicting {counted(len(names), 'pod')}: {listed(names)}", reason=reason, lifted_by=lifted_by)
        for (reason, lifted_by), names in by_reason.items()
    )


def verdicts_markdown(judged: Sequence[PodVerdict]) -> str:
    """Every pod with its verdict, in the order of eviction; names are escaped."""
    rows = [
        f"| {pod_name(verdict.pod)} | {verdict.fate} | {verdict.pod.priority} | {_why(verdict)} |"
        for verdict in judged[:MOST_ROWS]
    ]
    more = len(judged) - MOST_ROWS
    head = ["### Pods of the node", "", "| pod | what happens | priority | why |", "| --- | --- | ---: | --- |"]
    return "\n".join([*head, *rows, *([f"\n… and {more:,} more."] if more > 0 else [])])


def _why(verdict: PodVerdict) -> str:
    return f"{verdict.reason} ({verdict.detail})" if verdict.detail else verdict.reason


def pod_name(pod: Pod) -> str:
    """``namespace/name``, printable."""
    return printable(f"{pod.namespace}/{pod.name}", 120)
