"""Look at the memory of one service of a host, read only, before anything is done to it; and watch it afterwards."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from nightshift.remediation.clients import host_metrics
from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.reading import containers_of, logs, look_at_service, usage
from nightshift.remediation.clients.host import Host, open_host
from nightshift.remediation.clients.host_probe import services
from nightshift.remediation.clients.host_probe.load import evidence_of, look_at_load
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.connections import Connection
from nightshift.remediation.errors import ConfigurationError, NightshiftError, TargetChangedError
from nightshift.remediation.host_load.arguments import ProcessIdentity
from nightshift.remediation.host_load.leak_planner import ServiceMemory
from nightshift.remediation.host_load.objects import Evidence, HostLoad, HostLook, MemoryPoint, ProjectContainer
from nightshift.remediation.host_load.ownership import Owned, owned
from nightshift.remediation.host_load.policy import OwnService, ServiceMemoryPolicy
from nightshift.remediation.hosts.services import ServiceState
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import last_lines, shown
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.tasks.host_load import host_connection, prometheus_of
from nightshift.tasks.levels import watch_level
from nightshift.tasks.steps import diagnostic

Connections = Mapping[str, Connection]
_WORDS = ("memory", "leak", "cache", "oom", "heap", "alloc", "gc ")
_LINES = 6


def own_service(name: str, policy: ServiceMemoryPolicy) -> OwnService:
    """The service of this name.

    Raises:
        ConfigurationError: the policy names none, or nobody scrapes it.
    """
    own = policy.services.get(name)
    if own is None or not own.series:
        raise ConfigurationError(
            f"The policy has no service {name!r} with a series.",
            remedy="Name it under services, with series: the labels of its process_resident_memory_bytes.",
        )
    return own


@serves("test_watcher.MemoryLeakDetected: d1 r1.1")
@diagnostic("look at the memory of a service", of="{host} {service}")
def look_at_service_memory(
    host: str, connections: Connections, service: str, policy: ServiceMemoryPolicy
) -> ServiceMemory:
    """How it went over hours, its processes with their numbers, its log, and what its largest process tells."""
    own = own_service(service, policy)
    growth, unknown = _growth(own, connections, policy)
    seen, containers, look_of = _compose(own, connections, policy)
    with open_host(host, host_connection(host, connections)) as opened:
        kept = [one.on_host for one in policy.services.values() if one.on_host is not None]
        look = look_at_load(opened, sample=policy.sample, services=kept)
        state, said = _kept_by_host(opened, own)
        load = HostLoad(
            host=host,
            percent=None,
            look=look,
            services=look_of,
            containers=containers,
            states={service: state} if state is not None else {},
            growth={service: growth},
        )
        processes = sorted(_processes(load, service, policy), key=lambda one: -one.process.memory)
        evidence = _evidence(opened, host, look, processes)
    return ServiceMemory(
        name=service,
        load=load,
        unknown=unknown,
        processes=processes,
        evidence=evidence,
        log=_telling([*seen, *said]),
    )


def _growth(
    own: OwnService, connections: Connections, policy: ServiceMemoryPolicy
) -> tuple[tuple[MemoryPoint, ...], str]:
    try:
        return host_metrics.memory_over_time(*prometheus_of(policy, connections), own.series, policy.leak_watch), ""
    except NightshiftError as error:
        return (), str(error)


def _compose(
    own: OwnService, connections: Connections, policy: ServiceMemoryPolicy
) -> tuple[list[str], tuple[ProjectContainer, ...], dict[str, ServiceLook]]:
    """The log, the containers and the look of a service of Compose; nothing for another one."""
    if policy.docker is None or own.service is None:
        return [], (), {}
    with open_engine(policy.docker, connections) as engine:
        found = containers_of(engine, own.service)
        seen = tuple(
            ProjectContainer(container=one, usage=usage(engine, one.id) if one.state == "running" else None)
            for one in found
        )
        said = [line for one in found for line in last_lines(logs(engine, one.id))]
        return said, seen, {own.service: look_at_service(engine, own.service)}


def _kept_by_host(host: Host, own: OwnService) -> tuple[ServiceState | None, Sequence[str]]:
    if own.on_host is None:
        return None, ()
    evidence = services.gather_evidence(host, own.on_host)
    return evidence.service, evidence.log


def _processes(load: HostLoad, service: str, policy: ServiceMemoryPolicy) -> list[Owned]:
    found = (owned(process, policy, load.services_of) for process in load.look.processes)
    return [one for one in found if one.service == service]


def _evidence(host: Host, name: str, look: HostLook, processes: Sequence[Owned]) -> Evidence | None:
    largest = next((one.process for one in processes if one.process.identity and one.process.pid > 1), None)
    if largest is None:
        return None
    identity = ProcessIdentity(
        host=name,
        pid=largest.pid,
        started=largest.started,
        boot=look.boot,
        executable=largest.executable,
        identity=largest.identity,
        owner=largest.owner,
        unit=largest.unit,
        container=largest.container,
    )
    try:
        return evidence_of(host, identity)
    except TargetChangedError:
        return None  # it ended in between


def _telling(lines: Sequence[str]) -> tuple[str, ...]:
    found = [line for line in lines if any(word in line.lower() for word in _WORDS)]
    return tuple(shown(line) for line in found[-_LINES:])


@diagnostic("measure the memory of a service", of="{host} {service}")
def memory_is_given_back(host: str, connections: Connections, service: str, policy: ServiceMemoryPolicy) -> bool:  # noqa: ARG001 - of its name
    """Whether it has no more than its limit by now."""
    own = own_service(service, policy)
    try:
        return host_metrics.resident_memory(*prometheus_of(policy, connections), own.series) <= policy.at_most_bytes
    except NightshiftError:
        return False


@serves("test_watcher.MemoryLeakDetected: v1")
@diagnostic("watch the memory of a service", of="{host} {service}")
def watch_service_memory(
    host: str,  # noqa: ARG001 - of its name
    connections: Connections,
    service: str,
    policy: ServiceMemoryPolicy,
) -> tuple[LevelSample, ...]:
    """Looks until it had no more than its limit for ``hold``, or had more when ``wait`` was over."""
    own, place = own_service(service, policy), prometheus_of(policy, connections)
    return watch_level(
        lambda: host_metrics.resident_memory(*place, own.series),
        policy.at_most_bytes,
        wait=policy.wait,
        hold=policy.hold,
    )


@diagnostic("read the memory of a service over time", of="{service}")
def memory_until_now(
    connections: Connections, service: str, policy: ServiceMemoryPolicy, since: float
) -> tuple[MemoryPoint, ...]:
    """Its memory from so long before the repair until now, for the picture; nothing where Prometheus does not say."""
    own = own_service(service, policy)
    try:
        place = prometheus_of(policy, connections)
        return host_metrics.memory_over_time(*place, own.series, policy.leak_watch + time.time() - since)
    except NightshiftError:
        return ()
