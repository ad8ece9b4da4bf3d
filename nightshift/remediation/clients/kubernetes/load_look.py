"""Everything that the planners about load get to know, read in one go; nothing is changed.

Operations ``kubernetes.top_nodes``, ``top_pods``, ``describe_pod``: octollm.HighNodeCPUUsage.d1-d3,
octollm.HighNodeMemoryUsage.d1-d3, cryptofunk.HighMemoryUsage.d1-d3. What is measured is joined with the cluster's pods.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.crash_look import node_of, pod_or_its_successor
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.memory_look import memory_over_time
from nightshift.remediation.clients.kubernetes.node_look import diagnose_node
from nightshift.remediation.clients.kubernetes.resources import AUTOSCALERS, PODS
from nightshift.remediation.clients.kubernetes.workload_look import pods_of, workload_of
from nightshift.remediation.clients.resource_use import Meter
from nightshift.remediation.errors import NotMeasuredError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import kills_within_an_hour
from nightshift.remediation.kubernetes.load import Consumer, ContainerKey, Kind, NodeLoad, consumers_of
from nightshift.remediation.kubernetes.load_policy import NodeLoadPolicy
from nightshift.remediation.kubernetes.objects import Container, Node, Pod, Workload
from nightshift.remediation.kubernetes.pod_load_planner import PodLoad
from nightshift.remediation.kubernetes.room import requests_of
from nightshift.remediation.kubernetes.saturation import Use
from nightshift.remediation.text import printable

_EXAMINED = 3
"""Neighbours of which the workload is looked up, and the memory over time."""


@serves("octollm.HighNodeCPUUsage: d1 d2 d3", "octollm.HighNodeMemoryUsage: d1 d2 d3")
def diagnose_node_load(cluster: Cluster, name: str, meter: Meter, policy: NodeLoadPolicy) -> NodeLoad | None:
    """The node, what it has in use beside the other nodes, and who uses it; None: it exists no more.

    Raises:
        NotMeasuredError: nobody measures the node now.
        NightshiftError: something could not be read; nothing is concluded from a part.
    """
    try:
        node = diagnose_node(cluster, name)
    except ObjectNotFoundError:
        return None
    label, percent = meter.node(node.node)
    on_node = {meter.node_label: label}
    consumers = consumers_of(
        [pod for pod in node.pods if not pod.is_finished], meter.containers(**on_node), meter.throttled(**on_node)
    )
    managed = frozenset(cluster.connection.all_namespaces)
    examined = (_examined(cluster, one, meter, policy, managed) for one in consumers[:_EXAMINED])
    return NodeLoad(
        node=node,
        percent=percent,
        others=_others(node.nodes, name, meter),
        consumers=(*examined, *consumers[_EXAMINED:]),
        autoscalers=[scaler for space in sorted(managed) for scaler in cluster.list(AUTOSCALERS, space)],
        managed=managed,
    )


def _others(nodes: Sequence[Node], name: str, meter: Meter) -> dict[str, float]:
    """Use of the other nodes that are ready and open for pods."""
    levels = meter.nodes()
    found = {}
    for node in nodes:
        if node.name == name or not node.is_ready or node.unschedulable:
            continue
        known = {node.name, *node.addresses.values()}
        level = next((used for label, used in levels.items() if {label, label.rpartition(":")[0]} & known), None)
        if level is not None:
            found[node.name] = level
    return found


def _examined(
    cluster: Cluster, consumer: Consumer, meter: Meter, policy: NodeLoadPolicy, managed: frozenset[str]
) -> Consumer:
    pod = consumer.pods[0]
    if pod.namespace not in managed:
        return consumer
    uses: Iterator[Use] = iter(())
    if meter.kind is Kind.MEMORY:
        uses = memory_over_time((meter.prometheus, meter.connection), pod, consumer.container, policy.leak_watch)
    return replace(consumer, workload=workload_of(cluster, pod), uses=tuple(uses))


@serves("cryptofunk.HighMemoryUsage: d1 d2 d3")
def diagnose_pod_load(cluster: Cluster, namespace: str, name: str, meter: Meter, watch: float) -> PodLoad | None:
    """The pod's container that is nearest to its limit; None: neither the pod nor one in its place exists.

    Args:
        cluster: open.
        namespace: of the pod.
        name: of the pod.
        meter: what is measured, and where.
        watch: seconds over which memory is looked at.

    Raises:
        NotMeasuredError: nobody measures the pod now.
        NightshiftError: something could not be read; nothing is concluded from a part.
    """
    pod = pod_or_its_successor(cluster, namespace, name)
    if pod is None:
        return None
    labels = {"namespace": pod.namespace, "pod": pod.name}
    used, throttled = meter.containers(**labels), meter.throttled(**labels)
    container = _nearest_to_its_limit(pod, used, meter)
    now = Use(at=time.time(), amount=used[pod.namespace, pod.name, container.name])
    prometheus = (meter.prometheus, meter.connection)
    before = memory_over_time(prometheus, pod, container.name, watch) if meter.kind is Kind.MEMORY else iter(())
    node = node_of(cluster, pod)
    return PodLoad(
        pod=pod,
        container=container,
        uses=tuple(before) or (now,),
        throttled_percent=throttled.get((pod.namespace, pod.name, container.name)),
        workload=workload_of(cluster, pod),
        node=node,
        left_on_node=None if node is None else _left(cluster, node, meter.kind),
        autoscalers=tuple(cluster.list(AUTOSCALERS, pod.namespace)),
        kills_last_hour=kills_within_an_hour(pod, cluster.now()),
    )


def highest_share(cluster: Cluster, workload: Workload, meter: Meter) -> float:
    """Percent of its limit that the container of this workload uses which is nearest to its limit.

    Raises:
        NotMeasuredError: none of its pods is measured yet.
        NightshiftError: something could not be read.
    """
    used = meter.containers(namespace=workload.namespace)
    shares = [
        100 * amount / limit
        for pod in pods_of(cluster, workload)
        for container in pod.containers
        if (amount := used.get((pod.namespace, pod.name, container.name))) is not None
        and (limit := _limit(container, meter.kind))
    ]
    if not shares:
        raise NotMeasuredError(f"{meter.prometheus} has no {meter.kind} use of {printable(workload.name, 100)} now.")
    return max(shares)


def _nearest_to_its_limit(pod: Pod, used: dict[ContainerKey, int], meter: Meter) -> Container:
    measured = [one for one in pod.containers if (pod.namespace, pod.name, one.name) in used]
    if not measured:
        raise NotMeasuredError(f"{meter.prometheus} has no {meter.kind} use of {printable(pod.name, 120)} now.")

    def share(container: Container) -> float:
        limit = _limit(container, meter.kind)
        return used[pod.namespace, pod.name, container.name] / limit if limit else 0.0

    return max(measured, key=share)


def _limit(container: Container, kind: Kind) -> int | None:
    return container.limits.cpu_millicores if kind is Kind.CPU else container.limits.memory_bytes


def _left(cluster: Cluster, node: Node, kind: Kind) -> int | None:
    has = node.allocatable.cpu_millicores if kind is Kind.CPU else node.allocatable.memory_bytes
    if has is None:
        return None
    pods = cluster.list(PODS, fields={"spec.nodeName": node.name})
    asked = [requests_of(pod)[0 if kind is Kind.CPU else 1] for pod in pods if not pod.is_finished]
    return has - sum(asked)
