"""A PostgreSQL server: one connection with time limits, and its errors in our words.

Statements are constants, with values as parameters and names as ``psycopg.sql.Identifier``. No error repeats the URL or
a password, nor a server's DETAIL, which quotes rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from nightshift.remediation.connections import PostgresConnection, resolve_secret
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    ConfigurationError,
    ConnectionLostError,
    DiskFullError,
    NightshiftError,
    NoConnectionLeftError,
    NotReadyError,
    PermanentError,
    TargetUnreachableError,
    TemporaryError,
)
from nightshift.remediation.text import printable

Session = psycopg.Connection[tuple[Any, ...]]
"""An open connection in autocommit: transactions are begun where they are meant."""

STATEMENT_SECONDS = 20.0
LOCK_SECONDS = 5.0
_SETTINGS = {
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "lock_timeout": f"{LOCK_SECONDS:.0f}s",
    "idle_in_transaction_session_timeout": "60s",  # a worker that vanished must not keep rows locked
    "search_path": "pg_catalog",  # nobody's function or operator can slip in under a name we use
    # Text forms of values that read back as the same values anywhere, as pg_dump has them.
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
}
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

# While a connection is made the server's SQLSTATE is not passed on, so only its words tell.
_NO_ROOM = ("too many clients", "too many connections", "connection slots are reserved", "no more connections allowed")
_NOT_READY = ("is starting up", "is shutting down", "in recovery mode", "not yet accepting", "not accepting")
_REFUSED = (
    "authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "is not permitted to log in",
    "permission denied for database",
)
_MISSING = ("does not exist",)
_POOLER = ("unsupported startup parameter",)


@contextmanager
def open_postgres(name: str, connection: PostgresConnection) -> Iterator[Session]:
    """The server under this name of the catalogue, for the time of the block.

    Raises:
        ConfigurationError: the URL is not there, is no URL of PostgreSQL, or leads to a pooler or a missing database.
        AuthenticationError: the server refused the account.
        TargetUnreachableError: no answer, no connection left, starting up, or the connection broke in the block.
        CommandFailedError: a statement failed or took too long; of its transaction nothing stays.
    """
    try:
        opened = psycopg.connect(
            **_parameters(name, connection),
            autocommit=True,
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        raise _not_opened(name, error) from None
    with opened:
        try:
            yield opened
        except psycopg.Error as error:
            raise translated(name, error) from None


def _parameters(name: str, connection: PostgresConnection) -> dict[str, Any]:
    url = resolve_secret(connection.url).get_secret_value()
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.Error:
        # What libpq says about it may quote the password.
        remedy = "Write it as postgresql://user:password@host:5432/database."
        raise ConfigurationError(f"The URL of {name} in {connection.url} is not valid.", remedy=remedy) from None
    settings = " ".join(f"-c {setting}={value}" for setting, value in _SETTINGS.items())
    return {
        **parameters,
        **_KEEPALIVE,
        "application_name": "nightshift",
        "connect_timeout": max(2, math.ceil(connection.connect_timeout)),  # libpq takes 1 for 2
        "options": f"{parameters.get('options') or ''} {settings}".strip(),
    }


def _not_opened(name: str, error: psycopg.Error) -> NightshiftError:
    words = str(error)

    def says(phrases: tuple[str, ...]) -> bool:
        return any(phrase in words for phrase in phrases)

    if says(_NO_ROOM):
        return _no_room(name)
    if says(_NOT_READY):
        return NotReadyError(f"{name} is starting up, shutting down or in recovery: it takes no connections.")
    if says(_POOLER):
        remedy = "Connect to PostgreSQL itself, not through a pooler such as PgBouncer."
        return ConfigurationError(f"{name} does not take the settings of a session.", remedy=remedy)
    if says(_REFUSED):
        return AuthenticationError(f"{name} refused the account.")
    if says(_MISSING):
        return ConfigurationError(f"{name} has no such database or role.", remedy="See the connection's URL.")
    return TargetUnreachableError(f"{name} did not answer.")


def _no_room(name: str) -> NightshiftError:
    remedy = "Keep some for Nightshift's account: reserved_connections, and grant pg_use_reserved_connections."
    return NoConnectionLeftError(f"{name} has no connection left: too many clients.", remedy=remedy)


def translated(name: str, error: psycopg.Error) -> NightshiftError:
    """The error of a statement in our words. Its transaction was, or is being, rolled back."""
    match error:
        case errors.QueryCanceled():
            return CommandFailedError(f"A statement on {name} took too long and was cancelled; nothing of it stays.")
        case errors.LockNotAvailable():
            return TemporaryError(f"{name}: a lock was not granted within {LOCK_SECONDS:g} s.")
        case errors.SerializationFailure() | errors.DeadlockDetected():
            return TemporaryError(f"{name}: other sessions changed the same rows at the same time.")
        case errors.DiskFull():
            return DiskFullError(f"{name} has no space left on its volume.")
        case errors.ReadOnlySqlTransaction():
            return PermanentError(f"{name} is read-only: it is a standby, or default_transaction_read_only is on.")
        case errors.InsufficientPrivilege():
            return PermanentError(f"{name}: {printable(error.diag.message_primary or 'permission denied')}.")
        case errors.TooManyConnections():
            return _no_room(name)
    if connection_is_gone(error):
        return TargetUnreachableError(f"The connection to {name} broke; what was not committed is rolled back.")
    words = printable(error.diag.message_primary or type(error).__name__)
    return CommandFailedError(f"{name}: {words} ({error.sqlstate or 'no SQLSTATE'}).")


def committing(name: str, error: psycopg.Error) -> NightshiftError:
    """The error of a COMMIT: when the connection broke in it, only looking tells whether it counts."""
    if connection_is_gone(error):
        return ConnectionLostError(f"The connection to {name} broke during a commit.")
    return translated(name, error)


def connection_is_gone(error: psycopg.Error) -> bool:
    """Whether the error ended the connection, rather than a statement."""
    gone = (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow, errors.IdleInTransactionSessionTimeout)
    return isinstance(error, gone) or (isinstance(error, psycopg.OperationalError) and error.sqlstate is None)


def limit_statements(session: Session, seconds: float) -> None:
    """Cancel statements that take longer, from now on; at least a second is left to each."""
    milliseconds = str(max(1000, round(seconds * 1000)))
    session.execute("select set_config('statement_timeout', %s, false)", [milliseconds])
