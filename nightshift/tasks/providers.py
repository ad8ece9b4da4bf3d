"""Look at a provider that calls fail to: our own counters and logs, the way to it, our credential, its status page."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from nightshift.remediation.clients import prometheus as metrics_of
from nightshift.remediation.clients import provider_metrics
from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.database_answer import how_it_answers
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.clients.provider import NoCredentialError, probe, status_of, try_credential
from nightshift.remediation.connections import Connection, HttpConnection, PostgresConnection
from nightshift.remediation.databases.down_planner import Answering
from nightshift.remediation.errors import ConfigurationError, NightshiftError
from nightshift.remediation.inventory import serves
from nightshift.remediation.providers.facts import ProviderStatus, Reached
from nightshift.remediation.providers.look import DatabaseSeen, Measured, ProviderLook, classes_of
from nightshift.remediation.providers.policy import OwnDatabase, ProviderFailurePolicy, ProviderRule
from nightshift.remediation.text import printable
from nightshift.tasks.program_logs import newest_lines
from nightshift.tasks.program_settings import seen_setting
from nightshift.tasks.steps import diagnostic

_LOOKS = 20
_LONGEST_PAUSE = 15.0

Connections = Mapping[str, Connection]
T = TypeVar("T")


@diagnostic("look at a provider", of="{provider}")
def diagnose_provider(provider: str, connections: Connections, policy: ProviderFailurePolicy) -> ProviderLook:
    """Counters, breaker, logs, the way to it, our credential and its status page; what cannot be seen is said so."""
    rule, unseen = policy.rule(provider), list[str]()
    connection = http_connection(policy.prometheus, connections)
    credential, missing = _credential(rule, connections, unseen)
    lines, shown = _of(unseen, "the log", lambda: newest_lines(rule.log, connections)) or ((), ())
    return ProviderLook(
        provider=provider,
        measured=provider_metrics.measure(connection, rule, policy),
        now=time.time(),
        reached=_of(unseen, "the way to it", lambda: _probed(rule, connections)),
        credential=credential,
        no_credential=missing,
        status=_status(rule),
        classes=_of(unseen, "the failures", lambda: provider_metrics.failures_by_class(connection, rule, policy)) or {},
        log=shown,
        log_classes=classes_of(lines),
        fallback=seen_setting(rule.fallback.setting, connections) if rule.fallback is not None else None,
        database=_database(rule.own_database, connection, connections, policy),
        unseen=tuple(unseen),
    )


@diagnostic("measure calls to a provider", of="{provider}")
def measure_provider(provider: str, connections: Connections, policy: ProviderFailurePolicy) -> Measured:
    """Counters and breaker alone."""
    connection = http_connection(policy.prometheus, connections)
    return provider_metrics.measure(connection, policy.rule(provider), policy)


@serves("cryptofunk.CircuitBreakerOpen: r4.1")
@diagnostic("watch calls to a provider", of="{provider}")
def watch_provider(
    provider: str, connections: Connections, policy: ProviderFailurePolicy, wait: float, hold: float
) -> tuple[Measured, ...]:
    """Looks until calls succeeded for ``hold`` seconds, or did not within ``wait``: a breaker tries again by itself."""
    rule, connection = policy.rule(provider), http_connection(policy.prometheus, connections)
    began, looks, since = time.monotonic(), list[Measured](), None
    while True:
        looks.append(provider_metrics.measure(connection, rule, policy))
        since = (since or looks[-1].at) if looks[-1].healthy(policy) else None
        held, waited = (looks[-1].at - since if since is not None else 0.0), time.monotonic() - began
        if (since is not None and held >= hold) or waited >= wait + (hold if since is not None else 0):
            return tuple(looks)
        time.sleep(max(0.2, min(_LONGEST_PAUSE, hold / _LOOKS)))


def http_connection(name: str, connections: Connections) -> HttpConnection:
    """The connection of this name.

    Raises:
        ConfigurationError: there is none any more.
    """
    connection = connections.get(name)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no connection {name!r} in the catalogue any more.")
    return connection


@serves(
    "test_watcher.DeepSeekAPIDown: d1 d2",
    "test_watcher.APIHighErrorRate: r3.1",
    "cryptofunk.CircuitBreakerOpen: r1.3",
)
def _probed(rule: ProviderRule, connections: Connections) -> Reached | None:
    """``network.probe`` and ``external_api.health``, from the place that the runbook names."""
    return probe(rule.endpoint, connections) if rule.endpoint is not None else None


@serves(
    "test_watcher.DeepSeekAPIDown: r1.1 r1.4",
    "cryptofunk.CircuitBreakerOpen: r1.1 r1.2 r2.2",
)
def _credential(rule: ProviderRule, connections: Connections, unseen: list[str]) -> tuple[Reached | None, str]:
    """How our credential fares, and whether we are over a limit; why there is none to try."""
    if rule.endpoint is None:
        return None, ""
    try:
        return try_credential(rule.endpoint, connections), ""
    except NoCredentialError as error:
        return None, str(error)
    except NightshiftError as error:
        unseen.append(f"our credential: {printable(str(error), 300)}")
    return None, ""


@serves(
    "test_watcher.DeepSeekAPIDown: r1.2 r1.3",
    "test_watcher.APIHighErrorRate: r2.1",
    "cryptofunk.CircuitBreakerOpen: r2.3",
)
def _status(rule: ProviderRule) -> ProviderStatus | None:
    """``external_api.status_page``."""
    return status_of(rule.status_page) if rule.status_page is not None else None


@serves("cryptofunk.CircuitBreakerOpen: d6 r3.1 r3.2")
def _database(
    own: OwnDatabase | None, prometheus: HttpConnection, connections: Connections, policy: ProviderFailurePolicy
) -> DatabaseSeen | None:
    """How the system's own database answers, how many connections are used, how full its volume is."""
    if own is None:
        return None
    connection = connections.get(own.database)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {own.database!r} in the catalogue any more.")
    answering, says, _ = how_it_answers(own.database, connection)
    used = room = None
    if answering in (Answering.WELL, Answering.READ_ONLY):
        try:
            with open_postgres(own.database, connection) as session:
                server = look_at_server(session)
            used, room = len(server.clients), server.room
        except NightshiftError as error:
            says = str(error)
    volume = _number(policy.prometheus, prometheus, own.volume_used) if own.volume_used else None
    return DatabaseSeen(answering=answering, says=printable(says), used=used, room=room, volume_percent=volume)


def _number(name: str, connection: HttpConnection, expression: str) -> float | None:
    """None where it cannot be told."""
    try:
        samples = metrics_of.query(name, connection, expression)
    except NightshiftError:
        return None
    values = [sample.value[1] for sample in samples]
    return values[0] if len(values) == 1 and math.isfinite(values[0]) else None


def _of(unseen: list[str], what: str, look: Callable[[], T]) -> T | None:
    """One part of the look: that it cannot be seen must not hide the others."""
    try:
        return look()
    except ConfigurationError:
        raise
    except NightshiftError as error:
        unseen.append(f"{what}: {printable(str(error), 300)}")
        return None
