"""The flow ``external-dependency-failure`` for a program in a cluster: its pods' logs, its breaker, its flag."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from lab.measured import connection_to, until_measured
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from lab.provider import Provider
from nightshift.remediation.clients.provider_metrics import measure
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.providers.policy import ProviderFailurePolicy
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

LABELS = 'service="llm"'
HALF_OPEN, CLOSED = 2, 0


class Breaker:
    """Of a program that calls an LLM: half-open until its fallback is on, and for two seconds more."""

    def __init__(self, cluster: Cluster, prometheus: PrometheusProcess) -> None:
        self._cluster, self._prometheus = cluster, prometheus
        self._ends, self._good, self._bad, self._on = threading.Event(), 0, 0, 0
        self._thread = threading.Thread(target=self._count, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._ends.wait(0.1):
            self._on += self.flag() == "on"
            closed = self._on > 20
            self._good += closed
            self._bad += not closed
            state = CLOSED if closed else HALF_OPEN
            self._prometheus.page = (
                f"circuit_breaker_state{{{LABELS}}} {state}\n"
                f'circuit_breaker_state{{service="exchange"}} 1\n'
                f"circuit_breaker_failures_total{{{LABELS}}} {self._bad}\n"
                f'circuit_breaker_requests_total{{{LABELS},result="success"}} {self._good}\n'
                f'circuit_breaker_requests_total{{{LABELS},result="failure"}} {self._bad}\n'
            )

    def flag(self) -> str:
        found = self._cluster.find("configmaps", "flags", "shop")
        assert found is not None
        return str(found["data"]["LLM_FALLBACK"])


def policy(provider: Provider) -> dict[str, Any]:
    flag = {"type": "configmap", "cluster": "main", "namespace": "shop", "config_map": "flags", "key": "LLM_FALLBACK"}
    rule = {
        "breaker": {
            "state": "circuit_breaker_state",
            "labels": {"service": "llm"},
            "failures": "circuit_breaker_failures_total",
        },
        "calls": {"calls": "circuit_breaker_requests_total", "labels": {"service": "llm"}, "result_label": "result"},
        "endpoint": {"address": "localhost", "port": provider.port, "trusted_roots": str(provider.roots)},
        "status_page": {"url": provider.status_page},
        "log": {"type": "pods", "cluster": "main", "namespace": "shop", "workload": "bifrost"},
        "fallback": {"setting": flag, "to": "on", "usually": "off", "back_after": "1h"},
        "impact": "agents decide without the LLM",
    }
    times = {"window": "5s", "half_open": "60s", "hold": "2s"}
    return {"prometheus": "metrics", "providers": {"llm": rule}, **times}


@pytest.mark.hazard("cryptofunk.CircuitBreakerOpen.d3")
def test_in_an_outage_the_fallback_in_a_config_map_is_switched_and_the_breaker_closes_by_itself(
    prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    with Cluster() as cluster, Provider() as provider, PrometheusProcess("", every_ms=500) as metrics:
        provider.indicator, provider.description = "critical", "Models are down"
        cluster.add_node("n1")
        cluster.add_deployment("bifrost", namespace="shop", replicas=2, grace=0)
        cluster.wait_until(lambda: cluster.available("bifrost") == 2)
        kept = {"LLM_FALLBACK": "off", "OTHER": "as it is"}
        cluster.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags", "namespace": "shop"}, "data": kept}
        )
        _, quiet = pods = [pod["metadata"]["name"] for pod in cluster.pods("bifrost")]
        for pod, line in ((quiet, "error: status 529 sk-live-1234567890abcdef"), (pods[0], "all is well")):
            cluster.logs.write("shop", pod, "app", f"2026-01-01T00:00:00Z {line}\n")
        runs = Runs(cluster, prefect, database_url, tmp_path)
        target = {"provider": {"default": "llm", "among": ["llm"]}}
        found = {"metrics": {"type": "http", "url": metrics.url}}
        runs.declare("external-dependency-failure", target, policy(provider), connections=found)

        with Breaker(cluster, metrics):
            cluster.changes.clear()
            measured = ProviderFailurePolicy.model_validate(policy(provider))
            until_measured(
                lambda: measure(connection_to(metrics.url), measured.rule("llm"), measured),
                lambda found: found.trouble(measured),
                "calls that fail",
            )
            outcome = outcome_of(runs.start("external_dependency_failure", "shop/provider/llm"))

        report = report_of(ledger, 1)
        assert outcome == "Resolved", report
        flags = cluster.find("configmaps", "flags", "shop")
        assert flags is not None
        assert flags["data"] == {"LLM_FALLBACK": "on", "OTHER": "as it is"}
        assert {path for _, path in cluster.changes} == {"/api/v1/namespaces/shop/configmaps/flags"}, "nothing else"
        assert "status 529" in report, "the one pod that says something is not the first"
        assert "its breaker is not closed" in report
        assert "Forcing the breaker closed" in report, "refused, with the reason"
        assert "Models are down" in report
