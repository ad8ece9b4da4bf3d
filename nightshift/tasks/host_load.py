"""Look at who uses a host, read only; and watch whether it stays relieved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nightshift.remediation.clients import host_metrics
from nightshift.remediation.clients.docker.engine import Engine, open_engine
from nightshift.remediation.clients.docker.reading import containers_of, logs, look_at_service, usage
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.load import look_at_load
from nightshift.remediation.clients.host_probe.services import look_at_service as look_at_host_service
from nightshift.remediation.compose.objects import Container, ServiceLook
from nightshift.remediation.connections import (
    Connection,
    HostConnection,
    HttpConnection,
    LocalConnection,
    SshConnection,
)
from nightshift.remediation.errors import ConfigurationError, NotMeasuredError, TargetUnreachableError
from nightshift.remediation.host_load.objects import HostLoad, MemoryPoint, ProjectContainer
from nightshift.remediation.host_load.policy import HostLoadPolicy, OnHost
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import last_lines, shown
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.tasks.levels import watch_level
from nightshift.tasks.steps import diagnostic

_MOST_CONTAINERS = 25
_PROFILE_LINES = 5

Connections = Mapping[str, Connection]


def host_connection(name: str, connections: Connections) -> HostConnection:
    """The host of this name.

    Raises:
        ConfigurationError: the catalogue has none.
    """
    connection = connections.get(name)
    if not isinstance(connection, SshConnection | LocalConnection):
        raise ConfigurationError(f"The catalogue has no host {name!r} any more.")
    return connection


def prometheus_of(policy: OnHost, connections: Connections) -> tuple[str, HttpConnection]:
    """The Prometheus of the policy, with its name.

    Raises:
        ConfigurationError: the catalogue has none.
    """
    connection = connections.get(policy.prometheus)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"The catalogue has no connection {policy.prometheus!r} any more.")
    return policy.prometheus, connection


@serves("bybit_strategy_tester.HighCPUUsage: d1 d4")
@diagnostic("look at who uses a host", of="{host}")
def look_at_host_load(host: str, connections: Connections, policy: HostLoadPolicy) -> HostLoad:
    """The host as the alert measures it and as it counts itself, its processes, and the containers of the project."""
    connection = host_connection(host, connections)
    percent, unknown = _percent(host, connections, policy)
    kept = [own.on_host for own in policy.services.values() if own.on_host is not None]
    with open_host(host, connection) as opened:
        look = look_at_load(opened, sample=policy.sample, services=kept)
        states = {
            name: look_at_host_service(opened, own.on_host)
            for name, own in policy.services.items()
            if policy.resource == "memory" and own.on_host is not None and own.series
        }
    services, containers = dict[str, ServiceLook](), tuple[ProjectContainer, ...]()
    if policy.docker is not None:
        with open_engine(policy.docker, connections) as engine:
            containers = tuple(_containers(engine))
            names = sorted({own.service for own in policy.services.values() if own.service is not None})
            services = {name: look_at_service(engine, name) for name in names}
    return HostLoad(
        host=host,
        percent=percent,
        unknown=unknown,
        look=look,
        services=services,
        containers=containers,
        states=states,
        growth=growth_of_services(connections, policy) if policy.resource == "memory" else {},
    )


def growth_of_services(connections: Connections, policy: OnHost) -> dict[str, tuple[MemoryPoint, ...]]:
    """Memory over time of every service with a series; empty where Prometheus does not answer."""
    name, prometheus = prometheus_of(policy, connections)
    found = {}
    for service, own in policy.services.items():
        if own.series:
            try:
                found[service] = host_metrics.memory_over_time(name, prometheus, own.series, policy.leak_watch)
            except TargetUnreachableError:
                found[service] = ()
    return found


def _percent(host: str, connections: Connections, policy: HostLoadPolicy) -> tuple[float | None, str]:
    try:
        return _measured(host, connections, policy), ""
    except (NotMeasuredError, TargetUnreachableError) as error:
        return None, str(error)


def _measured(host: str, connections: Connections, policy: HostLoadPolicy) -> float:
    instances = host_metrics.names_of(host, host_connection(host, connections))
    return host_metrics.used_percent(*prometheus_of(policy, connections), policy, instances)


def _containers(engine: Engine) -> Iterator[ProjectContainer]:
    for one in containers_of(engine)[:_MOST_CONTAINERS]:
        running = one.state == "running"
        yield ProjectContainer(
            container=one,
            usage=usage(engine, one.id) if running else None,
            profile=_profile(engine, one) if running else (),
        )


def _profile(engine: Engine, one: Container) -> tuple[str, ...]:
    """Lines of its log that speak of a profile: bybit_strategy_tester.HighCPUUsage.d4."""
    lines = [line for line in last_lines(logs(engine, one.id)) if "profile" in line.lower()]
    return tuple(shown(line) for line in lines[-_PROFILE_LINES:])


@diagnostic("measure how busy a host is", of="{host}")
def host_is_relieved(host: str, connections: Connections, policy: HostLoadPolicy) -> bool:
    """Whether the alert's own measurement is within its limit."""
    percent, _ = _percent(host, connections, policy)
    return percent is not None and percent <= policy.at_most_percent


@serves("bybit_strategy_tester.HighCPUUsage: v1", "test_watcher.HighCPUUsage: v1")
@diagnostic("watch how busy a host is", of="{host}")
def watch_host_load(
    host: str, connections: Connections, policy: HostLoadPolicy, wait: float | None = None
) -> tuple[LevelSample, ...]:
    """Looks until the alert's own measurement was within its limit for ``hold``, or was not within ``wait``."""
    return watch_level(
        lambda: _measured(host, connections, policy),
        policy.at_most_percent,
        wait=policy.wait if wait is None else wait,
        hold=policy.hold,
    )
