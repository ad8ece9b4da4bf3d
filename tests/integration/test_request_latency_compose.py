"""Whole flow runs about slow requests of a service on a real Docker engine, measured by a real Prometheus."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lab import preloaded
from lab.compose_project import ComposeProject
from lab.database_sessions import DatabaseSessions
from lab.docker_engine import DockerEngine
from lab.measured import RequestsMeasured
from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from lab.redis_server import RedisServer
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of

TRACES = Path(__file__).parents[1] / "contracts" / "jaeger" / "slow_traces.json"
TARGET = "shop/compose/main/service/web"
POLICY: dict[str, Any] = {
    "runs_on": "compose",
    "prometheus": "metrics",
    "measure": {"kind": "latency", "at_most_seconds": 1, "endpoint_label": "route", "worst_by": "route"},
    "namespace_label": None,
    "window": "5s",
    "wait": "60s",
    "hold": "5s",
    "rounds": 1,
}
_RUN = """
import sys
from nightshift.flows.request_latency_response import request_latency_response
state = request_latency_response("shop", sys.argv[1], return_state=True)
print("outcome:", state.name)
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[ComposeProject]:
    with DockerEngine() as engine:
        project = ComposeProject(engine, "shop")
        project.image("shop/web:1", 'CMD ["sh", "-c", "trap exit TERM; while :; do :; done"]')
        yield project


class Requests:
    """Requests to the web service by two routes, one of them slow as the test says."""

    def __init__(self, is_slow: Callable[[], bool]) -> None:
        self._is_slow, self._ends = is_slow, threading.Event()
        self._fast, self._late, self._other = 0, 0, 0
        self.metrics = PrometheusProcess("")
        self.measured = RequestsMeasured(self.metrics.url, POLICY)

    def _flow(self) -> None:
        while not self._ends.wait(0.2):
            slow = self._is_slow()
            self._fast, self._late = self._fast + (1 if slow else 2), self._late + (1 if slow else 0)
            self._other += 200
            self.metrics.page = self._page("/orders", self._fast, self._late) + self._page("/health", self._other, 0)

    def _page(self, route: str, fast: int, late: int) -> str:
        bounds = (("0.5", fast), ("5", fast + late), ("+Inf", fast + late))
        of = f'service="web",route="{route}"'
        return "".join(f'http_request_duration_seconds_bucket{{{of},le="{le}"}} {count}\n' for le, count in bounds)

    @contextmanager
    def coming(self) -> Iterator[PrometheusProcess]:
        """For the time of the block, which begins when they are measured as slow."""
        thread = threading.Thread(target=self._flow)
        thread.start()
        try:
            with self.metrics:
                self.measured.until_trouble()
                yield self.metrics
        finally:
            self._ends.set()
            thread.join()


Run = Callable[..., str]


@pytest.fixture
def run(prefect: PrefectServer, shop: ComposeProject, database_url: str, tmp_path: Path) -> Run:
    """Run the flow; the name of the state it ends in."""

    def play(metrics: PrometheusProcess, policy: dict[str, Any], secrets: dict[str, str], **more: Any) -> str:
        target = {"compose": {"default": "main"}, "service": {"default": "web", "among": ["web"]}}
        system = {
            "id": "shop",
            "display": "Shop",
            "title": "A shop",
            "mode": "auto",
            "severities": {"critical": {}, "warning": {}, "info": {}},
            "connections": {"main": shop.connection(), "metrics": {"type": "http", "url": metrics.url}, **more},
            "runbooks": {
                "Slow": {
                    "summary": "x",
                    "severity": "warning",
                    "flow": "request-latency-response",
                    "target": target,
                    "policy": {**POLICY, **policy},
                }
            },
        }
        (tmp_path / "runbooks").mkdir()
        (tmp_path / "runbooks" / "shop.yaml").write_text(json.dumps(system))
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))},
            "NIGHTSHIFT_DATABASE_URL": database_url,
            "NIGHTSHIFT_HOME": str(tmp_path),
            "NIGHTSHIFT_RUNBOOKS": str(tmp_path / "runbooks"),
            "PREFECT_API_URL": prefect.url,
            "PREFECT_HOME": str(tmp_path / "prefect"),
            **secrets,
        }
        code, said = preloaded.run(_RUN, TARGET, environment=environment, seconds=110)
        assert code == 0, said
        return said.rpartition("outcome: ")[2].strip()

    return play


