"""The log, memory, CPU and disk of a service whose requests are in trouble; nothing is changed.

Operations ``docker.container_logs``, ``docker.container_stats``, ``kubernetes.pod_logs``, ``kubernetes.top_pods``,
``host.disk_usage``, ``prometheus.query``. What could not be looked at is told beside what was.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nightshift.remediation.clients.docker.engine import Engine
from nightshift.remediation.clients.docker.reading import logs, usage
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.disk import read_usage
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.memory_look import memory_over_time
from nightshift.remediation.clients.kubernetes.parsing.common import part
from nightshift.remediation.clients.kubernetes.resources import CONFIG_MAPS
from nightshift.remediation.clients.loki import newest_lines
from nightshift.remediation.clients.prometheus import query, selector
from nightshift.remediation.clients.resource_use import Meter
from nightshift.remediation.compose.objects import Container
from nightshift.remediation.connections import Connection, HttpConnection, LocalConnection, SshConnection
from nightshift.remediation.databases.pool_policy import PoolMetrics
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.load import ContainerKey, Kind
from nightshift.remediation.kubernetes.memory_planner import killed_container
from nightshift.remediation.kubernetes.objects import Pod, Workload
from nightshift.remediation.models import format_bytes
from nightshift.remediation.requests.evidence import Pressure
from nightshift.remediation.requests.policy import DiskRule, LokiRule, RequestsPolicy
from nightshift.remediation.text import printable

_LINES = 1000
"""Of one pod or container."""
_MOST_PODS = 10
_MOST_SHOWN = 10
_MOST_OF_LOKI = 2000
_TREND_SECONDS = 3600.0
_RATE = re.compile(r"rate|limit|quota|per_(second|minute|hour)|rpm|rps", re.IGNORECASE)
_PLAIN = re.compile(r"[0-9][0-9._]{0,15} {0,1}[a-zA-Z/%]{0,12}|true|false", re.IGNORECASE)
"""A password in a ConfigMap is one mistake; showing it would be another."""
Connections = Mapping[str, Connection]


@dataclass
class Surroundings:
    """What was seen so far."""

    lines: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    memory_percent: float | None = None
    throttled_percent: float | None = None

    def more_memory(self, percent: float) -> None:
        """Keep the largest share."""
        self.memory_percent = max(percent, self.memory_percent or 0.0)

    def not_seen(self, what: str, error: NightshiftError) -> None:
        """Keep why something could not be looked at."""
        self.unknown.append(f"{what}: {error}")

    def pressure(self, disk: float | None, pool: float | None) -> Pressure:
        """As the planners take it."""
        return Pressure(
            killed=tuple(self.killed),
            memory_percent=self.memory_percent,
            cpu_throttled_percent=self.throttled_percent,
            used=tuple(self.used[:_MOST_SHOWN]),
            disk_percent=disk,
            pool_percent=pool,
            unknown=tuple(self.unknown),
        )


@serves(
    "trading_signals.HighErrorRate: d2 d3 d4 r1.1 r4.2",
    "bybit_strategy_tester.HighErrorRate: d1 d10",
)
def around_containers(engine: Engine, containers: Sequence[Container], policy: RequestsPolicy) -> Surroundings:
    """The newest lines of each container since ``log_minutes``, and what it uses."""
    seen, since = Surroundings(), time.time() - 60 * policy.log_minutes
    for one in containers[:_MOST_PODS]:
        name = printable(one.name, 80)
        if one.memory_death:
            seen.killed.append(name if one.oom_killed else f"{name} (probably)")
        try:
            seen.lines += logs(engine, one.id, lines=_LINES, since=since).splitlines()
            if one.state == "running":
                _use_of_container(engine, one, name, seen)
        except NightshiftError as error:
            seen.not_seen(name, error)
    return seen


def _use_of_container(engine: Engine, one: Container, name: str, seen: Surroundings) -> None:
    found = usage(engine, one.id)
    of = f" of {format_bytes(found.memory_limit)}" if found.memory_limit else ""
    seen.used.append(f"{name}: {format_bytes(found.memory)}{of}, {found.cpus:.2f} CPUs")
    # Without a limit of its own the host's memory stands there, which says nothing about this container.
    if one.memory_limit and found.memory_limit:
        seen.more_memory(100 * found.memory / found.memory_limit)


@serves("cryptofunk.HighErrorRate: d1 d2 r3.1", "octollm.HighErrorRate: r1.2 r4.1")
def around_pods(cluster: Cluster, pods: Sequence[Pod], policy: RequestsPolicy) -> Surroundings:
    """The newest lines of each container of the pods since ``log_minutes``, the newest pods first; kills for memory."""
    seen = Surroundings()
    newest = sorted(pods, key=lambda pod: pod.meta.created_at.timestamp() if pod.meta.created_at else 0.0, reverse=True)
    for pod in newest[:_MOST_PODS]:
        if (killed := killed_container(pod)) is not None:
            seen.killed.append(printable(f"{pod.name}/{killed.name}", 120))
        for status in pod.statuses:
            if status.is_init:
                continue
            try:
                since = 60 * policy.log_minutes
                log = cluster.logs(pod.name, pod.namespace, status.name, tail=_LINES, since_seconds=since)
                seen.lines += log.splitlines()
            except NightshiftError as error:
                seen.not_seen(f"the log of {printable(pod.name, 80)}", error)
    return seen


@serves("octollm.HighErrorRate: d6 d7 d8")
def use_of_pods(pods: Sequence[Pod], policy: RequestsPolicy, connections: Connections, seen: Surroundings) -> None:
    """What the containers of the pods use of their limits, as the kubelets measure it."""
    connection = connections.get(policy.prometheus)
    if not isinstance(connection, HttpConnection) or not pods:
        return
    meters = {kind: Meter(policy.prometheus, connection, kind, policy.window) for kind in Kind}
    namespace, names = pods[0].namespace, {pod.name for pod in pods}
    try:
        memory, cpu = (meters[kind].containers(namespace=namespace) for kind in (Kind.MEMORY, Kind.CPU))
        throttled = meters[Kind.CPU].throttled(namespace=namespace)
    except NightshiftError as error:
        seen.not_seen("what its pods use", error)
        return
    for key, amount in memory.items():
        if key[1] not in names:
            continue
        limit = _limit(pods, key)
        of = f" of {format_bytes(limit)}" if limit else ""
        seen.used.append(f"{printable(key[1], 80)}: {format_bytes(amount)}{of}, {cpu.get(key, 0):,} millicores")
        if limit:
            seen.more_memory(100 * amount / limit)
    _memory_trend((policy.prometheus, connection), pods, memory, seen)
    held = [percent for key, percent in throttled.items() if key[1] in names]
    seen.throttled_percent = max(held, default=None)


@serves("octollm.HighErrorRate: r5.1")
def _memory_trend(
    prometheus: tuple[str, HttpConnection], pods: Sequence[Pod], memory: Mapping[ContainerKey, int], seen: Surroundings
) -> None:
    """How the memory of the hungriest container went within an hour: a leak shows in its slope, not in its level."""
    of_pods = {key: amount for key, amount in memory.items() if any(pod.name == key[1] for pod in pods)}
    if not of_pods:
        return
    _, name, container = max(of_pods, key=lambda key: of_pods[key])
    pod = next(pod for pod in pods if pod.name == name)
    try:
        uses = list(memory_over_time(prometheus, pod, container, _TREND_SECONDS))
    except NightshiftError as error:
        seen.not_seen("how its memory went", error)
        return
    if len(uses) > 1:
        minutes = (uses[-1].at - uses[0].at) / 60
        went = f"{format_bytes(uses[0].amount)} to {format_bytes(uses[-1].amount)} within {minutes:.0f} minutes"
        seen.used.append(f"{printable(name, 80)} went from {went}")


def _limit(pods: Sequence[Pod], key: ContainerKey) -> int | None:
    containers = (container for pod in pods if pod.name == key[1] for container in pod.containers)
    return next((one.limits.memory_bytes for one in containers if one.name == key[2]), None)


@serves("octollm.HighErrorRate: d4")
def lines_of_loki(
    rule: LokiRule | None, place: tuple[str, str], minutes: int, connections: Connections, seen: Surroundings
) -> None:
    """The service's newest lines from where logs outlive their pods, in place of what the pods still have.

    Args:
        rule: where; None: nowhere.
        place: namespace and name of the service.
        minutes: so far back.
        connections: of the system.
        seen: to which they are added.
    """
    connection = connections.get(rule.connection) if rule is not None else None
    if rule is None or not isinstance(connection, HttpConnection):
        return
    namespace, name = place
    labels = {rule.name_label: name} | ({rule.namespace_label: namespace} if rule.namespace_label else {})
    now = time.time()
    try:
        found = newest_lines(rule.connection, connection, labels, start=now - 60 * minutes, end=now, most=_MOST_OF_LOKI)
    except (NightshiftError, ValueError) as error:
        seen.unknown.append(f"the log in {printable(rule.connection, 80)}: {error}")
        return
    if found:
        seen.lines[:] = [line.text for line in found]  # both would count what both have twice


@serves("bybit_strategy_tester.HighErrorRate: d11")
def disk_in_use(rule: DiskRule | None, connections: Connections, seen: Surroundings) -> float | None:
    """Percent of the filesystem; None where it is not declared, or was not seen."""
    host = connections.get(rule.host) if rule is not None else None
    if rule is None or not isinstance(host, SshConnection | LocalConnection):
        return None
    try:
        with open_host(rule.host, host) as opened:
            return read_usage(opened, rule.mount).used_percent
    except NightshiftError as error:
        seen.not_seen(f"the disk of {printable(rule.host, 80)}", error)
        return None


@serves("octollm.HighErrorRate: r4.2")
def rate_settings(cluster: Cluster, workload: Workload, seen: Surroundings) -> tuple[str, ...]:
    """What the ConfigMaps of its pods say about rates: numbers, times and switches; nothing else of them is shown."""
    found: list[str] = []
    for name in config_maps_of(workload):
        try:
            settings = part(cluster.get(CONFIG_MAPS, name, workload.namespace), "data")
        except NightshiftError as error:
            seen.not_seen(f"the ConfigMap {printable(name, 80)}", error)
            continue
        for key, value in settings.items():
            if _RATE.search(key) and _PLAIN.fullmatch(str(value)):
                found.append(f"{printable(str(key), 80)} = {printable(str(value), 40)}")
    return tuple(found[:_MOST_SHOWN])


def config_maps_of(workload: Workload) -> tuple[str, ...]:
    """Names of the ConfigMaps that its template mounts, or takes its environment from."""
    mounted = [volume.source for volume in workload.template.volumes if volume.kind == "configMap"]
    named = [
        ref.partition("/")[2]
        for container in workload.template.containers
        for ref in container.env_from
        if ref.partition("/")[0] == "configmap"
    ]
    return tuple(dict.fromkeys([*mounted, *named]))


@serves("octollm.HighErrorRate: r2.1")
def pool_in_use(rule: PoolMetrics | None, name: str, connections: Connections, seen: Surroundings) -> float | None:
    """Percent of the service's pool that is in use, of the process that uses most; None: it does not say."""
    connection = connections.get(rule.prometheus) if rule is not None else None
    if rule is None or not isinstance(connection, HttpConnection):
        return None
    used, size = (selector(metric, {rule.by: name}) for metric in (rule.in_use, rule.size))
    of = str(rule.fixed_size) if rule.fixed_size is not None else f"({size} > 0)"
    try:
        found = query(rule.prometheus, connection, f"max(100 * {used} / {of})")
    except NightshiftError as error:
        seen.not_seen("its connection pool", error)
        return None
    return next((one.value[1] for one in found if math.isfinite(one.value[1])), None)
