"""The flow ``request-latency-response`` on Kubernetes, measured by a real Prometheus."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.measured import RequestsMeasured
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.catalogue import Catalogue
from nightshift.catalogue.by_hand import trouble_by_hand
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

WEB = {
    "cluster": {"default": "main"},
    "namespace": {"label": "namespace"},
    "deployment": {"label": "deployment"},
}
TARGET = "shop/cluster/main/namespace/shop/deployment/web"
MODULE = "request_latency_response"
POLICY: dict[str, Any] = {
    "prometheus": "metrics",
    "measure": {"kind": "latency", "at_most_seconds": 1, "endpoint_label": "route"},
    "window": "5s",
    "cpu": {"cpu_factor": 2, "cpu_ceiling_millicores": 1000, "most_replicas": 4},
    "wait": "60s",
    "hold": "5s",
    "rounds": 1,
}


class HeldBack:
    """A web shop whose requests take long while the CPU limit of its pod is below what they need."""

    def __init__(self, lab: Cluster, is_slow: Callable[[], bool]) -> None:
        self._lab, self._is_slow = lab, is_slow
        self._counts: dict[str, list[float]] = {}
        self._ends = threading.Event()
        self.metrics = PrometheusProcess("")

    def _flow(self) -> None:
        while not self._ends.wait(0.1):
            slow = self._is_slow()
            for pod in self._lab.pods("web"):
                count = self._counts.setdefault(str(pod["metadata"]["name"]), [0.0, 0.0, 0.0, 0.0, 0.0])
                for number, more in enumerate((5 if slow else 10, 5 if slow else 0, 0.05, 1, 0.6 if slow else 0)):
                    count[number] += more
            self.metrics.page = self._page()

    def _page(self) -> str:
        page = ""
        for pod, (fast, late, cpu, periods, held) in self._counts.items():
            of = f'namespace="shop",service="web",route="/tasks",pod="{pod}"'
            for bound, count in (("0.5", fast), ("5", fast + late), ("+Inf", fast + late)):
                page += f'http_request_duration_seconds_bucket{{{of},le="{bound}"}} {count}\n'
            at = f'namespace="shop",pod="{pod}",container="app"'
            page += f"container_cpu_usage_seconds_total{{{at}}} {cpu}\n"
            page += f"container_cpu_cfs_periods_total{{{at}}} {periods}\n"
            page += f"container_cpu_cfs_throttled_periods_total{{{at}}} {held}\n"
        return page

    @contextmanager
    def running(self) -> Iterator[PrometheusProcess]:
        """For the time of the block, which begins when they are measured as slow."""
        thread = threading.Thread(target=self._flow)
        thread.start()
        try:
            with self.metrics:
                RequestsMeasured(self.metrics.url, POLICY, "web", "shop").until_trouble()
                yield self.metrics
        finally:
            self._ends.set()
            thread.join()


@contextmanager
def shop() -> Iterator[Cluster]:
    """A web shop of one pod that may use half a core."""
    resources = {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m"}}
    with Cluster() as cluster:
        cluster.add_node("n1", cpu="4")
        cluster.add_deployment("web", namespace="shop", image="web:1", grace=0, resources=resources)
        cluster.wait_until(lambda: cluster.available("web") == 1)
        yield cluster


def limit_of(lab: Cluster) -> str:
    web = lab.find("deployments.apps", "web", "shop")
    assert web is not None
    return str(web["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])


def declare(runs: Runs, metrics: PrometheusProcess, **more: Any) -> None:
    connections = {"metrics": {"type": "http", "url": metrics.url}}
    runs.declare("request-latency-response", WEB, {**POLICY, **more}, connections=connections)


def test_a_pod_held_back_at_its_limit_gets_a_larger_one_and_where_that_is_too_little_another_pod_helps(
    prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    with shop() as lab, HeldBack(lab, lambda: limit_of(lab) == "500m" or lab.available("web") < 2).running() as metrics:
        runs = Runs(lab, prefect, database_url, tmp_path)
        declare(runs, metrics, rounds=2, wait="12s")

        assert outcome_of(runs.start(MODULE, TARGET)) == "Resolved", report_of(ledger, 1)

        assert limit_of(lab) in ("1", "1000m")
        assert lab.available("web") == 2
    report = report_of(ledger, 1)
    assert "It was held back in 60 % of its periods" in report
    assert "Scale web from 1 to 2 pods" in report
    assert "/tasks" in report


def test_while_another_incident_wants_less_a_person_decides_and_nothing_is_changed(
    prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    with shop() as lab, HeldBack(lab, lambda: True).running() as metrics:
        runs = Runs(lab, prefect, database_url, tmp_path)
        declare(runs, metrics, less_wanted_by=["Quota"])
        file = runs.runbooks / "shop.yaml"
        system = json.loads(file.read_text())
        node = {"cluster": {"default": "main"}, "node": {"label": "node"}}
        load = {"resource": "cpu", "prometheus": "metrics"}
        system["runbooks"]["Quota"] = {
            "summary": "less", "severity": "warning", "flow": "node-saturation", "target": node, "policy": load,
        }  # fmt: skip
        file.write_text(json.dumps(system))
        other = trouble_by_hand(Catalogue.load(runs.runbooks), "node-saturation", "shop", "shop/cluster/main/node/n1")
        with ledger.engine.begin() as connection:
            quota = ledger.incidents.open(connection, other, options={}, dispatch_after_seconds=600)[0]

        assert outcome_of(runs.start(MODULE, TARGET)) == "Escalated", report_of(ledger, 2)

        assert lab.changes == []
    report = report_of(ledger, 2)
    assert f"incident {quota} (Quota) is open and wants less" in report
    assert "Decide between the two: Raise the CPU limit of app" in report
