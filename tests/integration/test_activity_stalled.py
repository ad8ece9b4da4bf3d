"""The flow ``activity-stalled`` on a real engine, a real database and real HTTP services."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

import nightshift.tasks.registered  # noqa: F401 - the kinds of action
from lab import preloaded
from lab.compose_project import ComposeProject
from lab.docker_engine import DockerEngine
from lab.http_service import HttpService
from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer
from nightshift.catalogue import Catalogue
from nightshift.gateway import approvals
from nightshift.gateway.attempts import Attempts
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.prefect_api import PrefectApi
from nightshift.remediation.activity.arguments import ExpireItems
from nightshift.remediation.activity.policy import EventTable, StuckQueue
from nightshift.remediation.clients import activity_tables
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.connections import PostgresConnection, SecretReference
from nightshift.remediation.decisions import Decision
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Severity, Target

FLOW = "activity-stalled"
TARGET = Target(system="shop", path=("compose", "main", "service", "signal-generator"))
IDLE = ("sh", "-c", "echo connected to signal_source; trap 'exit 0' TERM; while :; do sleep 0.1; done")
TABLES = """
create type approval_status as enum ('pending', 'approved', 'expired');
create table signals (id bigserial, symbol text, created_at timestamptz default clock_timestamp());
create table approvals (id bigserial primary key, status approval_status, created_at timestamptz default now());
insert into signals (symbol, created_at) values ('BTC/USDT', now() - interval '1 hour');
"""
POLICY: dict[str, Any] = {
    "platform": "compose",
    "events": "trade signals",
    "limit": "20s",
    "looks": {
        "events": {"kind": "table", "database": "database", "table": "signals"},
        "database": "database",
        "services": [{"name": "approval service", "api": "backend", "path": "/approvals"}],
        "source": {"probe": {"name": "signal source", "api": "source", "path": "/health"}},
    },
    "repairs": {"queue": {"database": "database", "table": "approvals", "older_than": "30m"}},
    "wait": "20s",
    "hold": "3s",
}
_ENGINE = """
import runpy
runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[ComposeProject]:
    with DockerEngine() as engine:
        project = ComposeProject(engine, "shop")
        project.image("shop/signals:1")
        project.up("signal-generator", "shop/signals:1", *IDLE)
        yield project
        project.down()


