"""Real parts for the integration tests; a part that is missing fails the tests, with its own words."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.patient_host import PatientHost
from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer
from lab.trading_database import TradingDatabase
from nightshift.catalogue import Catalogue
from nightshift.gateway.cli import main
from nightshift.remediation.ledger import Ledger, migrate
from nightshift.settings import settings

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole session; tests that stop or kill a server start one of their own."""
    with PostgresServer() as server:
        migrate(server.create_database("migrated"))
        yield server


@pytest.fixture(scope="session")
def prefect(postgres: PostgresServer) -> Iterator[PrefectServer]:
    """One server for all runs of flows: to start one takes ten seconds of a processor. Nobody stops it.

    Runs of other tests are there, too, so a test looks for what is its own: by deployment, run, or newest artifact.
    """
    with PrefectServer(postgres.create_database("prefect")) as server:
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


@pytest.fixture
def trading_database(postgres: PostgresServer) -> Iterator[TradingDatabase]:
    """A database of the test's own, with old and young trading sessions in it."""
    name = f"trading_{next(_numbers)}"
    database = TradingDatabase(postgres.create_database(name))
    database.fill()
    yield database
    postgres.drop_database(name)


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


@dataclass(frozen=True)
class Answer:
    """What a command of the command line left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Command = Callable[..., Answer]


@pytest.fixture
def settings_of_test(
    monkeypatch: pytest.MonkeyPatch, database_url: str, runbooks: Path, tmp_path: Path
) -> Iterator[None]:
    """The settings of this process: the test's own ledger and catalogue, and nothing of the machine's."""
    for name in [name for name in os.environ if name.startswith(("NIGHTSHIFT_", "PREFECT_", "SUDO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NIGHTSHIFT_DATABASE_URL", database_url)
    monkeypatch.setenv("NIGHTSHIFT_RUNBOOKS", str(runbooks))
    monkeypatch.setenv("NIGHTSHIFT_PREFECT_API_URL", "http://127.0.0.1:1/api")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def nightshift(
    settings_of_test: None,  # noqa: ARG001 - it stands for the environment
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """The real ``main`` of the command line, in this process."""

    def run(*arguments: str) -> Answer:
        settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["nightshift", *arguments])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return run
