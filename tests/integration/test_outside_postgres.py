"""A PostgreSQL server that the user gives."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from lab.ports import free_port
from lab.postgres import PostgresServer
from nightshift.remediation.errors import ConfigurationError, LedgerUnavailableError
from nightshift.running.outside_postgres import check_prefect_database, prefect_database


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def role(server: PostgresServer, options: str) -> str:
    """A user with these options, and the URL of a database that it owns."""
    name = f"user_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} login " + options).format(sql.Identifier(name)))
        connection.execute(sql.SQL("create database {} owner {}").format(*[sql.Identifier(name)] * 2))
    return f"postgresql://{name}:hunter2@127.0.0.1:{server.port}/{name}"


def test_a_user_who_may_gets_a_database_for_prefect_with_its_extension(own_postgres: PostgresServer) -> None:
    url = prefect_database(role(own_postgres, "createdb"))

    with psycopg.connect(url) as connection:
        assert connection.info.dbname == "prefect"
        assert connection.execute("select 1 from pg_extension where extname = 'pg_trgm'").fetchone() == (1,)
    assert url == prefect_database(url)


def test_a_user_who_may_not_is_told_the_sql_to_run(own_postgres: PostgresServer) -> None:
    url = role(own_postgres, "nocreatedb")

    with pytest.raises(ConfigurationError) as refusal:
        prefect_database(url)

    statement = refusal.value.remedy.removeprefix("Let a superuser run: ")
    assert statement.startswith("CREATE DATABASE prefect OWNER")
    with psycopg.connect(own_postgres.url(), autocommit=True) as connection:
        connection.execute(statement)
    assert prefect_database(url).endswith("/prefect")


def test_a_missing_extension_is_told_with_the_sql_to_run(own_postgres: PostgresServer) -> None:
    stranger = role(own_postgres, "nocreatedb")
    foreign = stranger.rsplit("/", 1)[0] + "/" + own_postgres.create_database("foreign_db").rsplit("/", 1)[1]

    with pytest.raises(ConfigurationError, match="pg_trgm") as refusal:
        check_prefect_database(foreign)

    assert "CREATE EXTENSION pg_trgm;" in refusal.value.remedy


def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    port = free_port()

    with pytest.raises(LedgerUnavailableError) as failure:
        prefect_database(f"postgresql://user:hunter2@127.0.0.1:{port}/ledger")

    assert f"127.0.0.1:{port}" in str(failure.value)
    assert "hunter2" not in str(failure.value)
