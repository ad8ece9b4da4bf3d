"""What the containers of a database server use, as Prometheus has it from the kubelets; read only.

Operations ``kubernetes.top_pods``, ``prometheus.query`` and ``host.io_stats``: not ``iostat`` or ``top`` in the
container, which PostgreSQL's image seldom has (the hazard of cryptofunk.VectorSearchCriticalLatency.d3).
"""

from __future__ import annotations

import math

from nightshift.remediation.clients.prometheus import query, selector
from nightshift.remediation.clients.resource_use import Meter
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.databases.surroundings import ServerUse
from nightshift.remediation.databases.surroundings_policy import ServerUsage
from nightshift.remediation.kubernetes.load import Kind

_MOST = 10
_READ, _WRITTEN = "container_fs_reads_bytes_total", "container_fs_writes_bytes_total"


def use_of_server(rule: ServerUsage, connection: HttpConnection) -> tuple[ServerUse, ...]:
    """CPU, memory and disk of each pod that has the container; none where nobody measures it.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    labels = {"namespace": rule.namespace, "container": rule.container}
    cpu, memory = (
        Meter(prometheus=rule.prometheus, connection=connection, kind=kind, window=rule.window)
        for kind in (Kind.CPU, Kind.MEMORY)
    )
    cores = {pod: amount for (_, pod, _), amount in cpu.containers(**labels).items()}
    held = {pod: percent for (_, pod, _), percent in cpu.throttled(**labels).items()}
    used = {pod: amount for (_, pod, _), amount in memory.containers(**labels).items()}
    read, written = (_per_second(metric, rule, connection) for metric in (_READ, _WRITTEN))
    pods = sorted({*cores, *used, *read, *written})[:_MOST]
    return tuple(
        ServerUse(
            pod=pod,
            millicores=cores.get(pod),
            memory=used.get(pod),
            throttled_percent=held.get(pod),
            read=read.get(pod),
            written=written.get(pod),
        )
        for pod in pods
    )


def _per_second(metric: str, rule: ServerUsage, connection: HttpConnection) -> dict[str, float]:
    """All devices of a pod together."""
    series = selector(metric, {"namespace": rule.namespace, "container": rule.container})
    found = query(rule.prometheus, connection, f"sum by (pod) (rate({series}[{math.ceil(rule.window)}s]))")
    return {one.metric.get("pod", ""): one.value[1] for one in found if math.isfinite(one.value[1])}
