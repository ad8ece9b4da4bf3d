"""Is there room elsewhere for the pods of a node? An estimate by requests, as the scheduler counts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nightshift.remediation.kubernetes.objects import Node, Pod, Resources

Amounts = tuple[int, int, int]
"""CPU in millicores, memory in bytes, pods."""


def requests_of(pod: Pod) -> Amounts:
    """What the scheduler reserves for a pod: its containers together, or its hungriest init container."""
    running = [container.requests for container in pod.containers if not container.is_init]
    starting = [container.requests for container in pod.containers if container.is_init]
    cpu = max([sum(r.cpu_millicores or 0 for r in running), *(r.cpu_millicores or 0 for r in starting)])
    memory = max([sum(r.memory_bytes or 0 for r in running), *(r.memory_bytes or 0 for r in starting)])
    return cpu, memory, 1


def without_place(pods: Sequence[Pod], nodes: Sequence[Node], requested: Mapping[str, Resources]) -> tuple[Pod, ...]:
    """Pods for which no other node has room, packed largest first (the classic first-fit decreasing).

    Taints and node selectors are looked at, affinities and topology are not: what has a place here may still find none.

    Args:
        pods: that would have to move.
        nodes: where they may go; without those that are not ready or cordoned.
        requested: by node, what its pods ask for already. A node that is not in it counts as full.
    """
    free = {node.name: _free(node, requested[node.name]) for node in nodes if node.name in requested}
    homeless = []
    for pod in sorted(pods, key=lambda pod: (requests_of(pod)[1], requests_of(pod)[0], pod.uid), reverse=True):
        wanted = requests_of(pod)
        fitting = (n for n in nodes if n.name in free and _fits(wanted, free[n.name]) and _lets_in(n, pod))
        if (home := next(fitting, None)) is None:
            homeless.append(pod)
        else:
            cpu, memory, slots = free[home.name]
            free[home.name] = (cpu - wanted[0], memory - wanted[1], slots - 1)
    return tuple(homeless)


def _free(node: Node, requested: Resources) -> Amounts:
    has = node.allocatable
    return (
        (has.cpu_millicores or 0) - (requested.cpu_millicores or 0),
        (has.memory_bytes or 0) - (requested.memory_bytes or 0),
        (has.pods or 0) - (requested.pods or 0),
    )


def _fits(wanted: Amounts, free: Amounts) -> bool:
    return all(need <= room for need, room in zip(wanted, free, strict=True))


def _lets_in(node: Node, pod: Pod) -> bool:
    chosen = all(node.meta.labels.get(key) == value for key, value in pod.node_selector.items())
    closed = (taint for taint in node.taints if taint.effect in ("NoSchedule", "NoExecute"))
    return chosen and all(any(toleration.tolerates(taint) for toleration in pod.tolerations) for taint in closed)
