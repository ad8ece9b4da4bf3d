"""Scenario 1 of OctoLLM with its own catalogue and rules: pods crash because their node is down."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lab.prefect_server import PrefectServer
from nightshift.catalogue import Catalogue
from nightshift.gateway.causes import correlate
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Alert, Outcome
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

SHIPPED = Path(__file__).parents[3] / "runbooks"
FLOWS = ("node-not-ready", "pod-crash-loop")


@pytest.fixture
def lab() -> Iterator[Cluster]:
    """Five nodes; on n1 run the pods of two workloads."""
    with Cluster(namespace="octollm") as cluster:
        cluster.add_node("n1")
        cluster.add_deployment("orchestrator", replicas=2, namespace="octollm", grace=0)
        cluster.add_deployment("planner-arm", namespace="octollm", grace=0)
        cluster.wait_until(lambda: len(cluster.on("n1")) == 3 and cluster.available("orchestrator") == 2)
        for number in range(2, 6):
            cluster.add_node(f"n{number}")
        yield cluster


class OctoLlm:
    """The shipped catalogue of OctoLLM on the fake cluster, doing everything by itself, and its alerts."""

    def __init__(self, runs: Runs, ledger: Ledger) -> None:
        system: dict[str, Any] = YAML(typ="safe").load(SHIPPED / "octollm.yaml")
        system["mode"] = "auto"
        others = system["connections"]["cluster"].get("namespaces", ())
        system["connections"]["cluster"] = runs.connection(FLOWS, *others)
        system["runbooks"]["NodeNotReady"]["policy"] |= {"hold": "60s", "wait": "5s"}
        del system["fleets"]  # there is no Prometheus here that would tell the health of all nodes
        runs.write("octollm", system)
        for file in SHIPPED.glob("*.yaml"):
            if file.stem != "octollm":
                # Nobody waits half a minute here to see whether a cause follows.
                text = file.read_text().replace("wait_for_cause: 30s", "wait_for_cause: 0s")
                (runs.runbooks / file.name).write_text(text)
        self.catalogue, self.ledger = Catalogue.load(runs.runbooks), ledger

    def fire(self, name: str, number: int = 0, **labels: str) -> None:
        at = datetime.now(UTC) - timedelta(minutes=5)
        named = {"alertname": name, "severity": "critical", **labels}
        fingerprint = f"{name}-{number}"
        self.ledger.inbox.accept(
            [Alert(source="am", fingerprint=fingerprint, status="firing", labels=named, starts_at=at)]
        )
        while take_in(self.ledger, self.catalogue, Metrics(self.ledger)) + correlate(self.ledger, self.catalogue):
            pass

    def outcomes(self) -> list[tuple[str, str | None]]:
        rows = self.ledger.incidents.list(limit=100)[::-1]
        return [(row.runbook, row.outcome) for row in rows]


def test_the_node_is_repaired_and_nothing_is_done_to_its_pods(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    octollm = OctoLlm(runs, ledger)
    lab.silence("n1")
    pods = lab.on("n1")
    # The alerts of the pods come first, and the first of them is looked at before anybody knows of the node.
    for number, pod in enumerate(pods):
        workload = pod.rsplit("-", 2)[0]
        octollm.fire("PodCrashLoopBackOff", number, namespace="octollm", pod=pod, node="n1", deployment=workload)
    assert [name for name, _ in octollm.outcomes()] == ["PodCrashLoopBackOff"] * 2, (
        "pods of one workload are one trouble"
    )
    alone = runs.start("pod_crash_loop", f"octollm/cluster/cluster/namespace/octollm/pod/{pods[0]}", 1)
    assert outcome_of(alone) == "Escalated", report_of(ledger, 1)
    assert "the node is the trouble" in report_of(ledger, 1)
    assert lab.changes == []

    octollm.fire("NodeNotReady", cluster="octollm", node="n1")
    assert octollm.outcomes()[1:] == [("PodCrashLoopBackOff", Outcome.JOINED), ("NodeNotReady", None)]
    run = runs.start("node_not_ready", "octollm/cluster/cluster/node/n1", 3)
    lab.wait_until(lambda: lab.on("n1") == [] or run.poll() is not None, seconds=60)
    lab.bring_back("n1")

    assert outcome_of(run) == "Resolved", report_of(ledger, 3)
    report = report_of(ledger, 3)
    assert "Swallowed: 3 alerts" in report
    assert sorted(lab.evictions()) == pods
    assert lab.is_open("n1")
    assert lab.available("orchestrator") == 2
    assert lab.available("planner-arm") == 1
    changed = {path for method, path in lab.changes if not path.endswith("/eviction")}
    assert changed == {"/api/v1/nodes/n1"}, "cordoned and opened; no pod was deleted, no workload restarted"
