"""The flows ``node-saturation`` and ``pod-saturation``: the work of a cluster's pods, measured by a real Prometheus."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.measured import connection_to, until_measured
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.remediation.clients.prometheus import read
from nightshift.remediation.clients.resource_use import Meter
from nightshift.remediation.kubernetes.load import Kind
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

NODE = {"cluster": {"default": "main"}, "node": {"label": "node"}}
POD = {"cluster": {"default": "main"}, "namespace": {"label": "namespace"}, "pod": {"label": "pod"}}
WINDOW = 5
POLICY: dict[str, Any] = {
    "resource": "cpu",
    "prometheus": "metrics",
    "window": WINDOW,
    "wait": "60s",
    "hold": "5s",
}
CORES = 2


class Work:
    """What clients ask of the web shop, shared by its pods; counted as the kubelets and node_exporter count it."""

    def __init__(self, cluster: Cluster, millicores: int) -> None:
        self._cluster, self._millicores = cluster, millicores
        self._idle: dict[str, float] = {}
        self._used: dict[tuple[str, str], float] = {}
        self._ends = threading.Event()
        self.metrics = PrometheusProcess("")

    def _flow(self) -> None:
        before = time.monotonic()
        while not self._ends.wait(0.2):
            step, before = time.monotonic() - before, time.monotonic()
            pods = [p for p in self._cluster.pods("web") if p["spec"].get("nodeName") and p["status"].get("podIP")]
            share = self._millicores / max(1, len(pods)) / 1000
            on = dict.fromkeys((node["metadata"]["name"] for node in self._cluster.objects("nodes")), 0.0)
            for pod in pods:
                key = pod["spec"]["nodeName"], pod["metadata"]["name"]
                self._used[key] = self._used.get(key, 0.0) + share * step
                on[key[0]] += share / CORES
            for node, used in on.items():
                self._idle[node] = self._idle.get(node, 0.0) + max(0.0, 1 - used) * step
            self.metrics.page = self._page()

    def _measured(self) -> float:
        """Millicores of all pods together, as the flows measure them."""
        meter = Meter("metrics", connection_to(self.metrics.url), Kind.CPU, WINDOW)
        read(meter.prometheus, meter.connection, "topk by (job, instance) (1, node_cpu_seconds_total)", window=WINDOW)
        return sum(meter.containers(namespace="shop").values())

    def _page(self) -> str:
        idle = [f'node_cpu_seconds_total{{mode="idle",node="{node}"}} {at}' for node, at in self._idle.items()]
        used = [
            f'container_cpu_usage_seconds_total{{namespace="shop",node="{node}",pod="{pod}",container="app"}} {at}'
            for (node, pod), at in self._used.items()
        ]
        return "\n".join([*idle, *used, ""])

    @contextmanager
    def running(self) -> Iterator[PrometheusProcess]:
        """For the time of the block, which begins when it is known how much it is."""
        thread = threading.Thread(target=self._flow)
        thread.start()
        try:
            with self.metrics:
                until_measured(self._measured, lambda used: used > 0.9 * self._millicores, "the work")
                yield self.metrics
        finally:
            self._ends.set()
            thread.join()


@contextmanager
def shop(requests: str = "", limits: str = "") -> Iterator[Cluster]:
    """A web shop of one pod, on the first of two nodes of two cores."""
    asked = {kind: {"cpu": cpu} for kind, cpu in (("requests", requests), ("limits", limits)) if cpu}
    resources = asked or {"limits": {"memory": "100Mi"}}
    with Cluster() as cluster:
        cluster.add_node("n1", cpu=str(CORES))
        cluster.add_deployment("web", namespace="shop", resources=resources, grace=0)
        cluster.wait_until(lambda: cluster.available("web") == 1)
        cluster.add_node("n2", cpu=str(CORES))
        yield cluster


def test_a_full_node_is_relieved_of_its_noisy_neighbour_by_more_pods_elsewhere(
    prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    with shop(requests="1200m") as lab, Work(lab, 1900).running() as metrics:
        runs = Runs(lab, prefect, database_url, tmp_path)
        found = {"metrics": {"type": "http", "url": metrics.url}}
        runs.declare("node-saturation", NODE, {**POLICY, "most_replicas": 3}, connections=found)

        assert outcome_of(runs.start("node_saturation", "shop/cluster/main/node/n1")) == "Resolved", report_of(
            ledger, 1
        )

        assert {pod["spec"]["nodeName"] for pod in lab.pods("web")} == {"n1", "n2"}
        assert "Deployment shop/web uses" in report_of(ledger, 1)


def test_a_container_at_its_limit_gets_a_larger_one(
    prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    with shop(limits="500m") as lab, Work(lab, 480).running() as metrics:
        runs = Runs(lab, prefect, database_url, tmp_path)
        found = {"metrics": {"type": "http", "url": metrics.url}}
        runs.declare("pod-saturation", POD, {**POLICY, "cpu_ceiling_millicores": 800}, connections=found)
        target = f"shop/cluster/main/namespace/shop/pod/{lab.pods('web')[0]['metadata']['name']}"

        outcome = outcome_of(runs.start("pod_saturation", target))
        assert outcome == "Resolved", report_of(ledger, 1)

        web = lab.find("deployments.apps", "web", "shop")
        assert web is not None
        limits = web["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert limits == {"cpu": "750m"}


@pytest.mark.hazard("cryptofunk.HighMemoryUsage.d4")
def test_the_heap_profile_of_what_is_at_its_memory_limit_is_in_the_report(
    prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    with shop() as lab:
        name = lab.pods("web")[0]["metadata"]["name"]
        used = f'container_memory_working_set_bytes{{namespace="shop",pod="{name}",container="app"}} 102000000\n'
        with PrometheusProcess(used) as metrics:
            runs = Runs(lab, prefect, database_url, tmp_path)
            found = {"metrics": {"type": "http", "url": metrics.url}}
            # Prometheus itself is a program of Go, and stands in for the one in the pod.
            more = {"resource": "memory", "profiles": {"web": {"connection": "metrics"}}}
            runs.declare("pod-saturation", POD, {**POLICY, **more}, connections=found)

            outcome = outcome_of(runs.start("pod_saturation", f"shop/cluster/main/namespace/shop/pod/{name}"))

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert "Its heap profile: who keeps the most" in report
    assert "there is nothing that may be raised" in report
