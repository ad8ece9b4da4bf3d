"""The flow ``agent-unavailable``: a fake cluster, a real database that agents write into, real HTTP services."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab.http_service import HttpService
from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer
from nightshift.catalogue import Catalogue
from nightshift.gateway import approvals
from nightshift.gateway.attempts import Attempts
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.prefect_api import PrefectApi
from nightshift.remediation.decisions import Decision
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Severity, Target
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

FLOW, MODULE = "agent-unavailable", "agent_unavailable"
AGENT = {"cluster": {"default": "main"}, "namespace": {"label": "namespace"}, "deployment": {"label": "deployment"}}
POLICY: dict[str, Any] = {
    "database": "database",
    "agents": {"heartbeat_within": "5s"},
    "needs": {"services": [{"name": "market data server", "api": "market-data", "path": "/health"}]},
    "wait": "30s",
    "hold": "5s",
}
TABLES = """
create table agent_status (
  agent_name text primary key, status text, last_heartbeat timestamptz, error_message text);
create table agent_signals (agent_name text, symbol text, signal text, created_at timestamptz default now());
create table trading_sessions (
  session_id bigserial, max_drawdown numeric, created_at timestamptz default clock_timestamp());
create table orders (order_id bigserial, status text, created_at timestamptz default now());
create table positions (symbol text, status text);
insert into agent_status values ('trend-agent', 'ACTIVE', now() - interval '10 minutes', 'llm timeout');
insert into trading_sessions (max_drawdown, created_at) values (2, now() - interval '2 hours');
"""


class Agents:
    """What runs in the pods: all but the first pod of each app live, and say so in the database."""

    def __init__(self, lab: Cluster, url: str) -> None:
        self._lab, self._url = lab, url
        self._hung = {pod["metadata"]["name"] for app in ("trend-agent", "orchestrator") for pod in lab.pods(app)}
        self._begun: set[str] = set()
        self._ends = threading.Event()

    def _live(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as database:
            while not self._ends.wait(0.2):
                if self._ready("trend-agent"):
                    database.execute(
                        "update agent_status set last_heartbeat = clock_timestamp(), error_message = null "
                        "where agent_name = 'trend-agent'"
                    )
                for name in self._ready("orchestrator") - self._begun:
                    self._begun.add(name)
                    database.execute("insert into trading_sessions (max_drawdown) values (0)")

    def _ready(self, app: str) -> set[str]:
        found = {
            pod["metadata"]["name"]
            for pod in self._lab.pods(app)
            if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        }
        return found - self._hung

    @contextmanager
    def living(self) -> Iterator[None]:
        thread = threading.Thread(target=self._live)
        thread.start()
        try:
            yield
        finally:
            self._ends.set()
            thread.join()


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database in which an agent has been silent for ten minutes."""
    url = postgres.create_database("agents")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES)
    yield url
    postgres.drop_database("agents")


@pytest.fixture(scope="module")
def lab() -> Iterator[Cluster]:
    with Cluster() as cluster:
        cluster.add_node("n1")
        for name in ("trend-agent", "orchestrator"):
            cluster.add_deployment(name, namespace="shop", grace=0)
        cluster.wait_until(lambda: all(cluster.available(name) == 1 for name in ("trend-agent", "orchestrator")))
        yield cluster


@pytest.fixture
def market_data() -> Iterator[HttpService]:
    with HttpService({"/health": (200, "ok")}) as service:
        yield service


@pytest.fixture
def runs(
    lab: Cluster,
    prefect: PrefectServer,
    database: str,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Runs:
    monkeypatch.setenv("AGENTS_DATABASE_URL", database)
    lab.changes.clear()
    return Runs(lab, prefect, database_url, tmp_path)


def declare(runs: Runs, market_data: HttpService, **policy: Any) -> None:
    connections = {
        "database": {"type": "postgres", "url": {"env": "AGENTS_DATABASE_URL"}},
        "market-data": {"type": "http", "url": market_data.url},
    }
    runs.declare(FLOW, AGENT, {**POLICY, **policy}, connections=connections)


def target(name: str) -> Target:
    return Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", name))


@pytest.mark.hazard("cryptofunk.TradingSessionFailure.d6")
def test_an_agent_whose_need_does_not_work_is_left_alone_and_restarted_once_when_it_does(
    lab: Cluster, runs: Runs, database: str, market_data: HttpService, ledger: Ledger
) -> None:
    declare(runs, market_data)
    market_data.answers["/health"] = (503, "")

    first = outcome_of(runs.start(MODULE, target("trend-agent").key))
    assert first == "Escalated", first

    assert lab.changes == []
    assert "Bring market data server back" in report_of(ledger, 1)

    market_data.answers["/health"] = (200, "ok")
    with Agents(lab, database).living():
        outcome = outcome_of(runs.start(MODULE, target("trend-agent").key))

    report = report_of(ledger, 2)
    assert outcome == "Resolved", report
    assert lab.changes == [("PATCH", "/apis/apps/v1/namespaces/shop/deployments/trend-agent")], "restarted once"
    assert "trend-agent ACTIVE, heartbeat" in report
    assert "llm timeout" in report
    with psycopg.connect(database) as connection:
        fresh = "select last_heartbeat > now() - interval '30 seconds' from agent_status"
        assert connection.execute(fresh).fetchone() == (True,)


def test_a_session_with_an_open_order_is_restarted_as_a_person_decides_even_in_auto(
    lab: Cluster, runs: Runs, database: str, market_data: HttpService, ledger: Ledger, prefect: PrefectServer
) -> None:
    declare(runs, market_data, session={"halt_drawdown_percent": 10})
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("insert into orders (status) values ('NEW'), ('FILLED')")
    lab.wait_until(lambda: lab.available("orchestrator") == 1)
    trouble = Trouble("shop", "Trouble", FLOW, target("orchestrator"), Severity.CRITICAL, "no session")
    with ledger.engine.begin() as opened:
        incident, _ = ledger.incidents.open(opened, trouble)
    threading.Event().wait(5)  # the session may still begin as long as its pod is young
    run = runs.schedule(FLOW, target("orchestrator").key, incident)

    with Agents(lab, database).living():
        assert runs.work_on(run, MODULE) == "Suspended", report_of(ledger, incident)

        assert lab.changes == []
        assert "A new session would trade on this: 1 order open." in report_of(ledger, incident)
        (asked,) = ledger.approvals.of(incident)
        yes = Decision("ada", "command line, login ada", approve=True)
        assert ledger.approvals.decide(incident, asked.digest, yes) is None
        with PrefectApi(prefect.url) as api:
            attempts = Attempts(ledger, Catalogue.load(runs.runbooks), Metrics(ledger), 3)
            assert approvals.deliver(ledger, api, attempts) == 1
        outcome = runs.work_on(run, MODULE)

    assert outcome == "Resolved", report_of(ledger, incident)
    assert [path.rpartition("/")[2] for _, path in lab.changes] == ["orchestrator"], "once, though the run began twice"
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from trading_sessions").fetchone() == (2,)
