"""A whole sweep of a real Prometheus and a real Alertmanager; what answers instead of them is a line, never a crash."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab import preloaded
from lab.alertmanager import AlertmanagerProcess
from lab.http_service import HttpService
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.catalogue import Catalogue
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.alert_sources import AlertmanagerAddress
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.ledger import Ledger
from nightshift.tasks import sweeping_pipeline

_RUN = """
from nightshift.flows.health_sweep import health_sweep
state = health_sweep("shop", return_state=True)
print("said:", state.name, state.message)
"""
DELIVERED_WITHIN = 2
RULES = {
    "groups": [
        {
            "name": "shop",
            "rules": [
                {"alert": "Lost", "expr": "vector(1)", "labels": {"system": "shop"}},
                {"alert": "Quiet", "expr": "vector(1)", "labels": {"system": "shop", "place": "a"}},
                {"alert": "Broken", "expr": "queue * on(job) queue", "labels": {"system": "shop"}},
            ],
        }
    ]
}
PAGE = 'queue{name="a"} 1\nqueue{name="b"} NaN\n'


@pytest.fixture
def refusing() -> Iterator[HttpService]:
    """A webhook that takes nothing."""
    with HttpService({"/alerts": (400, "")}) as webhook:
        yield webhook


@pytest.fixture
def alertmanager(refusing: HttpService) -> Iterator[AlertmanagerProcess]:
    with AlertmanagerProcess(f"{refusing.url}/alerts", "token") as running:
        yield running


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[PrometheusProcess]:
    """It has no Alertmanager, so that nothing that it fires arrives anywhere."""
    (tmp_path / "rules.json").write_text(json.dumps(RULES))
    with PrometheusProcess(PAGE, rules=[tmp_path / "rules.json"]) as running:
        yield running


@pytest.fixture
def sweep(
    tmp_path: Path,
    prefect: PrefectServer,
    database_url: str,
    prometheus: PrometheusProcess,
    alertmanager: AlertmanagerProcess,
) -> Callable[[], str]:
    """One whole sweep; its table."""
    (tmp_path / "runbooks").mkdir()
    alert = {"summary": "x", "severity": "warning"}
    system = {
        "id": "shop",
        "display": "Shop",
        "title": "Shop",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {"metrics": {"type": "http", "url": prometheus.url}},
        "sweep": {
            "prometheus": "metrics",
            "delivered_within": DELIVERED_WITHIN,
            "silence_ends_within": "1h",
            "alertmanagers": ["am", "am2"],
        },
        "runbooks": {"Lost": alert, "Quiet": alert, "Broken": alert},
    }
    (tmp_path / "runbooks" / "shop.yaml").write_text(json.dumps(system))
    environment = {
        **os.environ,
        "NIGHTSHIFT_DATABASE_URL": database_url,
        "NIGHTSHIFT_HOME": str(tmp_path),
        "NIGHTSHIFT_RUNBOOKS": str(tmp_path / "runbooks"),
        "NIGHTSHIFT_ALERTMANAGERS": json.dumps({"am": alertmanager.url}),
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }

    def play() -> str:
        code, said = preloaded.run(_RUN, environment=environment, seconds=120)
        assert code == 0, said
        answer = httpx.get(f"{prefect.url}/artifacts/sweep-shop/latest", trust_env=False, timeout=20)
        answer.raise_for_status()
        return str(answer.json()["data"])

    return play


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.2)


def _fires_for(prometheus: PrometheusProcess) -> float:
    """Seconds, the youngest of the alerts that fire there; 0: not all do."""
    alerts = httpx.get(f"{prometheus.url}/api/v1/alerts", trust_env=False, timeout=5).json()["data"]["alerts"]
    began = {one["labels"]["alertname"]: datetime.fromisoformat(one["activeAt"]) for one in alerts}
    if not {"Lost", "Quiet"} <= began.keys():
        return 0
    return (datetime.now(UTC) - max(began.values())).total_seconds()


def _gave_up(alertmanager: AlertmanagerProcess) -> bool:
    metrics = httpx.get(f"{alertmanager.url}/metrics", trust_env=False, timeout=5).text
    return 'alertmanager_notifications_failed_total{integration="webhook"} 0' not in metrics


def test_silences_lost_alerts_broken_rules_dead_targets_and_lost_deliveries_are_found(
    sweep: Callable[[], str],
    prometheus: PrometheusProcess,
    alertmanager: AlertmanagerProcess,
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    quiet = {"alertname": "Quiet", "system": "shop", "place": "a"}
    alertmanager.silence("alertname", "Quiet", seconds=300)
    alertmanager.fire({**quiet, "cluster": "lab"})
    alertmanager.fire({"alertname": "Other", "system": "shop"})
    until(lambda: _gave_up(alertmanager))
    until(lambda: _fires_for(prometheus) > DELIVERED_WITHIN, 60)  # what fires should have arrived

    table = sweep()
    take_in(ledger, Catalogue.load(tmp_path / "runbooks"), Metrics(ledger))

    for told in (
        "| it ends while Quiet still fires |",
        "| **finding** | Alertmanager am2 | — |  | NIGHTSHIFT_ALERTMANAGERS does not name it |",
        "| **finding** | Lost of metrics | 1 | new | 1 alert fires there and did not arrive here |",
        "| **finding** | rules shop of metrics | — |  | 1 of 3 cannot be evaluated: Broken (",
        "| ok | targets of the job lab of metrics that are down | 0 |",
        "| ok | deliveries that Alertmanager am gave up (webhook) | ",
    ):
        assert told in table
    assert "Quiet of metrics" not in table, "what is silenced is not lost"
    subjects = {alert.labels.get("subject", "").rpartition("/")[0] for alert in ledger.sweeps.firing("shop")}
    assert "silence/am" in subjects
    (row,) = [row for row in ledger.incidents.list() if "silence by" in row.title]
    assert "it ends while Quiet still fires" in row.title
    assert (row.flow, row.outcome) == (None, "escalated"), "a person's"

    prometheus.kill_target()
    until(lambda: "down" in httpx.get(f"{prometheus.url}/api/v1/targets", trust_env=False, timeout=5).text)
    table = sweep()

    assert "that are down | 1 | ↑ 1 | 1 of 1 target cannot be scraped: 127.0.0.1:" in table
    assert re.search(r"gave up \(webhook\) \| \d+ \| ↑ (\d+) \| \1 more since the last sweep \|", table), table

    prometheus.kill()
    alertmanager.stop()
    table = sweep()

    assert "| **finding** | Prometheus metrics | — |  | metrics did not answer: ConnectError. |" in table
    assert "| **finding** | Alertmanager am | — |  | " in table
    still = {alert.labels.get("subject", "") for alert in ledger.sweeps.firing("shop")}
    assert {"silence/am"} <= {one.rpartition("/")[0] for one in still}, "what nobody could see is not over"
    assert "lost/metrics/Lost" in still


EMPTY = '{"status": "success", "data": {"groups": []}}'
MANY = json.dumps(
    {"data": {"groups": [{"name": f"g{number}", "rules": [{"name": "x"}] * 50} for number in range(2000)]}}
)
TARGETS = '{"data": {"activeTargets": []}}'


@pytest.mark.parametrize(
    ("rules", "targets", "said"),
    [
        ((200, EMPTY), (200, TARGETS), ""),
        ((200, MANY), (200, TARGETS), ""),
        ((200, "NaN"), (200, TARGETS), "does not answer as Prometheus: NaN"),
        ((200, ""), (200, TARGETS), "does not answer as Prometheus"),
        ((503, ""), (200, TARGETS), "answered with status 503"),
        ((401, ""), (200, TARGETS), "refused the token"),
        ((200, EMPTY), (200, '{"data": [[[[' + "[" * 5000), "does not answer as Prometheus"),
        ((200, " " * (33 * 1024 * 1024)), (200, TARGETS), "sent more than"),
    ],
)
def test_any_answer_of_a_prometheus_is_a_line(rules: tuple[int, str], targets: tuple[int, str], said: str) -> None:
    with HttpService({"/api/v1/rules": rules, "/api/v1/targets": targets}) as service:
        measure, look = _prometheus(service.url)

    assert said in measure.trouble
    assert (look is None) == bool(said) == measure.unseen


def test_a_prometheus_that_accepts_and_never_answers_is_a_line_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        measure, look = _prometheus(f"http://127.0.0.1:{silent.getsockname()[1]}")

    assert (look, measure.trouble) == (None, "metrics did not answer: ReadTimeout.")
    assert time.monotonic() - began < 5


def test_what_is_no_alertmanager_is_a_line() -> None:
    with HttpService({"/api/v2/silences": (200, '[{"id": "../x"}]'), "/api/v2/alerts": (200, "[]")}) as service:
        ask = sweeping_pipeline.look_at_alertmanager.__wrapped__  # type: ignore[attr-defined]
        look = ask("am", [AlertmanagerAddress.model_validate(service.url)], 10_000)

    assert look.seen is None
    assert [(one.key, one.unseen) for one in look.measures] == [("alertmanager/am", True)]
    assert "is no Alertmanager of version 2" in look.measures[0].trouble


def _prometheus(url: str) -> Any:
    connection = HttpConnection.model_validate({"type": "http", "url": url, "timeout": 1})
    return sweeping_pipeline.look_at_prometheus.__wrapped__("metrics", connection)  # type: ignore[attr-defined]
