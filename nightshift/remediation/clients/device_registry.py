"""Which devices are registered: the service's own API, and the table behind it. Reading only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from psycopg import sql

from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.connections import (
    Connection,
    HttpConnection,
    PostgresConnection,
    resolve_secret,
)
from nightshift.remediation.errors import CommandFailedError, ConfigurationError, TargetUnreachableError
from nightshift.remediation.inventory import serves
from nightshift.remediation.signed_requests.policy import Endpoint, Registry

_MOST_BYTES = 8_000_000
_MOST_DEVICES = 1000
_CREATED = """
select {device}::text, extract(epoch from {created})::float8 from {table}
where {device}::text = any(%(devices)s::text[]) limit %(most)s
"""


@serves("trading_signals.EAPollErrors: d3")
def active_devices(rule: Registry, connections: Mapping[str, Connection]) -> frozenset[str]:
    """The names of all active devices (``http.read_api``).

    Raises:
        NightshiftError: the API does not answer, or not with a list of devices.
    """
    answer = _get(rule.api, rule.path, {"status": "active"}, connections)
    if answer.status_code != 200 or len(answer.content) > _MOST_BYTES:
        raise CommandFailedError(f"{rule.api} answered {answer.status_code} to the question for devices.")
    try:
        found: Any = answer.json()
    except ValueError:
        found = None
    if isinstance(found, dict):
        found = next((value for value in found.values() if isinstance(value, list)), None)
    if not isinstance(found, list):
        raise CommandFailedError(f"{rule.api} does not answer with a list of devices.")
    return frozenset(str(one[rule.field]) for one in found if isinstance(one, dict) and rule.field in one)


@serves("trading_signals.EAPollErrors: r1.2 r2.1")
def registered(rule: Registry, connections: Mapping[str, Connection], devices: Sequence[str]) -> dict[str, float]:
    """When these devices were registered, by name; those that are not in the table are left out.

    Raises:
        NightshiftError: as :func:`open_postgres`.
    """
    connection = connections.get(rule.database)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {rule.database!r} in the catalogue any more.")
    query = sql.SQL(_CREATED).format(
        device=sql.Identifier(rule.field),
        created=sql.Identifier(rule.created_at),
        # The search path holds no schema of the user's: an unqualified name means public.
        table=sql.Identifier(*(rule.table.split(".") if "." in rule.table else ("public", rule.table))),
    )
    with open_postgres(rule.database, connection) as session:
        asked = {"devices": list(devices[:_MOST_DEVICES]), "most": _MOST_DEVICES}
        return {str(name): float(created) for name, created in session.execute(query, asked).fetchall()}


@serves("trading_signals.PaymentWebhookFailures: r3.1")
def how_endpoint_answers(rule: Endpoint, connections: Mapping[str, Connection]) -> str:
    """How the endpoint answers a GET, in words.

    A route for POST answers 405 to it: that tells the same as an unsigned POST, without counting one more invalid
    signature. Whether Stripe gets there only Stripe can say.
    """
    try:
        status = _get(rule.api, rule.path, {}, connections).status_code
    except TargetUnreachableError as error:
        return str(error)
    words = {404: "404: there is no such route", 405: "405: the route is there, and takes no GET, as it should"}
    return words.get(status, f"{status}")


def _get(name: str, path: str, asked: Mapping[str, str], connections: Mapping[str, Connection]) -> httpx.Response:
    connection = connections.get(name)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no connection {name!r} in the catalogue any more.")
    headers = {}
    if connection.token is not None:
        headers["Authorization"] = f"Bearer {resolve_secret(connection.token).get_secret_value()}"
    url = str(connection.url).rstrip("/") + path
    try:
        return httpx.get(url, params=asked, headers=headers, timeout=connection.timeout, follow_redirects=False)
    except httpx.HTTPError as error:
        raise TargetUnreachableError(f"{name} did not answer: {type(error).__name__}.") from None
