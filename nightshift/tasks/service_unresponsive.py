"""Look at a service that does not answer: itself, its containers or its manager, its log, its port, its database."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from nightshift.remediation.clients.database_answer import how_it_answers
from nightshift.remediation.clients.docker.engine import Engine, open_engine
from nightshift.remediation.clients.docker.reading import logs, look_at_service, top, usage
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.services import port_holders
from nightshift.remediation.clients.host_services import open_services
from nightshift.remediation.clients.http_probe import probe
from nightshift.remediation.clients.running_metric import says_it_runs
from nightshift.remediation.compose.objects import ServiceLook, Usage
from nightshift.remediation.connections import (
    Connection,
    HttpConnection,
    LocalConnection,
    PostgresConnection,
    SshConnection,
)
from nightshift.remediation.databases.down_planner import Answering
from nightshift.remediation.errors import ConfigurationError, NightshiftError
from nightshift.remediation.hosts.services import Running, ServiceEvidence
from nightshift.remediation.inventory import serves
from nightshift.remediation.services.compose_planner import ApiLook
from nightshift.remediation.services.health import HealthChecks, HttpAnswer
from nightshift.remediation.services.host_planner import HostServiceLook
from nightshift.remediation.services.policy import HostServiceUnresponsivePolicy, ServiceUnresponsivePolicy
from nightshift.remediation.services.verification import Look, held_for
from nightshift.tasks.steps import diagnostic

_LINES = 200
_LOOKS = 20
_LONGEST_PAUSE = 10.0

Connections = Mapping[str, Connection]
L = TypeVar("L", bound=Look)


@serves("bybit_strategy_tester.APIUnresponsive: d1 d2 d3 d4 d5 d6 d7 d8 d9 d11")
@diagnostic("look at a service that does not answer", of="{engine} {service}")
def look_at_api(engine: str, connections: Connections, service: str, policy: ServiceUnresponsivePolicy) -> ApiLook:
    """``docker.list_containers``, ``inspect_container``, ``container_logs``, ``container_stats``, ``postgres.ping``."""
    answers = _answers(connections, policy.health)
    seen, log, usages, processes, unseen = _containers(engine, connections, service)
    return ApiLook(
        at=time.monotonic(),
        answers=answers,
        engine=engine,
        service=seen,
        unseen=unseen,
        log=log,
        usages=usages,
        processes=processes,
        holders=_holders(connections, policy),
        database=_database(connections, policy.database),
    )


@serves("bybit_strategy_tester.APIUnresponsive: d10 r1.2 r2.4")
@diagnostic("watch whether a service answers", of="{engine} {service}")
def watch_api(
    engine: str, connections: Connections, service: str, policy: ServiceUnresponsivePolicy
) -> tuple[ApiLook, ...]:
    """Looks until it answered for long enough, or did not in time; the last one with its containers and their log."""

    def look() -> ApiLook:
        return ApiLook(at=time.monotonic(), answers=_answers(connections, policy.health))

    looks = _watch(look, policy.wait, policy.hold)
    seen, log, usages, processes, unseen = _containers(engine, connections, service)
    last = ApiLook(
        at=time.monotonic(),
        answers=_answers(connections, policy.health),
        engine=engine,
        service=seen,
        unseen=unseen,
        log=log,
        usages=usages,
        processes=processes,
    )
    return (*looks, last)


@serves("test_watcher.TestWatcherDown: d1 d2 d3 r1.1")
@diagnostic("look at a service of a host", of="{host} {service}")
def look_at_host_service(
    host: str, connections: Connections, service: str, policy: HostServiceUnresponsivePolicy
) -> HostServiceLook:
    """``host.list_processes``, ``host.read_log_file``, ``host.port_listeners``, ``prometheus.query``."""
    return _host_look(host, connections, service, policy)


@serves("test_watcher.TestWatcherDown: v1 v2")
@diagnostic("watch a service of a host", of="{host} {service}")
def watch_host_service(
    host: str, connections: Connections, service: str, policy: HostServiceUnresponsivePolicy
) -> tuple[HostServiceLook, ...]:
    """Looks until it worked for long enough, or did not in time."""
    return _watch(lambda: _host_look(host, connections, service, policy), policy.wait, policy.hold)


def _watch(look: Callable[[], L], wait: float, hold: float) -> tuple[L, ...]:
    began, looks = time.monotonic(), list[L]()
    while True:
        looks.append(look())
        waited = time.monotonic() - began
        # One that just began to answer gets the time to prove that it stays.
        if held_for(looks) >= hold or waited >= wait + (hold if looks[-1].well else 0):
            return tuple(looks)
        time.sleep(max(0.2, min(_LONGEST_PAUSE, hold / _LOOKS)))


def _host_look(
    host: str, connections: Connections, service: str, policy: HostServiceUnresponsivePolicy
) -> HostServiceLook:
    runs, unseen = None, ""
    if policy.metric is not None:
        runs, unseen = says_it_runs(_http(connections, policy.metric.prometheus), policy.metric)
    return HostServiceLook(
        at=time.monotonic(),
        evidence=_evidence(host, connections, service, policy),
        says_it_runs=runs,
        metric_unseen=unseen,
        answers=_answers(connections, policy.health) if policy.health is not None else (),
    )


def _evidence(
    host: str, connections: Connections, service: str, policy: HostServiceUnresponsivePolicy
) -> ServiceEvidence:
    rule = policy.services.get(service)
    if rule is None:
        raise ConfigurationError(f"The catalogue has no service {service!r} on {host!r}.")
    with open_services(host, connections) as services:
        return services.evidence(rule, _LINES)


def _containers(
    engine: str, connections: Connections, service: str
) -> tuple[ServiceLook | None, tuple[str, ...], dict[str, Usage], tuple[str, ...], str]:
    """The service, its log, what it uses, its largest processes, and why it could not be seen."""
    try:
        with open_engine(engine, connections) as opened:
            seen = look_at_service(opened, service)
            log = [line for one in seen.containers for line in logs(opened, one.id, lines=_LINES).splitlines()]
            running = [one.id for one in seen.containers if one.state == "running"]
            usages = {identity: usage(opened, identity) for identity in running}
            return seen, tuple(log), usages, _largest(opened, running), ""
    except NightshiftError as error:
        return None, (), {}, (), str(error)


def _largest(engine: Engine, running: list[str]) -> tuple[str, ...]:
    return top(engine, running[0]) if running else ()


def _holders(connections: Connections, policy: ServiceUnresponsivePolicy) -> tuple[Running, ...]:
    if policy.port is None or policy.host is None:
        return ()
    try:
        with open_host(policy.host, _host(connections, policy.host)) as opened:
            return port_holders(opened, policy.port)
    except NightshiftError:
        return ()  # who holds the port is evidence only; the engine itself refuses to start on a port that is taken


def _database(connections: Connections, name: str | None) -> Answering | None:
    if name is None:
        return None
    connection = connections.get(name)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {name!r} in the catalogue any more.")
    return how_it_answers(name, connection)[0]


@serves("bybit_strategy_tester.APIUnresponsive: v1 v2 v3 v4")
def _answers(connections: Connections, health: HealthChecks) -> tuple[HttpAnswer, ...]:
    connection = _http(connections, health.api)
    return tuple(_answer(connection, path) for path in health.paths)


@serves("bybit_strategy_tester.general: health_backend health_pool")
def _answer(connection: HttpConnection, path: str) -> HttpAnswer:
    found = probe(connection, path)
    return HttpAnswer(path=path, status=found.status, why=found.silent, seconds=found.seconds)


def _http(connections: Connections, name: str) -> HttpConnection:
    connection = connections.get(name)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no HTTP connection {name!r} in the catalogue any more.")
    return connection


def _host(connections: Connections, name: str) -> SshConnection | LocalConnection:
    connection = connections.get(name)
    if not isinstance(connection, SshConnection | LocalConnection):
        raise ConfigurationError(f"There is no host {name!r} in the catalogue any more.")
    return connection