@pytest.fixture
def database(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database whose last signal is an hour old."""
    url = postgres.create_database("signals")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES)
    monkeypatch.setenv("SIGNALS_URL", url)
    yield url
    postgres.drop_database("signals")


@pytest.fixture
def backend() -> Iterator[HttpService]:
    with HttpService({"/approvals": (200, "[]"), "/health": (200, "ok")}) as service:
        yield service


@contextmanager
def generating(shop: ComposeProject, database: str) -> Iterator[None]:
    """A signal every moment while the generator runs and its queue is not full of old items."""
    ends = threading.Event()
    old = "select from approvals where status = 'pending' and created_at < now() - interval '30 minutes'"

    def generate() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            while not ends.wait(0.3):
                row = connection.execute(f"select not exists ({old})").fetchone()
                if row == (True,) and shop.inspect("shop-signal-generator-1")["State"]["Running"]:
                    connection.execute("insert into signals (symbol) values ('ETH/USDT')")

    thread = threading.Thread(target=generate)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


class Runs:
    """Runs of a deployment for an incident, as an alert makes them."""

    def __init__(self, system: Mapping[str, Any], prefect: PrefectServer, ledger_url: str, folder: Path) -> None:
        self.runbooks, self._prefect = folder / "runbooks", prefect
        self.runbooks.mkdir()
        (self.runbooks / "shop.yaml").write_text(json.dumps(system))
        Catalogue.load(self.runbooks)  # a mistake shows here in its own words
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))},
            "NIGHTSHIFT_DATABASE_URL": ledger_url,
            "NIGHTSHIFT_HOME": str(folder),
            "NIGHTSHIFT_RUNBOOKS": str(self.runbooks),
            "PREFECT_API_URL": prefect.url,
            "PREFECT_HOME": str(folder / "prefect"),
        }

    def schedule(self, incident: int) -> UUID:
        made = self._post("flows/", {"name": FLOW})
        body = {"name": "nightshift", "flow_id": made["id"], "enforce_parameter_schema": False}
        deployment = self._post("deployments/", body)["id"]
        parameters = {"system": "shop", "target": TARGET.key, "incident": incident}
        return UUID(self._post(f"deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"])

    def work_on(self, run: UUID) -> str:
        """Until its process ends; name of the state it is in then."""
        entrypoint = "nightshift.flows.activity_stalled.activity_stalled"
        told = {"PREFECT__FLOW_RUN_ID": str(run), "PREFECT__FLOW_ENTRYPOINT": entrypoint}
        code, said = preloaded.run(_ENGINE, environment={**self._environment, **told}, seconds=120)
        assert code == 0, said
        found = httpx.get(f"{self._prefect.url}/flow_runs/{run}", timeout=20, trust_env=False).json()
        return str(found["state"]["name"])

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = httpx.post(f"{self._prefect.url}/{path}", json=body, timeout=20, trust_env=False)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture
def runs(
    shop: ComposeProject,
    database: str,
    backend: HttpService,
    prefect: PrefectServer,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Runs:
    monkeypatch.setenv("SIGNALS_URL", database)
    parts = {"compose": {"default": "main"}, "service": {"default": "signal-generator", "among": ["signal-generator"]}}
    runbook = {"summary": "quiet", "severity": "critical", "flow": FLOW, "target": parts, "policy": POLICY}
    system = {
        "id": "shop",
        "display": "Shop",
        "title": "A shop",
        "mode": "auto",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {
            "main": shop.connection(),
            "database": {"type": "postgres", "url": {"env": "SIGNALS_URL"}},
            "backend": {"type": "http", "url": backend.url},
            "source": {"type": "http", "url": backend.url},
        },
        "runbooks": {"Trouble": runbook},
    }
    return Runs(system, prefect, database_url, tmp_path)


def opened(ledger: Ledger) -> int:
    trouble = Trouble("shop", "Trouble", FLOW, TARGET, Severity.CRITICAL, "no signal")
    with ledger.engine.begin() as connection:
        return ledger.incidents.open(connection, trouble)[0]


def test_a_generator_that_ended_is_started_and_signals_come_again(
    shop: ComposeProject, database: str, runs: Runs, ledger: Ledger
) -> None:
    shop.engine.docker("kill", "shop-signal-generator-1")
    incident = opened(ledger)

    with generating(shop, database):
        outcome = runs.work_on(runs.schedule(incident))

    report = report_of(ledger, incident)
    assert outcome == "Resolved", report
    assert "1 of 1 containers do not work" in report
    assert shop.inspect("shop-signal-generator-1")["State"]["Running"]
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) > 1 from signals").fetchone() == (True,)


@pytest.mark.hazard("trading_signals.SignalIngestionStopped.r4.1")
def test_what_waits_for_too_long_expires_by_a_persons_word_and_nothing_is_approved_late(
    shop: ComposeProject, database: str, runs: Runs, ledger: Ledger, prefect: PrefectServer
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "insert into approvals (status, created_at) select 'pending', now() - interval '2 hours' "
            "from generate_series(1, 3); insert into approvals (status) values ('pending')"
        )
    incident = opened(ledger)
    run = runs.schedule(incident)

    with generating(shop, database):
        assert runs.work_on(run) == "Suspended", report_of(ledger, incident)

        assert statuses(database) == ["pending"] * 4
        (asked,) = ledger.approvals.of(incident)
        assert "None is approved" in report_of(ledger, incident)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("update approvals set status = 'approved' where id = 2")
        yes = Decision("ada", "command line, login ada", approve=True)
        assert ledger.approvals.decide(incident, asked.digest, yes) is None
        with PrefectApi(prefect.url) as api:
            attempts = Attempts(ledger, Catalogue.load(runs.runbooks), Metrics(ledger), 3)
            assert approvals.deliver(ledger, api, attempts) == 1
        outcome = runs.work_on(run)

    assert outcome == "Resolved", report_of(ledger, incident)
    assert statuses(database) == ["expired", "approved", "expired", "pending"]
    (done,) = [row.entry for row in ledger.journal.of(incident) if row.kind == "done"]
    assert json.dumps(["1", "3"]) in json.dumps(done), "every key is in the journal"


def statuses(database: str) -> list[str]:
    with psycopg.connect(database) as connection:
        return [row[0] for row in connection.execute("select status::text from approvals order by id")]


def test_more_rows_than_keys_change_nothing_and_only_the_chosen_expire(database: str) -> None:
    connection = PostgresConnection(type="postgres", url=SecretReference(env="SIGNALS_URL"))
    queue = StuckQueue(database="database", table="doubled", older_than=1800)
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("create table doubled (id text, status text, created_at timestamptz)")
        admin.execute(
            "insert into doubled select '7', 'pending', now() - interval '2 hours' from generate_series(1, 2)"
        )

    with open_postgres("database", connection) as session:
        with pytest.raises(TargetChangedError, match="2 rows have these keys"):
            activity_tables.expire(session, ExpireItems(queue=queue, ids=("7",)), 1)
        assert activity_tables.still_stuck(session, ExpireItems(queue=queue, ids=("7",))) == 2
        assert activity_tables.lacks(session, queue) == []


@pytest.mark.hazard("trading_signals.SignalIngestionStopped.d3", "trading_signals.SignalIngestionStopped.d5")
def test_the_newest_row_counts_however_old_it_is_and_names_reach_the_server_as_values(database: str) -> None:
    connection = PostgresConnection(type="postgres", url=SecretReference(env="SIGNALS_URL"))
    queue = StuckQueue(database="database", table="approvals", older_than=1800)
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("insert into approvals (status, created_at) values ('pending', now() - interval '2 hours')")

    with open_postgres("database", connection) as session:
        table = EventTable(kind="table", database="database", table="signals", at="created_at")
        seen = activity_tables.last_event(session, table)
        waiting = activity_tables.read_queue(session, queue)
        none = activity_tables.read_queue(session, queue.model_copy(update={"waiting": "pending' or '1'='1"}))

    assert seen.age is not None
    assert seen.age > 3500, "an hour: longer than any window that it is looked for in"
    assert (waiting.waiting, len(waiting.stuck), none.waiting) == (1, 1, 0)
