"""Measure a node in trouble: its CPU and memory, and the pods that take most of its memory.

Operations ``kubernetes.top_nodes``, ``top_pods`` and ``prometheus.query`` of octollm.NodeNotReady. Evidence for people
only: what is not measured is said, and keeps nobody from the repair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nightshift.remediation.clients.kubernetes.memory_look import Prometheus, memory_over_time
from nightshift.remediation.clients.resource_use import Meter
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.load import Consumer, Kind, consumers_of
from nightshift.remediation.kubernetes.node_diagnosis import NodeDiagnosis
from nightshift.remediation.kubernetes.node_use import NodeUse

WINDOW = 300.0
"""Seconds over which CPU is measured."""
LEAK_WATCH = 3600.0
"""Seconds over which memory is looked at."""
_EXAMINED = 3


@serves("octollm.NodeNotReady: d3 d4 d5 r2.1 r2.2 r2.3")
def measure_use(prometheus: Prometheus, label: str, diagnosis: NodeDiagnosis) -> NodeUse:
    """How busy the node is, and with what.

    Args:
        prometheus: the connection's name, and how it is reached.
        label: of node and container metrics, that has the node's name or address.
        diagnosis: of the node, with its pods.
    """
    percent: list[tuple[Kind, float]] = []
    consumers: tuple[Consumer, ...] = ()
    unseen: list[str] = []
    for kind in (Kind.CPU, Kind.MEMORY):
        meter = Meter(*prometheus, kind, WINDOW, label)
        try:
            value, used = meter.node(diagnosis.node)
            percent.append((kind, used))
            if kind is Kind.MEMORY:
                running = [pod for pod in diagnosis.pods if not pod.is_finished]
                consumers = consumers_of(running, meter.containers(**{label: value}), {})
                consumers = (*_over_time(prometheus, consumers[:_EXAMINED]), *consumers[_EXAMINED:])
        except NightshiftError as error:
            unseen.append(f"{kind}: {error}")
    return NodeUse(percent=tuple(percent), consumers=consumers, unseen=tuple(unseen))


def _over_time(prometheus: Prometheus, consumers: tuple[Consumer, ...]) -> Iterator[Consumer]:
    for one in consumers:
        yield replace(one, uses=tuple(memory_over_time(prometheus, one.pods[0], one.container, LEAK_WATCH)))
