"""The doctor looks at everything that a system is reached by: hosts, databases, HTTP APIs, channels for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import httpx

from nightshift.catalogue import Channel, System
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.windows_host import open_windows_host
from nightshift.remediation.clients.windows_services import VERSION
from nightshift.remediation.connections import (
    Connection,
    DockerConnection,
    HostConnection,
    HttpConnection,
    KubernetesConnection,
    LocalConnection,
    PostgresConnection,
    RedisConnection,
    S3Connection,
    SshConnection,
    WindowsConnection,
    resolve_secret,
)
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.models import Severity
from nightshift.remediation.text import printable
from nightshift.running.doctor.clusters import look_at_cluster
from nightshift.running.doctor.engines import look_at_engine
from nightshift.running.doctor.finding import Seen, error, in_words, ok, warning

_OLDEST_PYTHON = (3, 6)
_COMMAND_SECONDS = 10.0
_PYTHON = "import json, os, sys; print(json.dumps([sys.version_info[0], sys.version_info[1], os.geteuid()]))"


def look_at(name: str, connections: Mapping[str, Connection]) -> Iterator[Seen]:
    """Whether it can be used as the catalogue says.

    Raises:
        NightshiftError: it cannot, with the remedy.
    """
    match connection := connections[name]:
        case SshConnection() | LocalConnection():
            return _look_at_host(name, connection)
        case WindowsConnection():
            return _look_at_windows(name, connection)
        case PostgresConnection():
            return _look_at_postgres(name, connection)
        case HttpConnection():
            return _look_at_http(connection)
        case KubernetesConnection():
            return look_at_cluster(name, connection)
        case DockerConnection():
            return look_at_engine(name, connections)
        case S3Connection():
            return _look_at_bucket(name, connection)
        case RedisConnection():
            return _look_at_redis(name, connections)


def _look_at_windows(name: str, connection: WindowsConnection) -> Iterator[Seen]:
    """Its address, host key and login are looked at by opening it; then one script, as every other is run."""
    with open_windows_host(name, connection) as host:
        found = host.ask("look at PowerShell", VERSION, {}, seconds=_COMMAND_SECONDS)
    version, user = printable(str(found["version"]), 40), printable(str(found["user"]), 80)
    yield ok(f"{connection.user}@{connection.address} answers with PowerShell {version}, as {user}.")


def _look_at_host(name: str, connection: HostConnection) -> Iterator[Seen]:
    """Its address, host key, login and sudo are looked at by opening it."""
    with open_host(name, connection) as host:
        answer = host.run(["python3", "-I", "-c", _PYTHON], timeout=_COMMAND_SECONDS)
    where = "This machine" if isinstance(connection, LocalConnection) else f"{connection.user}@{connection.address}"
    try:
        major, minor, user = json.loads(answer.stdout) if answer.returncode == 0 else (0, 0, -1)
    except ValueError:
        major = 0
    if not major:
        yield error(f"{where} lets us in, but python3 does not run there.", "Install Python 3.6 or newer on it.")
        return
    if (major, minor) < _OLDEST_PYTHON:
        yield error(f"{where} has Python {major}.{minor}.", "Install Python 3.6 or newer on it.")
        return
    if user != 0:
        yield warning(
            f"{where} works, but not as root: what belongs to other users cannot be seen or changed.",
            "Set become: sudo, with a NOPASSWD rule in its sudoers.",
        )
        return
    yield ok(f"{where} works as root, with Python {major}.{minor}.")


_RIGHTS = """
select current_setting('server_version'),
       (select rolsuper from pg_roles where rolname = current_user),
       pg_has_role(current_user, 'pg_monitor', 'usage'),
       pg_is_in_recovery()
"""


def _look_at_postgres(name: str, connection: PostgresConnection) -> Iterator[Seen]:
    # psycopg is imported for systems that have a database.
    from nightshift.remediation.clients.postgres import open_postgres

    with open_postgres(name, connection) as session:
        row = session.execute(_RIGHTS).fetchone()
    assert row is not None  # noqa: S101 - it selects no table
    version, superuser, monitor, standby = row
    if standby:
        yield warning(f"PostgreSQL {version} works, but is a standby: nothing can be changed.", "Name the primary.")
    elif superuser or monitor:
        yield ok(f"PostgreSQL {version} works, and we see all its sessions.")
    else:
        yield warning(
            f"PostgreSQL {version} works, but what other users' sessions do is hidden from us.",
            "Grant pg_monitor to the account.",
        )


def _look_at_redis(name: str, connections: Mapping[str, Connection]) -> Iterator[Seen]:
    # The redis package is imported for systems that have a server.
    from nightshift.remediation.clients import redis_server

    with redis_server.open_redis(name, connections) as client:
        seen = redis_server.look(client, sample=False)
        may_change = redis_server.may_set_memory(client)
    if not may_change:
        yield warning(f"Redis {seen.version} works, but we may not set its memory.", redis_server.GRANT)
    else:
        yield ok(f"Redis {seen.version} works as {seen.role}, with {printable(seen.policy, 40)}.")


def _look_at_http(connection: HttpConnection) -> Iterator[Seen]:
    headers = {}
    if connection.token is not None:
        headers["Authorization"] = f"Bearer {resolve_secret(connection.token).get_secret_value()}"
    place = f"{connection.url.scheme}://{connection.url.host}:{connection.url.port}"
    try:
        with httpx.stream("GET", str(connection.url), headers=headers, timeout=connection.timeout) as answer:
            status = answer.status_code
    except (httpx.HTTPError, ValueError) as wrong:
        yield error(
            f"{place} does not answer: {in_words(wrong)}.", "See its address, the network, and whether it runs."
        )
        return
    if status in (401, 403):
        yield error(f"{place} refuses us ({status}).", "Give it the right token.")
    elif status >= 500:
        yield error(f"{place} answers with an error ({status}).", "See its log.")
    else:
        yield ok(f"{place} answers ({status}).")


def _look_at_bucket(name: str, connection: S3Connection) -> Iterator[Seen]:
    # boto3 is imported for systems that have a bucket.
    from nightshift.remediation.clients.s3 import read_object

    read_object(name, connection, "nightshift-doctor")  # whether it is there does not matter: we may ask
    yield ok(f"The bucket {connection.bucket} lets us look at its objects.")


def look_at_channel(system: System, name: str, channel: Channel) -> Iterator[Seen]:
    """Whether messages could be sent there; none is sent."""
    needed = name in system.severities[Severity.CRITICAL].notify
    try:
        secret = resolve_secret(channel.url)
    except ConfigurationError as wrong:
        say = error if needed else warning
        yield say(f"{channel.title}: messages wait, since its URL is missing. {wrong.message}", _set_url(channel))
        return
    if not secret.get_secret_value().strip():
        yield error(f"{channel.title}: messages wait, since its URL is empty.", _set_url(channel))
    else:
        yield ok(f"{channel.title} has a URL; no message was sent to try it.")


def _set_url(channel: Channel) -> str:
    return f"Put it into the {channel.url}, for the gateway."
