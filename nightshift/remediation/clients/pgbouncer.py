"""PgBouncer's admin console: what its pools wait for, and new connections to the server.

The console knows neither parameters nor settings of a session: its commands are constants, a name in one is
checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from nightshift.remediation.connections import Connection, PostgresConnection, resolve_secret
from nightshift.remediation.databases.pool_use import PoolerLimits, PoolerPool
from nightshift.remediation.errors import CommandFailedError, ConfigurationError, TargetUnreachableError
from nightshift.remediation.text import printable

Console = psycopg.Connection[dict[str, Any]]
_OWN = "pgbouncer"
"""The database of the console itself."""


@contextmanager
def open_console(name: str, connections: Mapping[str, Connection]) -> Iterator[Console]:
    """The console under this name of the catalogue.

    Raises:
        ConfigurationError: there is no such connection, or its URL is none.
        TargetUnreachableError: PgBouncer does not answer, or refuses the user.
        CommandFailedError: it refused a command.
    """
    connection = connections.get(name)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no connection {name!r} to a pooler in the catalogue any more.")
    try:
        parameters = conninfo_to_dict(resolve_secret(connection.url).get_secret_value())
    except psycopg.Error:
        remedy = "Write it as postgresql://user:password@host:6432/pgbouncer."
        raise ConfigurationError(f"The URL of {name} in {connection.url} is not valid.", remedy=remedy) from None
    timeout = max(2, math.ceil(connection.connect_timeout))
    try:
        opened = psycopg.connect(
            make_conninfo("", **parameters | {"connect_timeout": timeout}),
            autocommit=True,
            prepare_threshold=None,
            row_factory=dict_row,
        )
    except psycopg.Error:
        raise TargetUnreachableError(f"The pooler {name} did not answer.") from None
    with opened:
        try:
            yield opened
        except psycopg.OperationalError:
            raise TargetUnreachableError(f"The connection to the pooler {name} broke.") from None
        except psycopg.Error as error:
            words = printable(error.diag.message_primary or type(error).__name__)
            raise CommandFailedError(f"The pooler {name} refused it: {words}.") from None


def pools(console: Console) -> tuple[PoolerPool, ...]:
    """``SHOW POOLS``, with size and load of its database, whether that is paused, and since when it is connected."""
    databases = {row["name"]: row for row in console.execute("SHOW DATABASES")}
    load = {row["database"]: row for row in console.execute("SHOW STATS")}
    newest: dict[str, str] = {}
    for row in console.execute("SHOW SERVERS"):
        newest[row["database"]] = max(newest.get(row["database"], ""), str(row["connect_time"]))
    return tuple(
        PoolerPool(
            database=row["database"],
            user=row["user"],
            clients_waiting=row["cl_waiting"],
            longest_wait=row["maxwait"] + row["maxwait_us"] / 1e6,
            servers=row["sv_active"] + row["sv_idle"] + row["sv_used"],
            paused=bool(databases.get(row["database"], {}).get("paused")),
            newest_server=newest.get(row["database"], ""),
            active=row["sv_active"],
            size=int(databases.get(row["database"], {}).get("pool_size") or 0),
            transactions_per_second=float(load.get(row["database"], {}).get("avg_xact_count", 0)),
            seconds_per_transaction=float(load.get(row["database"], {}).get("avg_xact_time", 0)) / 1e6,
        )
        for row in console.execute("SHOW POOLS")
        if row["database"] != _OWN
    )


def limits(console: Console) -> PoolerLimits:
    """What bounds its pools (``SHOW CONFIG``)."""
    said = {row["key"]: row["value"] for row in console.execute("SHOW CONFIG")}
    return PoolerLimits(
        default_size=int(said["default_pool_size"]),
        reserve=int(said["reserve_pool_size"]),
        most_per_database=int(said["max_db_connections"]),
        pool_mode=str(said["pool_mode"]),
    )


def set_default_size(console: Console, size: int) -> None:
    """Another ``default_pool_size``, until its configuration is read again."""
    console.execute(sql.SQL("SET default_pool_size = {}").format(sql.Literal(size)))


def connected_at(console: Console, database: str) -> list[str]:
    """Since when each of its connections for this database is there."""
    return [str(row["connect_time"]) for row in console.execute("SHOW SERVERS") if row["database"] == database]


def reconnect(console: Console, database: str) -> None:
    """Every connection to the server is closed as soon as nobody uses it, and opened anew."""
    if not re.fullmatch(r"[a-z0-9_]{1,63}", database):
        raise CommandFailedError("PgBouncer's console takes no such name of a database.")
    console.execute(sql.SQL("RECONNECT ") + sql.SQL(database))