@contextmanager
def serving(shop: ComposeProject) -> Iterator[None]:
    """One container of the service, that has no time left."""
    shop.up("web", "shop/web:1", options=("--cpus", "0.3"))
    try:
        yield
    finally:
        shop.down()


@pytest.mark.hazard("trading_signals.HighAPILatency.d1")
def test_a_service_without_time_left_gets_another_container_and_its_slow_route_is_fast_again(
    run: Run, shop: ComposeProject, ledger: Ledger
) -> None:
    with serving(shop), Requests(lambda: len(shop.names()) < 2).coming() as metrics:
        copies = {"ceiling": 3, "busy_processors": 0.03, "free_below": 1}

        assert run(metrics, {"copies": copies}, {}) == "Resolved", report_of(ledger, 1)

        assert shop.names() == ["shop-web-1", "shop-web-2"]
    assert "/orders" in report_of(ledger, 1)


@contextmanager
def jaeger() -> Iterator[str]:
    """Answers with slow traces in its documented format; its address."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(TRACES.read_bytes())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
            """Not on the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def asking(*ask: Callable[[], Any]) -> Iterator[None]:
    """Again and again, for the time of the block."""
    ends = threading.Event()

    def go(once: Callable[[], Any]) -> None:
        while not ends.wait(0.02):
            once()

    threads = [threading.Thread(target=go, args=(one,)) for one in ask]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ends.set()
        for thread in threads:
            thread.join()


@pytest.mark.hazard("bybit_strategy_tester.SlowResponseTime.r1.1")
def test_requests_that_wait_for_the_database_show_the_missing_index_and_nothing_is_changed(
    run: Run, shop: ComposeProject, ledger: Ledger
) -> None:
    with (
        PostgresServer({"shared_preload_libraries": "pg_stat_statements"}) as server,
        DatabaseSessions(server.create_database("orders")) as database,
        RedisServer() as redis,
        jaeger() as traces,
    ):
        database.admin.execute("create extension pg_stat_statements")
        made = "create table orders as select g as id, g % 500 as customer from generate_series(1, 20000) g"
        database.admin.execute(made)
        database.admin.execute("analyze orders")
        database.admin.execute("grant pg_read_all_data to app, night")
        session, cache = database.session("web"), redis.client
        cache.set("cache:1", "x")
        policy = {
            "dependencies": [
                {"kind": "database", "connection": "db"},
                {"kind": "redis", "connection": "cache"},
            ],
            "traces": {"connection": "jaeger"},
            "statements": {"database": "db", "slow_milliseconds": 0.1},
            "cache": {"redis": "cache", "measure": "2s", "least_lookups": 10, "stale_prefix": "cache:"},
            "copies": {"ceiling": 3, "busy_processors": 0.03, "free_below": 1},
        }
        asked = asking(
            lambda: session.execute("select id from orders where customer = %s", [5]).fetchall(),
            lambda: cache.get("cache:missing"),
        )
        with serving(shop), asked, Requests(lambda: True).coming() as metrics:
            outcome = run(
                metrics,
                policy,
                {"DB_URL": database.url_of("night"), "CACHE_URL": redis.url},
                db={"type": "postgres", "url": {"env": "DB_URL"}},
                cache={"type": "redis", "url": {"env": "CACHE_URL"}},
                jaeger={"type": "http", "url": traces},
            )
            assert outcome == "Escalated", report_of(ledger, 1)
            assert shop.names() == ["shop-web-1"]
            assert cache.get("cache:1") == "x"
            assert database.admin.execute("select count(*) from pg_indexes where tablename = 'orders'").fetchone() == (
                0,
            )

    report = report_of(ledger, 1)
    assert "create index concurrently on public.orders (customer)" in report
    assert "requests wait for the database" in report
    assert "0% of" in report
    assert "of the time of slow traces: database (SELECT " in report
    assert "remove the keys that begin with cache:, and no others" in report
