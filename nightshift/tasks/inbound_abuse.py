"""Look at who sends too many requests, and watch that after a block. Read only."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from nightshift.remediation.clients import prometheus as metrics_of
from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.environment import plain_setting
from nightshift.remediation.clients.docker.reading import containers_of, logs
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import firewall
from nightshift.remediation.connections import Connection, HttpConnection, LocalConnection, SshConnection
from nightshift.remediation.databases.query_policy import Measure
from nightshift.remediation.errors import ConfigurationError, NightshiftError, NotMeasuredError
from nightshift.remediation.inbound_abuse.objects import AbuseDiagnosis, HostNetwork, Traffic
from nightshift.remediation.inbound_abuse.policy import InboundAbusePolicy
from nightshift.remediation.inbound_abuse.request_log import traffic_in
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.tasks.levels import watch_level
from nightshift.tasks.steps import diagnostic

_MOST_LINES = 20_000
_MOST_BYTES = 4 * 1024 * 1024


@diagnostic("see who sends too much", of="{engine} {service}")
def diagnose_abuse(
    engine: str, connections: Mapping[str, Connection], service: str, policy: InboundAbusePolicy
) -> AbuseDiagnosis:
    """The log by address, the alert's number, the service's own limit, and how the host lies in its network."""
    return look_at_abuse(engine, connections, service, policy)


def look_at_abuse(
    engine: str, connections: Mapping[str, Connection], service: str, policy: InboundAbusePolicy
) -> AbuseDiagnosis:
    """The same within another step.

    Raises:
        NightshiftError: the engine does not answer, or the catalogue lacks a connection.
    """
    traffic, setting = _requests(engine, connections, service, policy, policy.window)
    routes, unknown = tuple[tuple[str, float], ...](), ""
    try:
        routes = series_of(connections, policy.measure)
    except NightshiftError as error:
        unknown = str(error)
    network, blind = _network(connections, policy)
    return AbuseDiagnosis(
        traffic=traffic,
        rate=routes[0][1] if routes else None,
        unknown=unknown,
        routes=routes,
        setting=setting,
        network=network,
        blind=blind,
    )


@diagnostic("watch the number of requests", of="{engine} {service}")
def watch_abuse(
    engine: str, connections: Mapping[str, Connection], service: str, policy: InboundAbusePolicy
) -> tuple[tuple[LevelSample, ...], AbuseDiagnosis]:
    """Looks until the number was within its limit for ``hold`` seconds; a last look at log and host."""
    samples = watch_level(
        lambda: series_of(connections, policy.measure)[0][1],
        policy.measure.at_most,
        wait=policy.wait,
        hold=policy.hold,
    )
    traffic, setting = _requests(engine, connections, service, policy, policy.hold)
    network, blind = _network(connections, policy)
    last = samples[-1]
    return samples, AbuseDiagnosis(
        traffic=traffic, rate=last.value, unknown=last.unknown, setting=setting, network=network, blind=blind
    )


@diagnostic("measure the number of requests", of="{service}")
def abuse_is_over(service: str, connections: Mapping[str, Connection], policy: InboundAbusePolicy) -> bool:  # noqa: ARG001 - it names the step
    """Whether there is nothing left to repair."""
    return series_of(connections, policy.measure)[0][1] <= policy.measure.at_most


def series_of(connections: Mapping[str, Connection], measure: Measure) -> tuple[tuple[str, float], ...]:
    """The series of an expression by their labels, the largest first.

    Raises:
        NotMeasuredError: there is none with a number.
        NightshiftError: as :func:`nightshift.remediation.clients.prometheus.query`.
    """
    connection = connections.get(measure.prometheus)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no connection {measure.prometheus!r} in the catalogue any more.")
    found = [
        (" ".join(value for _, value in sorted(one.metric.items())), one.value[1])
        for one in metrics_of.query(measure.prometheus, connection, measure.expression)
        if math.isfinite(one.value[1])
    ]
    if not found:
        raise NotMeasuredError(f"{measure.prometheus} gives no number for the measure.")
    return tuple(sorted(found, key=lambda one: -one[1]))


def _requests(
    engine: str, connections: Mapping[str, Connection], service: str, policy: InboundAbusePolicy, seconds: float
) -> tuple[Traffic, str]:
    since, name = time.time() - seconds, policy.limit.setting if policy.limit is not None else None
    with open_engine(engine, connections) as opened:
        containers = containers_of(opened, service)
        said = [logs(opened, one.id, lines=_MOST_LINES, since=since, most=_MOST_BYTES) for one in containers]
        found = [plain_setting(opened, one.id, name) for one in containers[:1]] if name else []
    lines = [line for text in said for line in text.splitlines()]
    return traffic_in(lines, policy.log, policy.proxies), found[0] if found else ""


def _network(connections: Mapping[str, Connection], policy: InboundAbusePolicy) -> tuple[HostNetwork | None, str]:
    if policy.firewall is None:
        return None, ""
    connection = connections.get(policy.firewall.host)
    if not isinstance(connection, SshConnection | LocalConnection):
        raise ConfigurationError(f"There is no host {policy.firewall.host!r} in the catalogue any more.")
    try:
        with open_host(policy.firewall.host, connection) as host:
            return firewall.look(host, policy.firewall.chain), ""
    except NightshiftError as error:
        return None, str(error)
