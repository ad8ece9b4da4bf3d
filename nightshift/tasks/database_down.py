"""Look at a PostgreSQL server that does not answer: itself, its container, its log, its volume."""

from __future__ import annotations

import time
from collections.abc import Mapping

from nightshift.remediation.clients.database_answer import how_it_answers
from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.reading import logs, look_at_service
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.disk import read_usage
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.connections import Connection, LocalConnection, PostgresConnection, SshConnection
from nightshift.remediation.databases.down_planner import Answering, DownLook, well_for
from nightshift.remediation.databases.down_policy import DatabaseUnavailablePolicy, DataVolume
from nightshift.remediation.databases.down_signs import last_words, signs_of
from nightshift.remediation.errors import ConfigurationError, NightshiftError
from nightshift.remediation.inventory import serves
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
    """Looks until it answered for ``hold`` seconds, or did not within ``wait``: recovery may take long."""
    began, looks = time.monotonic(), list[DownLook]()
    while True:
        looks.append(_look(database, connections, policy, closely=False))
        held = well_for(looks)
        well = looks[-1].answering is Answering.WELL
        waited = time.monotonic() - began
        if (well and held >= policy.hold) or waited >= policy.wait + (policy.hold if well else 0):
            return tuple(looks)
        time.sleep(max(0.2, min(_LONGEST_PAUSE, policy.hold / _LOOKS)))


def _look(database: str, connections: Connections, policy: DatabaseUnavailablePolicy, *, closely: bool) -> DownLook:
    connection = connections.get(database)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {database!r} in the catalogue any more.")
    answering, says, standby = how_it_answers(database, connection)
    at = time.monotonic()
    if not closely or answering is Answering.WELL:
        return DownLook(at=at, answering=answering, says=says, is_standby=standby)
    service, log, unseen = _container(connections, policy)
    return DownLook(
        at=at,
        answering=answering,
        says=says,
        service=service,
        unseen=unseen,
        signs=signs_of(log),
        last_words=last_words(log),
        used_percent=_used(connections, policy.volume) if policy.volume is not None else None,
        is_standby=standby,
    )


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
