"""Real parts for the integration tests; a part that is missing fails the tests, with its own words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.patient_host import PatientHost
from lab.postgres import PostgresServer
from nightshift.catalogue import Catalogue
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


CATALOGUE = """
id: shop
display: Shop
title: A shop
mode: propose
match:
  - { job: shop }
severities:
  critical: { notify: [critical] }
  warning: { notify: [warning] }
  info: {}
channels:
  critical: { kind: apprise, title: "#critical", url: { env: SHOP_CRITICAL } }
  warning: { kind: apprise, title: "#warning", url: { env: SHOP_WARNING } }
connections:
  web1: { type: local, instances: ["web1:9100"] }
  web2: { type: local, instances: ["web2:9100"] }
runbooks:
  HighDiskUsage:
    summary: a disk is nearly full
    severity: warning
    severity_when: [{ label: severity, equals: critical, severity: critical }]
    flow: disk-space-reclaim
    target: { host: { label: instance }, filesystem: { label: mountpoint } }
    policy: {}
  QueueBacklog:
    summary: a queue grows
    severity: critical
    planned_flow: queue-backlog
"""


@pytest.fixture
def runbooks(tmp_path: Path) -> Path:
    """A folder with the catalogue of one system, the shop."""
    folder = tmp_path / "runbooks"
    folder.mkdir()
    (folder / "shop.yaml").write_text(CATALOGUE)
    return folder


@pytest.fixture
def catalogue(runbooks: Path) -> Catalogue:
    return Catalogue.load(runbooks)
