"""The flow ``http-error-rate-response`` in a cluster: a slow service that others ask gets more pods."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
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
    "dependencies": [{"kind": "service", "service": "search", "slow_seconds": 1, "ceiling": 3}],
    "restart": {},
    "wait": "60s",
    "hold": "5s",
}


@pytest.fixture
def lab() -> Iterator[Cluster]:
    with web_shop() as cluster:
        cluster.add_deployment("search", namespace="shop", image="search:1", grace=0)
        meta = {"name": "search", "namespace": "shop"}
        spec = {"selector": {"app": "search"}, "ports": [{"port": 80}]}
        cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        cluster.wait_until(lambda: cluster.available("search") == 1)
        yield cluster


def declare(runs: Runs, metrics: PrometheusProcess) -> None:
    connections = {"metrics": {"type": "http", "url": metrics.url}}
    runs.declare("http-error-rate-response", WEB, POLICY, connections=connections)


def test_a_slow_service_that_it_asks_gets_more_pods(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs, asked = Runs(lab, prefect, database_url, tmp_path), itertools.count(1)
    broken: list[bool] = []

    def crowded(_image: str) -> bool:
        return bool(broken) and lab.available("search") < 2

    def searches() -> str:
        count = next(asked)
        of = 'http_request_duration_seconds_bucket{namespace="shop",service="search",le='
        return f'{of}"0.5"}} {0 if broken else count}\n{of}"5"}} {count}\n{of}"+Inf"}} {count}\n'

    with Traffic(lab, crowded, searches).running() as metrics:
        declare(runs, metrics)
        measured(metrics, POLICY).until_calm()
        broken.append(True)
        measured(metrics, POLICY).until_trouble_began()

        assert outcome_of(runs.start(MODULE, TARGET)) == "Resolved", report_of(ledger, 1)

    assert lab.available("search") == 2
    assert images(lab) == {"web:1"}
    assert "Scale search from 1 to 2 pods" in report_of(ledger, 1)
