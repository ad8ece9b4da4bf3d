"""The flow ``release-regression``: a release since which requests fail is taken back; without a release nothing is."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.remediation.clients.request_quality import Service, compare_versions, measure_requests
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.kubernetes.regression import Versions
from nightshift.remediation.kubernetes.regression_policy import ReleaseRegressionPolicy
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from tests.fakes.kubernetes.objects import timestamp
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

WEB = {
    "cluster": {"default": "main"},
    "namespace": {"label": "namespace"},
    "deployment": {"label": "deployment"},
}
TARGET = "shop/cluster/main/namespace/shop/deployment/web"
MODULE = "release_regression"
POLICY: dict[str, Any] = {
    "prometheus": "metrics",
    "measure": {"kind": "errors", "at_most_percent": 10},
    "window": "5s",
    "rollback": {"within": "1h", "block_deployments": True},
    "wait": "30s",
    "hold": "5s",
}
HOUR = 3600.0


class Traffic:
    """Requests to the web shop, counted as its pods would; half of them fail, and take long, while it is in trouble."""

    def __init__(self, lab: Cluster, trouble: Callable[[], bool]) -> None:
        self._lab, self._trouble = lab, trouble
        self._counts: dict[str, tuple[int, int]] = {}
        self._ends = threading.Event()
        self.metrics = PrometheusProcess(self._page())

    def _page(self) -> str:
        def of(metric: str, pod: str, count: int, label: str) -> str:
            return f'{metric}{{namespace="shop",service="web",pod="{pod}",{label}}} {count}\n'

        page, seconds = "", "http_request_duration_seconds_bucket"
        for pod, (good, bad) in self._counts.items():
            page += of("http_requests_total", pod, good, 'status="200"')
            page += of("http_requests_total", pod, bad, 'status="503"')
            page += of(seconds, pod, good, 'le="0.5"')
            page += of(seconds, pod, good + bad, 'le="5"')
            page += of(seconds, pod, good + bad, 'le="+Inf"')
        return page

    def _flow(self) -> None:
        while not self._ends.wait(0.1):
            pods = [str(pod["metadata"]["name"]) for pod in self._lab.pods("web")]
            bad = 5 if self._trouble() else 0
            for pod in pods[-1:]:
                had = self._counts.get(pod, (0, 0))
                self._counts[pod] = had[0] + 10 - bad, had[1] + bad
            self.metrics.page = self._page()

    @contextmanager
    def running(self) -> Iterator[PrometheusProcess]:
        """For the time of the block, measured for long enough to know how it was before."""
        thread = threading.Thread(target=self._flow)
        thread.start()
        try:
            with self.metrics:
                time.sleep(9)
                yield self.metrics
        finally:
            self._ends.set()
            thread.join()


@pytest.fixture
def lab() -> Iterator[Cluster]:
    """One node, and a web shop that has worked for two hours."""
    with Cluster() as cluster:
        cluster.add_node("n1")
        cluster.add_deployment("web", namespace="shop", image="web:1", grace=0)
        cluster.wait_until(lambda: cluster.available("web") == 1)
        with cluster.store.lock:
            kept = copy.deepcopy(cluster.objects("replicasets.apps", "shop")[0])
            kept["metadata"]["creationTimestamp"] = timestamp(time.time() - 2 * HOUR)
            cluster.store.put("replicasets.apps", kept)
        yield cluster


def images(lab: Cluster) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in lab.pods("web")}


def seconds_taken(metrics: PrometheusProcess) -> float:
    """How long the slowest of the requests took that count, as the same flow measures it for an alert about that."""
    latency = {"kind": "latency", "at_most_seconds": 1}
    policy = ReleaseRegressionPolicy.model_validate({**POLICY, "measure": latency})
    connection = HttpConnection.model_validate({"type": "http", "url": metrics.url})
    return measure_requests(Service("metrics", connection, "shop", "web"), policy)[0]


def compared(metrics: PrometheusProcess, newest: str) -> Versions | None:
    """The version of the newest ReplicaSet beside the others, as far back as there were both."""
    connection = HttpConnection.model_validate({"type": "http", "url": metrics.url})
    policy = ReleaseRegressionPolicy.model_validate(POLICY)
    return compare_versions(Service("metrics", connection, "shop", "web"), policy, newest, 20)


def declare(runs: Runs, metrics: PrometheusProcess) -> None:
    runs.declare("release-regression", WEB, POLICY, connections={"metrics": {"type": "http", "url": metrics.url}})


def test_a_release_since_which_requests_are_in_trouble_is_taken_back(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    with Traffic(lab, lambda: "web:2" in images(lab)).running() as metrics:
        declare(runs, metrics)
        lab.add_deployment("web", namespace="shop", image="web:2", grace=0)
        lab.wait_until(lambda: images(lab) == {"web:2"})
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
    web = lab.find("deployments.apps", "web", "shop")
    assert web is not None
    assert any("rolled back from revision 2" in value for value in web["metadata"]["annotations"].values())


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
