"""Who uses how much of a node: workloads with their pods there, the hungriest first.

Serves octollm.HighNodeCPUUsage.d2, d3 and octollm.HighNodeMemoryUsage.d2: what Prometheus has by names is joined with
the pods that the cluster has on the node, so that an old label counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from nightshift.remediation.kubernetes.node_diagnosis import NodeDiagnosis
from nightshift.remediation.kubernetes.objects import Autoscaler, Pod, Workload
from nightshift.remediation.kubernetes.saturation import Use
from nightshift.remediation.models import format_bytes
from nightshift.remediation.text import printable

ContainerKey = tuple[str, str, str]
"""Namespace, pod, container."""


class Kind(StrEnum):
    """What there is too little of."""

    CPU = "CPU"
    MEMORY = "memory"

    def shown(self, amount: int) -> str:
        """An amount for people."""
        return format_bytes(amount) if self is Kind.MEMORY else f"{amount:,} millicores"


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """What the pods of one owner use of a node together."""

    pods: tuple[Pod, ...]
    """On the node, the hungriest first."""
    container: str
    """The hungriest of the first pod."""
    used: int
    """Millicores or bytes."""
    throttled_percent: float | None = None
    """Of the hungriest container's periods; None: it has no CPU limit."""
    workload: Workload | None = None
    """None: no workload keeps them, or it was not looked for."""
    uses: Sequence[Use] = ()
    """Of the hungriest container over time; empty: not looked at."""

    @property
    def name(self) -> str:
        """For people: ``Deployment shop/web``, ``pod kube-system/etcd-n1``. Printable."""
        pod = self.pods[0]
        if self.workload is not None:
            return f"{self.workload.kind} {printable(f'{pod.namespace}/{self.workload.name}', 140)}"
        return f"pod {printable(f'{pod.namespace}/{pod.name}', 140)}"


@dataclass(frozen=True, kw_only=True)
class NodeLoad:
    """Everything that the planner gets to know."""

    node: NodeDiagnosis
    percent: float
    """Of the node, in use."""
    others: Mapping[str, float]
    """The same of the other nodes that take pods, by name; those that are not measured are missing."""
    consumers: Sequence[Consumer] = ()
    """The hungriest first."""
    autoscalers: Sequence[Autoscaler] = ()
    managed: frozenset[str] = frozenset()
    """Namespaces of the system; what runs in others is somebody else's."""

    @property
    def used_by_pods(self) -> int:
        """Millicores or bytes of all pods on it together."""
        return sum(consumer.used for consumer in self.consumers)


def consumers_of(
    pods: Sequence[Pod], used: Mapping[ContainerKey, int], throttled: Mapping[ContainerKey, float]
) -> tuple[Consumer, ...]:
    """The owners of these pods with what they use, the hungriest first; pods that nobody measured are left out.

    Args:
        pods: on the node.
        used: by container, of whatever pods.
        throttled: the same, in percent.
    """
    found: dict[str, Consumer] = {}
    for pod in sorted(pods, key=lambda pod: (-_used(pod, used), pod.uid)):
        of_pod = {c.name: amount for c in pod.containers if (amount := used.get(_key(pod, c.name))) is not None}
        if not of_pod:
            continue
        container, controller = max(of_pod, key=lambda name: of_pod[name]), pod.meta.controller
        owner = controller.uid if controller is not None else pod.uid
        first = found.get(owner) or Consumer(
            pods=(), container=container, used=0, throttled_percent=throttled.get(_key(pod, container))
        )
        found[owner] = replace(first, pods=(*first.pods, pod), used=first.used + sum(of_pod.values()))
    return tuple(sorted(found.values(), key=lambda consumer: -consumer.used))


def _used(pod: Pod, used: Mapping[ContainerKey, int]) -> int:
    return sum(used.get(_key(pod, container.name), 0) for container in pod.containers)


def _key(pod: Pod, container: str) -> ContainerKey:
    return pod.namespace, pod.name, container
