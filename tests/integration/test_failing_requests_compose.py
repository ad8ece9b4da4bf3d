"""Whole flow runs about failing requests of a service on a real Docker engine, measured by a real Prometheus."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import preloaded
from lab.compose_project import ComposeProject
from lab.docker_engine import DockerEngine
from lab.lying_prometheus import LyingPrometheus, no_number, nothing, thousands
from lab.measured import RequestsMeasured
from lab.ports import free_port
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reports import report_of

TARGET = "shop/compose/main/service/web"
POLICY: dict[str, Any] = {
    "runs_on": "compose",
    "prometheus": "metrics",
    "measure": {"kind": "errors_per_second", "at_most_per_second": 1},
    "window": "5s",
    "wait": "60s",
    "hold": "5s",
}
ROLLBACK = {"within": "15m"}
_RUN = """
import sys
from nightshift.flows.http_error_rate_response import http_error_rate_response
state = http_error_rate_response("shop", sys.argv[1], return_state=True)
print("outcome:", state.name)
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with DockerEngine() as running:
        yield running


class Web:
    """A service whose requests fail as the test says, counted as it would count them."""

    def __init__(self, engine: DockerEngine, fails: Callable[[Web], bool]) -> None:
        self.project = ComposeProject(engine, "shop")
        self._fails, self._ends, self._made, self._failed = fails, threading.Event(), 1.0, 0.0
        self.metrics = PrometheusProcess(self._page())
        self.measured = RequestsMeasured(self.metrics.url, POLICY | {"rollback": ROLLBACK})
        self.project.image("shop/web:1", 'CMD ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"]')
        self.release("1")

    def release(self, tag: str, *words: str) -> None:
        """The service runs of this image from now on, and says something."""
        self.project.down()
        self.project.up("web", f"shop/web:{tag}", *words)

    @property
    def container(self) -> Any:
        return self.project.inspect("shop-web-1")

    def _page(self) -> str:
        return (
            f'errors_total{{service="web",endpoint="/api/v1/signals",status="500"}} {self._failed}\n'
            f'request_duration_seconds_count{{service="web"}} {self._made}\n'
        )

    def _flow(self) -> None:
        before = time.monotonic()
        while not self._ends.wait(0.2):
            made, before = 25 * (time.monotonic() - before), time.monotonic()
            self._made += made
            try:
                self._failed += 0.4 * made if self._fails(self) else 0
            except (KeyError, RuntimeError):
                continue  # between two containers
            self.metrics.page = self._page()

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Requests come."""
        thread = threading.Thread(target=self._flow)
        thread.start()
        try:
            with self.metrics:
                yield
        finally:
            self._ends.set()
            thread.join()
            self.project.down()


Run = Callable[..., str]


@pytest.fixture
def run(prefect: PrefectServer, database_url: str, tmp_path: Path) -> Run:
    """Run the flow; the name of the state it ends in."""

    def play(web: Web, policy: dict[str, Any], **connections: Any) -> str:
        parts = {"compose": {"default": "main"}, "service": {"default": "web", "among": ["web"]}}
        runbook = {"summary": "x", "severity": "critical", "target": parts}
        system = {
            "id": "shop",
            "display": "Shop",
            "title": "A shop",
            "mode": "auto",
            "severities": {"critical": {}, "warning": {}, "info": {}},
            "connections": {
                "main": web.project.connection(),
                "metrics": {"type": "http", "url": web.metrics.url},
                **connections,
            },
            "runbooks": {
                "Errors": {**runbook, "flow": "http-error-rate-response", "policy": {**POLICY, **policy}},
                "RedisDown": {
                    **runbook,
                    "target": {**parts, "service": {"default": "redis", "among": ["redis"]}},
                    "flow": "redis-unavailable",
                    "policy": {"redis": "redis"},
                },
            },
        }
        if "redis" not in connections:
            system["runbooks"].pop("RedisDown")  # type: ignore[attr-defined]
        (tmp_path / "runbooks").mkdir()
        (tmp_path / "runbooks" / "shop.yaml").write_text(json.dumps(system))
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))},
            "NIGHTSHIFT_DATABASE_URL": database_url,
            "NIGHTSHIFT_HOME": str(tmp_path),
            "NIGHTSHIFT_RUNBOOKS": str(tmp_path / "runbooks"),
            "PREFECT_API_URL": prefect.url,
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "SHOP_REDIS": f"unix://{tmp_path}/nobody?db=0",
        }
        code, said = preloaded.run(_RUN, TARGET, environment=environment, seconds=120)
        assert code == 0, said
        assert not said.endswith("Failed\n"), said
        return said.rpartition("outcome: ")[2].strip()

    return play


@pytest.mark.hazard(
    "bybit_strategy_tester.HighErrorRate.r1.2",
    "bybit_strategy_tester.HighErrorRate.r1.4",
    "trading_signals.HighErrorRate.r6.1",
)
def test_the_image_from_before_runs_again_where_errors_began_with_the_newest(
    engine: DockerEngine, run: Run, ledger: Ledger
) -> None:
    web = Web(engine, lambda web: bool(web.container["Config"]["Image"] == "shop/web:2"))
    with web.asked():
        web.measured.until_calm()
        web.project.image("shop/web:2", 'CMD ["sh", "-c", "echo ERROR: no such field: price; sleep 1000"]')
        web.release("2")
        web.measured.until_trouble_began()

        outcome = run(web, {"rollback": ROLLBACK})

        report = report_of(ledger, 1)
        assert outcome == "Resolved", report
        assert web.container["Config"]["Image"] == "shop/web:1"
        assert "/api/v1/signals with 500" in report
        assert "no such field: price" in report
        assert "Roll the container shop-web-1 back to shop/web:1" in report


def test_without_a_cause_it_is_restarted_once(engine: DockerEngine, run: Run, ledger: Ledger) -> None:
    broken: list[str] = []
    web = Web(engine, lambda web: web.container["State"]["StartedAt"] in broken)
    with web.asked():
        broken.append(web.container["State"]["StartedAt"])
        web.measured.until_trouble()

        outcome = run(web, {"restart": {}})

        report = report_of(ledger, 1)
        assert outcome == "Resolved", report
        assert web.container["State"]["StartedAt"] not in broken
        assert "Restart the container shop-web-1" in report


def test_what_redis_brought_is_left_to_the_runbook_of_redis(engine: DockerEngine, run: Run, ledger: Ledger) -> None:
    web = Web(engine, lambda _web: True)
    with web.asked():
        web.measured.until_trouble()
        before = web.container["State"]["StartedAt"]
        needs = [{"kind": "redis", "connection": "redis", "repaired_by": "RedisDown"}]

        outcome = run(
            web,
            {"restart": {}, "rollback": ROLLBACK, "dependencies": needs},
            redis={"type": "redis", "url": {"env": "SHOP_REDIS"}, "timeout": 1},
        )

        report = report_of(ledger, 1)
        assert outcome == "Escalated", report
        assert web.container["State"]["StartedAt"] == before
        assert "Left to the runbook RedisDown" in report
        assert "nightshift run redis-unavailable --system shop --target main:redis" in report


@pytest.fixture(scope="module")
def failing(engine: DockerEngine) -> Iterator[Web]:
    """A service in real trouble, which its runbook would restart."""
    web = Web(engine, lambda _web: True)
    with web.asked():
        web.measured.until_trouble()
        yield web


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "slow": ({"slow": True}, "did not finish its answer in time"),
    "no number": ({"lie": no_number}, "its value is no number"),
    "empty": ({"lie": nothing}, "has no topk"),
    "thousands of series": ({"lie": thousands}, "of 3,000 targets: too many to tell"),
    "another label set": ({"question": lambda asked: asked.replace('service="', 'app="')}, "has no topk"),
    "down": ({}, "did not answer: ConnectError"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_cannot_be_measured_is_not_repaired_and_a_person_is_called(
    failing: Web, run: Run, ledger: Ledger, lie: str
) -> None:
    before, (how, why) = failing.container["State"]["StartedAt"], LIES[lie]
    with LyingPrometheus(failing.metrics.url, **how) as lying:
        url = lying.url if lie != "down" else f"http://127.0.0.1:{free_port()}"

        outcome = run(failing, {"restart": {}}, metrics={"type": "http", "url": url, "timeout": 2})

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert failing.container["State"]["StartedAt"] == before
    assert why in report
    assert Kind.INTENT not in {row.kind for row in ledger.journal.of(1)}
