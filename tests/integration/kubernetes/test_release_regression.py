"""A release since which requests fail is taken back; without a release nothing is changed, and a person is called."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.measured import until_measured
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.remediation.clients.request_quality import compare_versions
from nightshift.remediation.kubernetes.regression import Versions
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of
from tests.integration.kubernetes.traffic import Traffic, images, measured, web_shop

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
    "rollback": {"within": "15m", "block_deployments": True},
    "wait": "60s",
    "hold": "5s",
}


@pytest.fixture
def lab() -> Iterator[Cluster]:
    """One node, and a web shop that has worked for two hours."""
    with web_shop() as cluster:
        yield cluster


def seconds_taken(metrics: PrometheusProcess) -> float:
    """How long the slowest of the requests took that count, as the same flow measures it for an alert about that."""
    return measured(metrics, POLICY | {"measure": {"kind": "latency", "at_most_seconds": 1}}).value()


def compared(metrics: PrometheusProcess, newest: str) -> Versions | None:
    """The version of the newest ReplicaSet beside the others, as far back as there were both."""
    asked = measured(metrics, POLICY)
    return compare_versions(asked.service, asked.policy, newest, 20)


def declare(runs: Runs, metrics: PrometheusProcess, **more: Any) -> None:
    connections = {"metrics": {"type": "http", "url": metrics.url}}
    runs.declare("http-error-rate-response", WEB, {**POLICY, **more}, connections=connections)


def test_a_release_since_which_requests_are_in_trouble_is_taken_back(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    with Traffic(lab, lambda image: image == "web:2").running() as metrics:
        declare(runs, metrics)
        measured(metrics, POLICY).until_calm()
        lab.add_deployment("web", namespace="shop", image="web:2", grace=0)
        lab.wait_until(lambda: images(lab) == {"web:2"})
        lab.logs.write("shop", str(lab.pods("web")[0]["metadata"]["name"]), "app", "ERROR no such field: price")
        measured(metrics, POLICY).until_trouble_began()
        until_measured(lambda: seconds_taken(metrics), lambda seconds: seconds > 1, "slow requests")
        newest = str(lab.pods("web")[0]["metadata"]["name"]).rpartition("-")[0]
        versions = until_measured(lambda: compared(metrics, newest), lambda known: known is not None, "both versions")
        assert versions is not None
        assert versions.new > 40
        assert versions.old < 1

        assert outcome_of(runs.start(MODULE, TARGET)) == "Resolved", report_of(ledger, 1)

        until_measured(lambda: seconds_taken(metrics), lambda seconds: seconds < 1, "fast requests")

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
    with Traffic(lab, lambda image: image in ("web:2", "web:3")).running() as metrics:
        declare(runs, metrics, wait="10s")
        measured(metrics, POLICY).until_calm()
        lab.add_deployment("web", namespace="shop", image="web:2", grace=0)
        lab.wait_until(lambda: images(lab) == {"web:2"})
        measured(metrics, POLICY).until_trouble_began()

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
    with Traffic(lab, lambda _image: broken.is_set()).running() as metrics:
        declare(runs, metrics)
        measured(metrics, POLICY).until_calm()
        broken.set()
        measured(metrics, POLICY).until_trouble_began()

        assert outcome_of(runs.start(MODULE, TARGET)) == "Escalated", report_of(ledger, 1)

    assert lab.changes == []
    assert "the newest release was 2h" in report_of(ledger, 1)
