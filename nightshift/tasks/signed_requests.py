"""Look at signed requests and at what they need: log, Redis, secret, the other side, devices. Read only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from nightshift.remediation.clients import redis_server
from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.environment import fingerprint
from nightshift.remediation.clients.docker.reading import containers_of, logs
from nightshift.remediation.clients.redis_keys import key_times
from nightshift.remediation.connections import Connection, HttpConnection
from nightshift.remediation.databases.query_policy import Measure
from nightshift.remediation.errors import ConfigurationError, NightshiftError
from nightshift.remediation.inventory import serves
from nightshift.remediation.signed_requests.facts import Deliveries, Registered, SignedDiagnosis
from nightshift.remediation.signed_requests.policy import Registry, SignedRequestPolicy
from nightshift.remediation.signed_requests.signed_log import signed_traffic
from nightshift.tasks.inbound_abuse import look_at_abuse, series_of
from nightshift.tasks.steps import diagnostic

_MOST_LINES = 20_000
_MOST_BYTES = 4 * 1024 * 1024

T = TypeVar("T")


@serves("trading_signals.PaymentWebhookFailures: r1.1", "trading_signals.EAPollErrors: r3.1")
@diagnostic("see why signed requests are refused", of="{engine} {service}")
def diagnose_signed(
    engine: str, connections: Mapping[str, Connection], service: str, policy: SignedRequestPolicy
) -> SignedDiagnosis:
    """Everything that explains an invalid signature or a replay; what cannot be asked is said, and ends nothing."""
    lines, secret = _service(engine, connections, service, policy)
    traffic = signed_traffic(lines, policy.log)
    complaints: list[str] = []
    numbers = {name: _number(connections, one, complaints) for name, one in policy.measures.items()}
    silence = redis_server.silence(policy.remembered.redis, connections)
    keys = None
    if silence is None:
        with redis_server.open_redis(policy.remembered.redis, connections) as client:
            keys = key_times(client, policy.remembered.prefix)
    deliveries, deliveries_complaint = _deliveries(connections, policy)
    failing = [device.name for device in traffic.failing]
    return SignedDiagnosis(
        numbers=numbers,
        detail=_detail(connections, policy, complaints),
        traffic=traffic,
        silence=silence.why if silence is not None else "",
        keys=keys,
        fingerprint=secret,
        deliveries=deliveries,
        deliveries_complaint=deliveries_complaint,
        answered=_answered(connections, policy),
        registered=None if policy.registry is None else _registered(policy.registry, connections, failing),
        rejected=None if policy.rejections is None else _number(connections, policy.rejections, complaints),
        abuse=look_at_abuse(engine, connections, service, policy.replays) if policy.replays is not None else None,
        unknown=" ".join(dict.fromkeys(complaints)),
    )


@diagnostic("measure refused requests", of="{service}")
def measure_signed(
    service: str,  # noqa: ARG001 - it names the step
    connections: Mapping[str, Connection],
    policy: SignedRequestPolicy,
) -> dict[str, float | None]:
    """The alert's numbers; None: not measured."""
    complaints: list[str] = []
    return {name: _number(connections, one, complaints) for name, one in policy.measures.items()}


def _service(
    engine: str, connections: Mapping[str, Connection], service: str, policy: SignedRequestPolicy
) -> tuple[list[str], str]:
    since = time.time() - policy.window
    with open_engine(engine, connections) as opened:
        containers = containers_of(opened, service)
        said = [
            logs(opened, one.id, lines=_MOST_LINES, since=since, most=_MOST_BYTES, timestamps=True)
            for one in containers
        ]
        secret = ""
        if policy.secret is not None and containers:
            secret = fingerprint(opened, containers[0].id, policy.secret.setting)
    return [line for text in said for line in text.splitlines()], secret


def _number(connections: Mapping[str, Connection], measure: Measure, complaints: list[str]) -> float | None:
    found = _or_complaint(lambda: series_of(connections, measure), complaints)
    return found[0][1] if found else None


@serves("trading_signals.EAPollErrors: d1")
def _detail(
    connections: Mapping[str, Connection], policy: SignedRequestPolicy, complaints: list[str]
) -> tuple[tuple[str, float], ...]:
    """The errors by endpoint and type, or whatever else the policy wants to be shown."""
    if policy.detail is None:
        return ()
    first = next(iter(policy.measures.values()))
    asked = first.model_copy(update={"expression": policy.detail})
    return _or_complaint(lambda: series_of(connections, asked), complaints) or ()


def _or_complaint(ask: Callable[[], T], complaints: list[str]) -> T | None:
    try:
        return ask()
    except NightshiftError as error:
        complaints.append(str(error))
        return None


def _deliveries(connections: Mapping[str, Connection], policy: SignedRequestPolicy) -> tuple[Deliveries | None, str]:
    if policy.stripe is None:
        return None, ""
    from nightshift.remediation.clients.stripe import webhook_deliveries

    connection = connections.get(policy.stripe)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no connection {policy.stripe!r} in the catalogue any more.")
    try:
        return webhook_deliveries(policy.stripe, connection, time.time() - policy.window), ""
    except NightshiftError as error:
        return None, str(error)


def _answered(connections: Mapping[str, Connection], policy: SignedRequestPolicy) -> str:
    if policy.endpoint is None:
        return ""
    from nightshift.remediation.clients.device_registry import how_endpoint_answers

    return how_endpoint_answers(policy.endpoint, connections)


def _registered(rule: Registry, connections: Mapping[str, Connection], failing: list[str]) -> Registered:
    # psycopg is imported for systems that have a database.
    from nightshift.remediation.clients.device_registry import active_devices, registered

    complaints: list[str] = []
    active: Any = _or_complaint(lambda: active_devices(rule, connections), complaints)
    created = _or_complaint(lambda: registered(rule, connections, failing), complaints)
    return Registered(
        active=None if active is None else len(active),
        failing_active=0 if active is None else len(active & set(failing)),
        created=created or {},
        complaint=" ".join(complaints),
    )
