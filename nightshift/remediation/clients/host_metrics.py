"""How much of a host's processors or memory is in use, and how the memory of a program went, as Prometheus has it.

The same metrics and windows as the alert rules ask. Names of hosts and services are values of labels, escaped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from nightshift.remediation.clients.prometheus import query, query_range, read, selector
from nightshift.remediation.connections import HostConnection, HttpConnection, SshConnection
from nightshift.remediation.errors import NotMeasuredError
from nightshift.remediation.host_load.objects import MemoryPoint
from nightshift.remediation.host_load.policy import HostLoadPolicy
from nightshift.remediation.inventory import serves
from nightshift.remediation.text import printable

_IDLE = 'node_cpu_seconds_total{mode="idle"}'
_AVAILABLE, _TOTAL = "node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"
_RESIDENT = "process_resident_memory_bytes"
_POINTS = 120


def names_of(host: str, connection: HostConnection) -> frozenset[str]:
    """What an ``instance`` label may call this host, with or without a port."""
    found = {host, *connection.instances}
    if isinstance(connection, SshConnection):
        found.add(connection.address)
    return frozenset(found | {_address(name) for name in found})


@serves("test_watcher.HighCPUUsage: d3")
def used_percent(name: str, prometheus: HttpConnection, policy: HostLoadPolicy, instances: frozenset[str]) -> float:
    """Percent in use, from a target that is scraped at this moment.

    Raises:
        NotMeasuredError: nobody can tell.
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    metric, expression = _asked(policy)
    found = {
        label: sample.value[1]
        for sample in query(name, prometheus, expression)
        if (label := sample.metric.get("instance", "")) in instances or _address(label) in instances
    }
    known = {label: percent for label, percent in found.items() if math.isfinite(percent)}
    if not known:
        raise NotMeasuredError(f"{name} has no {metric} of {printable(', '.join(sorted(instances)), 200)}.")
    label = max(known, key=lambda one: known[one])
    # One series of each target is enough to see that it is alive.
    series = selector(metric, {"instance": label})
    window = policy.window if policy.resource == "cpu" and policy.metric is None else 0
    read(name, prometheus, f"topk by (job, instance) (1, {series})", window=window)
    return known[label]


def _asked(policy: HostLoadPolicy) -> tuple[str, str]:
    if policy.metric is not None:
        return policy.metric, f"max by (instance) ({policy.metric})"
    if policy.resource == "cpu":
        rate = f"rate({_IDLE}[{math.ceil(policy.window)}s])"
        return "node_cpu_seconds_total", f"100 * (1 - avg by (instance) ({rate}))"
    return _AVAILABLE, f"100 * max by (instance) (1 - {_AVAILABLE} / ({_TOTAL} > 0))"


def resident_memory(name: str, prometheus: HttpConnection, labels: Mapping[str, str]) -> float:
    """Bytes of the largest program with these labels, from a target that is scraped at this moment.

    Raises:
        NotMeasuredError: nobody can tell.
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    found = read(name, prometheus, selector(_RESIDENT, labels))
    return max(reading.value for _, reading, _ in found)


@serves("test_watcher.MemoryLeakDetected: d3")
def memory_over_time(
    name: str, prometheus: HttpConnection, labels: Mapping[str, str], seconds: float
) -> tuple[MemoryPoint, ...]:
    """The same over so many seconds until now, the oldest first.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`prometheus.query`.
    """
    now, step = time.time(), max(1, math.ceil(seconds / _POINTS))
    values = query_range(name, prometheus, f"max({selector(_RESIDENT, labels)})", now - seconds, now, step)
    return tuple(MemoryPoint(at=at, amount=value) for at, value in values if math.isfinite(value))


def _address(label: str) -> str:
    """``10.0.0.5:9100`` without its port."""
    return urlsplit(f"//{label}").hostname or label
