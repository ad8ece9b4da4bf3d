"""Real parts for the integration tests; a part that is missing fails the tests, with its own words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from lab.patient_host import PatientHost
from lab.postgres import PostgresServer
from nightshift.remediation.ledger import Ledger, migrate

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole session; tests that stop or kill a server start one of their own."""
    with PostgresServer() as server:
        migrate(server.create_database("migrated"))
        yield server


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    """A ledger database of the test's own, migrated and empty."""
    name = f"ledger_{next(_numbers)}"
    yield postgres.create_database(name, template="migrated")
    postgres.drop_database(name)


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    ledger = Ledger.connect(database_url, pool_size=20)
    yield ledger
    ledger.close()


@pytest.fixture(scope="session")
def patient_host() -> Iterator[PatientHost]:
    """One host with 64 MiB on /data for the whole session; tests that break a host start one of their own.

    Each test that writes there does so in a folder of its own and removes it.
    """
    with PatientHost() as host:
        yield host
