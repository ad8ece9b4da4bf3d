"""A PostgreSQL server that the user gave: check it, and make Prefect's database on it where we may."""

from __future__ import annotations

import psycopg
from psycopg import errors, sql
from sqlalchemy.engine import URL

from nightshift.remediation.errors import ConfigurationError, LedgerUnavailableError
from nightshift.running.prefect_server import postgresql_url

_PREFECT = "prefect"


def prefect_database(ledger_url: str) -> str:
    """The URL of the database ``prefect`` on the ledger's server, with the extension that Prefect's tables need.

    Raises:
        ConfigurationError: database or extension are missing and we may not make them; names the SQL to run.
        LedgerUnavailableError: the server does not answer.
    """
    ledger = postgresql_url(ledger_url)
    prefect = ledger.set(database=_PREFECT)
    with connected(ledger) as connection:
        found = connection.execute("select 1 from pg_database where datname = %s", [_PREFECT]).fetchone()
        if found is None:
            _make_database(connection, ledger)
    check_prefect_database(prefect.render_as_string(hide_password=False))
    return prefect.render_as_string(hide_password=False)


def check_prefect_database(database_url: str) -> None:
    """Make sure that Prefect's tables can be made there.

    Raises:
        ConfigurationError: the extension is missing and we may not make it; names the SQL to run.
        LedgerUnavailableError: the server does not answer.
    """
    url = postgresql_url(database_url)
    with connected(url) as connection:
        try:
            connection.execute("create extension if not exists pg_trgm")
        except errors.InsufficientPrivilege:
            raise ConfigurationError(
                f"Prefect needs the extension pg_trgm in the database {url.database}, and we may not create it.",
                remedy="Let a superuser run in that database: CREATE EXTENSION pg_trgm;",
            ) from None


def _make_database(connection: psycopg.Connection[tuple[object, ...]], ledger: URL) -> None:
    try:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(_PREFECT)))
    except errors.DuplicateDatabase:
        return  # somebody made it just now
    except errors.InsufficientPrivilege:
        owner = sql.Identifier(ledger.username or "nightshift").as_string(connection)
        raise ConfigurationError(
            f"The PostgreSQL server has no database {_PREFECT} for Prefect, and we may not create one.",
            remedy=f"Let a superuser run: CREATE DATABASE {_PREFECT} OWNER {owner};",
        ) from None


def connected(url: URL, *, timeout: int = 10) -> psycopg.Connection[tuple[object, ...]]:
    """A session that commits each statement.

    Raises:
        LedgerUnavailableError: the server does not answer, or not to us.
    """
    try:
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True, connect_timeout=timeout)
    except psycopg.OperationalError as error:
        raise LedgerUnavailableError(
            f"PostgreSQL at {url.host}:{url.port or 5432} does not let us into database {url.database}: "
            f"{str(error).splitlines()[-1]}",
            remedy="Check NIGHTSHIFT_DATABASE_URL.",
        ) from None
