"""How much CPU and memory nodes and containers use, as Prometheus has it from node_exporter and the kubelets.

Operations ``kubernetes.top_nodes`` and ``top_pods``, octollm.HighNodeCPUUsage.d1-d3, octollm.HighNodeMemoryUsage.d1-d3,
cryptofunk.HighMemoryUsage.d1, d2. Prometheus and not the metrics API: that one keeps no history, knows no throttling,
and cannot select by node (the hazard of d2). Names are values of labels here, escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nightshift.remediation.clients.prometheus import query, read, selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NotMeasuredError
from nightshift.remediation.kubernetes.load import ContainerKey, Kind
from nightshift.remediation.kubernetes.objects import Node
from nightshift.remediation.text import printable

_MOST = 2000
"""Containers of one answer, the hungriest first."""
_IDLE = 'node_cpu_seconds_total{mode="idle"}'
_AVAILABLE, _TOTAL = "node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"
_USED = {Kind.CPU: "container_cpu_usage_seconds_total", Kind.MEMORY: "container_memory_working_set_bytes"}
_BY_CONTAINER = "sum by (namespace, pod, container)"


@dataclass(frozen=True)
class Meter:
    """What is measured, and where."""

    prometheus: str
    """Name of the connection."""
    connection: HttpConnection
    kind: Kind
    window: float
    """Seconds over which a rate is taken."""
    node_label: str = "node"
    """The label that has a node's name, or its address with or without a port."""

    @property
    def _range(self) -> str:
        return f"[{math.ceil(self.window)}s]"

    def nodes(self) -> dict[str, float]:
        """Percent in use by the value of the node's label; those that nobody scrapes are missing.

        Raises:
            TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
        """
        by = f"by ({self.node_label})"
        if self.kind is Kind.CPU:
            idle = _IDLE + self._range
            expression = f"100 * (1 - avg {by} (rate({idle})))"
        else:
            expression = f"100 * (1 - max {by} ({_AVAILABLE}) / max {by} ({_TOTAL}))"
        found = query(self.prometheus, self.connection, expression)
        return {
            sample.metric.get(self.node_label, ""): sample.value[1]
            for sample in found
            if math.isfinite(sample.value[1])
        }

    def node(self, node: Node) -> tuple[str, float]:
        """The value of this node's label, and its percent in use, from a target that is scraped at this moment.

        Raises:
            NotMeasuredError: nobody can tell.
            TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
        """
        names = {node.name, *node.addresses.values()}
        found = {label: used for label, used in self.nodes().items() if label in names or _address(label) in names}
        if len(found) != 1:
            raise NotMeasuredError(f"{self.prometheus} has no {self.kind} use of the node {printable(node.name, 100)}.")
        (label, used), *_ = found.items()
        metric = "node_cpu_seconds_total" if self.kind is Kind.CPU else _AVAILABLE
        series = selector(metric, {self.node_label: label})
        # One series of each target is enough to see that it is alive.
        read(self.prometheus, self.connection, f"topk by (job, instance) (1, {series})", window=self.window)
        return label, used

    def containers(self, **labels: str) -> dict[ContainerKey, int]:
        """Millicores or bytes that each container with these labels uses, at most :data:`_MOST` of them.

        Raises:
            TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
        """
        series = _of_containers(_USED[self.kind], labels)
        used = f"1000 * {_BY_CONTAINER} (rate({series}{self._range}))"
        expression = used if self.kind is Kind.CPU else f"{_BY_CONTAINER} ({series})"
        return {key: round(value) for key, value in self._by_container(f"topk({_MOST}, {expression})").items()}

    def throttled(self, **labels: str) -> dict[ContainerKey, float]:
        """Percent of its periods in which each container was held back at its CPU limit; without a limit it is missing.

        Raises:
            TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
        """
        if self.kind is not Kind.CPU:
            return {}
        held = _of_containers("container_cpu_cfs_throttled_periods_total", labels) + self._range
        every = _of_containers("container_cpu_cfs_periods_total", labels) + self._range
        ratio = f"{_BY_CONTAINER} (rate({held})) / {_BY_CONTAINER} (rate({every}))"
        return self._by_container(f"topk({_MOST}, 100 * {ratio})")

    def _by_container(self, expression: str) -> dict[ContainerKey, float]:
        return {
            _key(sample.metric): sample.value[1]
            for sample in query(self.prometheus, self.connection, expression)
            if math.isfinite(sample.value[1])
        }


def _of_containers(metric: str, labels: Mapping[str, str]) -> str:
    """Without the sums over whole pods, which have no name of a container."""
    return f'{selector(metric, labels).removesuffix("}")},container!=""}}'


def _key(labels: Mapping[str, str]) -> ContainerKey:
    return labels.get("namespace", ""), labels.get("pod", ""), labels.get("container", "")


def _address(label: str) -> str:
    """``10.0.0.5:9100`` without its port."""
    return label.rpartition(":")[0].strip("[]") or label
