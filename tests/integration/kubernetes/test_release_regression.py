"""A release since which requests fail is taken back; without a release nothing is changed, and a person is called."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.remediation.clients.request_quality import Service, compare_versions, measure_requests
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.kubernetes.regression import Versions
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.requests.policy import MeasuredRequests
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of
from tests.integration.kubernetes.traffic import Traffic, images, web_shop

WEB = {
    "cluster": {"default": "main"},
    "namespace": {"label": "namespace"},
    "deployment": {"label": "deployment"},
}
TARGET = "shop/cluster/main/namespace/shop/deployment/web"
MODULE = "http_error_rate_response"
POLICY: dict[str, Any] = {
    "prometheus": "metrics",
    "measure": {"kind": "errors", "at_most_percent": 10},
    "window": "5s",
    "rollback": {"within": "1h", "block_deployments": True},
    "wait": "30s",
    "hold": "5s",
}


@pytest.fixture
def lab() -> Iterator[Cluster]:
    """One node, and a web shop that has worked for two hours."""
    with web_shop() as cluster:
        yield cluster


def seconds_taken(metrics: PrometheusProcess) -> float:
    """How long the slowest of the requests took that count, as the same flow measures it for an alert about that."""
    latency = {"kind": "latency", "at_most_seconds": 1}
    policy = MeasuredRequests.model_validate({**POLICY, "measure": latency})
    connection = HttpConnection.model_validate({"type": "http", "url": metrics.url})
    return measure_requests(Service("metrics", connection, "shop", "web"), policy)[0]


def compared(metrics: PrometheusProcess, newest: str) -> Versions | None:
    """The version of the newest ReplicaSet beside the others, as far back as there were both."""
    connection = HttpConnection.model_validate({"type": "http", "url": metrics.url})
    policy = MeasuredRequests.model_validate(POLICY)
    return compare_versions(Service("metrics", connection, "shop", "web"), policy, newest, 20)


def declare(runs: Runs, metrics: PrometheusProcess, **more: Any) -> None:
    connections = {"metrics": {"type": "http", "url": metrics.url}}
    runs.declare("http-error-rate-response", WEB, {**POLICY, **more}, connections=connections)


def test_a_release_since_which_requests_are_in_trouble_is_taken_back(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    with Traffic(lab, lambda: "web:2" in images(lab)).running() as metrics:
        declare(runs, metrics)
        lab.add_deployment("web", namespace="shop", image="web:2", grace=0)
        lab.wait_until(lambda: images(lab) == {"web:2"})
        lab.logs.write("shop", str(lab.pods("web")[0]["metadata"]["name"]), "app", "ERROR no such field: price")
        time.sleep(6)
        assert seconds_taken(metrics) > 1
        versions = compared(metrics, str(lab.pods("web")[0]["metadata"]["name"]).rpartition("-")[0])
        assert versions is not None
        assert versions.new > 40
        assert versions.old < 1

        assert outcome_of(runs.start(MODULE, TARGET)) == "Resolved", report_of(ledger, 1)

        assert seconds_taken(metrics) < 1

    assert images(lab) == {"web:1"}
    assert "Roll back web from revision 2 to 1" in report_of(ledger, 1)
    assert "no such field: price" in report_of(ledger, 1)
    web = lab.find("deployments.apps", "web", "shop")
    assert web is not None
    assert any("rolled back from revision 2" in value for value in web["metadata"]["annotations"].values())


def test_a_release_that_somebody_makes_during_the_repair_stays_and_a_person_is_called(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    with Traffic(lab, lambda: bool(images(lab) & {"web:2", "web:3"})).running() as metrics:
        declare(runs, metrics, wait="10s")
        lab.add_deployment("web", namespace="shop", image="web:2", grace=0)
        lab.wait_until(lambda: images(lab) == {"web:2"})
        time.sleep(6)

        run = runs.start(MODULE, TARGET)
        lab.wait_until(lambda: images(lab) == {"web:1"}, seconds=60)
        lab.add_deployment("web", namespace="shop", image="web:3", grace=0)
        lab.wait_until(lambda: images(lab) == {"web:3"})

        assert outcome_of(run) == "Escalated", report_of(ledger, 1)

    report = report_of(ledger, 1)
    assert images(lab) == {"web:3"}, report
    assert report.count("about to: Roll back") == 1, report


def test_trouble_without_a_release_changes_nothing_and_calls_a_person(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs, broken = Runs(lab, prefect, database_url, tmp_path), threading.Event()
    with Traffic(lab, broken.is_set).running() as metrics:
        declare(runs, metrics)
        broken.set()
        time.sleep(6)

        assert outcome_of(runs.start(MODULE, TARGET)) == "Escalated", report_of(ledger, 1)

    assert lab.changes == []
    assert "the newest release was 2h" in report_of(ledger, 1)
