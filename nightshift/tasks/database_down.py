"""Look at a PostgreSQL server that does not answer: itself, its container, its log, its volume."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from prefect import get_run_logger
from prefect.runtime import task_run

from nightshift.remediation.clients.database_answer import how_it_answers, why_read_only
from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.reading import containers_of, logs, look_at_service, titles_of
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.disk import read_usage
from nightshift.remediation.clients.host_probe.recovery import look_at_answer, look_at_recovery, startup_title
from nightshift.remediation.clients.host_probe.services import gather_evidence
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.connections import Connection, LocalConnection, PostgresConnection, SshConnection
from nightshift.remediation.databases.down_planner import Answering, DownLook, waits_on, well_for
from nightshift.remediation.databases.down_policy import DatabaseUnavailablePolicy, DataVolume
from nightshift.remediation.databases.down_signs import Sign, last_words, signs_of
from nightshift.remediation.databases.host_cluster import ClusterAnswer, HostCluster, RecoverySource
from nightshift.remediation.databases.replay import place_in
from nightshift.remediation.errors import CommandFailedError, ConfigurationError, NightshiftError
from nightshift.remediation.hosts.services import ServiceState
from nightshift.remediation.inventory import serves
from nightshift.tasks.recovery_actions import host_of
from nightshift.tasks.steps import diagnostic

_LINES = 500
_LOOKS = 30
_LONGEST_PAUSE = 10.0

Connections = Mapping[str, Connection]


@serves("bybit_strategy_tester.DatabaseDown: d1 d2 d3 d4 d5")
@diagnostic("look at a database that is down", of="{database}")
def look_at_database(database: str, connections: Connections, policy: DatabaseUnavailablePolicy) -> DownLook:
    """``docker.list_containers``, ``docker.container_logs``, ``host.disk_usage``, ``postgres.ping``."""
    return _look(database, connections, policy, closely=True)


@serves("bybit_strategy_tester.DatabaseDown: r1.2")
@diagnostic("watch a database", of="{database}")
def watch_database(database: str, connections: Connections, policy: DatabaseUnavailablePolicy) -> tuple[DownLook, ...]:
    """Looks until it answered for ``hold`` seconds, or did not within ``wait``: recovery may take long.

    One that is seen to get on is waited for until ``wait_moving``, one that stays at its place only for ``stands``.
    """
    began, looks = time.monotonic(), list[DownLook]()
    while True:
        looks.append(_look(database, connections, policy, closely=False))
        _tell(looks)
        held = well_for(looks)
        well = looks[-1].answering is Answering.WELL
        waited = time.monotonic() - began
        over = waited >= policy.wait + policy.hold if well else not waits_on(looks, policy, waited)
        if (well and held >= policy.hold) or over:
            return tuple(looks)
        time.sleep(max(0.2, min(_LONGEST_PAUSE, policy.hold / _LOOKS)))


def _tell(looks: Sequence[DownLook]) -> None:
    """Where its recovery is, for who watches the run, each time that it has got on."""
    place = looks[-1].place
    if place and (len(looks) < 2 or looks[-2].place != place) and task_run.get_id() is not None:
        get_run_logger().info("The database recovers: it is at %s.", place)


def _look(database: str, connections: Connections, policy: DatabaseUnavailablePolicy, *, closely: bool) -> DownLook:
    connection = connections.get(database)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {database!r} in the catalogue any more.")
    answering, says, standby = how_it_answers(database, connection)
    at = time.monotonic()
    place = _place(connections, policy) if answering is Answering.NOT_READY else ""
    if not closely or answering is Answering.WELL:
        return DownLook(at=at, answering=answering, says=says, is_standby=standby, place=place)
    running: ServiceState | None = None
    if policy.on_host is not None:
        (running, log, unseen), service = _on_host(connections, policy.on_host), None
    else:
        service, log, unseen = _container(connections, policy)
    signs = signs_of(log)
    source, no_source = _source(connections, policy.on_host) if Sign.CORRUPTION in signs else (None, "")
    return DownLook(
        at=at,
        answering=answering,
        says=says,
        service=service,
        unseen=unseen,
        signs=signs,
        last_words=last_words(log),
        used_percent=_used(connections, policy.volume) if policy.volume is not None else None,
        is_standby=standby,
        running=running,
        source=source,
        no_source=no_source,
        read_only=why_read_only(database, connection) if answering is Answering.READ_ONLY else None,
        place=place,
    )


def _place(connections: Connections, policy: DatabaseUnavailablePolicy) -> str:
    """Where its recovery is; empty where that cannot be told."""
    try:
        if policy.on_host is not None:
            with host_of(policy.on_host, connections) as host:
                return place_in([startup_title(host, policy.on_host)], "")
        if policy.service is not None:
            with open_engine(policy.service.docker, connections) as engine:
                containers = containers_of(engine, policy.service.service)
                titles = [title for one in containers for title in titles_of(engine, one.id, "postgres: ")]
                return place_in(titles, "\n".join(logs(engine, one.id, lines=_LINES) for one in containers))
    except NightshiftError:
        return ""
    return ""


def _on_host(connections: Connections, cluster: HostCluster) -> tuple[ServiceState | None, str, str]:
    """The service, the newest lines of its log, and why it could not be seen."""
    try:
        with host_of(cluster, connections) as host:
            seen = gather_evidence(host, cluster.service, _LINES)
    except NightshiftError as error:
        return None, "", str(error)
    return seen.service, "\n".join(seen.log), seen.log_unseen


def _source(connections: Connections, cluster: HostCluster | None) -> tuple[RecoverySource | None, str]:
    """What it can be recovered from, and why that could not be told."""
    if cluster is None or cluster.recover is None:
        return None, ""
    try:
        with host_of(cluster, connections) as host:
            return look_at_recovery(host, cluster), ""
    except NightshiftError as error:
        return None, str(error)


@diagnostic("count what was recovered", of="{cluster.data_directory}")
def count_recovered(cluster: HostCluster, connections: Connections) -> ClusterAnswer:
    """By a login of its own on the host: tables, and rows of those that must have some."""
    try:
        with host_of(cluster, connections) as host:
            return look_at_answer(host, cluster)
    except CommandFailedError as error:
        return ClusterAnswer(answers=False, complaint=str(error))


def _container(connections: Connections, policy: DatabaseUnavailablePolicy) -> tuple[ServiceLook | None, str, str]:
    """The service, the newest lines of its log, and why it could not be seen."""
    rule = policy.service
    if rule is None:
        return None, "", ""
    try:
        with open_engine(rule.docker, connections) as engine:
            seen = look_at_service(engine, rule.service)
            return seen, "\n".join(logs(engine, one.id, lines=_LINES) for one in seen.containers), ""
    except NightshiftError as error:
        return None, "", str(error)


def _used(connections: Connections, volume: DataVolume) -> float | None:
    """None where it cannot be told, which speaks against a restart."""
    host = connections.get(volume.host)
    if not isinstance(host, SshConnection | LocalConnection):
        raise ConfigurationError(f"There is no host {volume.host!r} in the catalogue any more.")
    try:
        with open_host(volume.host, host) as opened:
            return read_usage(opened, volume.mount).used_percent
    except NightshiftError:
        return None
