"""The flow ``node-not-ready`` from the look to the report: what becomes of the node and of the pods on it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.node_look import diagnose_node
from nightshift.remediation.decisions import Decision
from nightshift.remediation.kubernetes.node_planner import plan_node_repair
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Severity, Target
from tests.integration.kubernetes.conftest import connection_by
from tests.integration.kubernetes.flow_runs import Cluster, Runs, forget_the_dead_run, outcome_of

TARGET = "shop/cluster/main/node/n1"
NODE = {"cluster": {"default": "main"}, "node": {"label": "node"}}
TREE = {"several": ["engineering lead"], "many": ["VP", "GCP Support"], "replacement": ["on-call engineer"]}
POLICY = {"hold": "60s", "wait": "5s", "drain_within": "60s", "tree": TREE}
MODULE = "node_not_ready"


@pytest.fixture(scope="module", autouse=True)
def cut_off(
    postgres: PostgresServer, prefect: PrefectServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen[str], Ledger]]:
    """A run whose control plane does not answer; it tries for half a minute, in which the other tests run."""
    url = postgres.create_database("ledger_cut_off", template="migrated")
    ledger = Ledger.connect(url, pool_size=2)
    with Cluster() as cluster:
        runs = Runs(cluster, prefect, url, tmp_path_factory.mktemp("cut_off"))
        runs.declare("node-not-ready", NODE, POLICY)
        cluster.stop_api()
        yield runs.start(MODULE, TARGET), ledger
    ledger.close()
    postgres.drop_database("ledger_cut_off")


@pytest.fixture
def lab() -> Iterator[Cluster]:
    """Five nodes; on n1 run two pods of the web shop, with room for them elsewhere."""
    with Cluster() as cluster:
        cluster.add_node("n1")
        cluster.add_deployment("web", replicas=2, namespace="shop", grace=0)
        cluster.wait_until(lambda: len(cluster.on("n1")) == 2 and cluster.available("web") == 2)
        for number in range(2, 6):
            cluster.add_node(f"n{number}")
        yield cluster


@pytest.fixture
def runs(lab: Cluster, prefect: PrefectServer, database_url: str, tmp_path: Path) -> Runs:
    found = Runs(lab, prefect, database_url, tmp_path)
    found.declare("node-not-ready", NODE, POLICY)
    return found


def approved(lab: Cluster, ledger: Ledger) -> int:
    """An incident whose first plan somebody has approved, once."""
    target = Target.from_key(TARGET)
    with open_cluster("main", connection_by(lab.kubeconfig)) as cluster:
        plan = plan_node_repair(target, diagnose_node(cluster, "n1"), NodeNotReadyPolicy.model_validate(POLICY))
    trouble = Trouble("shop", "Trouble", "node-not-ready", target, Severity.CRITICAL, "trouble")
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, trouble)
    ledger.approvals.ask(incident, plan, None, 600)
    yes = Decision("ada", "command line, login ada", approve=True)
    assert ledger.approvals.decide(incident, plan.digest, yes) is None
    return incident


def test_a_node_under_pressure_is_emptied_as_its_budget_allows_over_a_restart_of_the_api_and_opened_when_well(
    lab: Cluster, runs: Runs, ledger: Ledger, prefect: PrefectServer
) -> None:
    lab.add_budget("web", "web", namespace="shop", minAvailable=1)
    lab.add_pod("lonely", node="n1", namespace="shop")
    lab.set_condition("n1", "DiskPressure", "True")

    runs.declare("node-not-ready", NODE, POLICY, mode="propose")
    run = runs.start(MODULE, TARGET, approved(lab, ledger))
    least = 2
    lab.wait_until(lambda: len(lab.on("n1")) == 2, seconds=60)
    with lab.api_down():
        time.sleep(1)
    while lab.on("n1") != ["lonely"] or lab.available("web") < 2:
        assert run.poll() is None, outcome_of(run)
        least = min(least, lab.available("web"))
        time.sleep(0.01)
    assert not lab.is_open("n1")
    lab.bring_back("n1")

    assert outcome_of(run) == "Resolved", report_of(ledger, 1)
    report = report_of(ledger, 1)
    assert "That resolved its shortage of disk." in report
    assert least >= 1, "the budget was kept"
    assert len(ledger.approvals.of(1)) == 1, "one approval covered all of it, to the end"
    assert lab.is_open("n1")
    assert lab.on("n1") == ["lonely"], "no controller would make it again"
    assert "no controller would make it again" in report
    assert {pod["spec"]["nodeName"] for pod in lab.pods("web")} <= {"n2", "n3", "n4", "n5"}
    row = ledger.incidents.get(1)
    assert row is not None
    mine = {"artifacts": {"flow_run_id": {"any_": [str(row.flow_run_id)]}, "type": {"any_": ["progress"]}}}
    shown = httpx.post(f"{prefect.url}/artifacts/filter", json=mine, trust_env=False).json()
    # Where the API came back too late for the first round, there is a second one.
    assert {one["data"] for one in shown} == {100.0}


@pytest.mark.hazard("octollm.NodeNotReady.r3.7")
def test_several_nodes_down_are_left_alone_and_paged(lab: Cluster, runs: Runs, ledger: Ledger) -> None:
    lab.silence("n1", "n2")

    assert outcome_of(runs.start(MODULE, TARGET)) == "Escalated"
    assert "Why this way, by the decision tree" in report_of(ledger, 1)
    assert "critical: call VP and GCP Support" in report_of(ledger, 1)

    assert "1 other node not ready, too (n2)" in ledger.incidents.list(limit=1)[0].reason
    assert lab.changes == []
    assert lab.is_open("n1")


def test_a_node_that_stays_away_loses_its_pods_and_is_handed_over_with_a_proposal_to_replace_it(
    lab: Cluster, runs: Runs, ledger: Ledger, tmp_path: Path
) -> None:
    key = {"private_key": {"file": str(tmp_path / "none")}, "known_hosts": str(tmp_path / "none")}
    host = {"type": "ssh", "address": "127.0.0.1", "port": 1, "instances": ["n1"], **key}
    with PrometheusProcess("") as metrics:
        others = {"machine": host, "metrics": {"type": "http", "url": metrics.url}}
        runs.declare("node-not-ready", NODE, {**POLICY, "prometheus": "metrics"}, connections=others)
        lab.silence("n1")

        assert outcome_of(runs.start(MODULE, TARGET)) == "Escalated"

    report = report_of(ledger, 1)
    assert "Not measured: memory:" in report, "which kept nobody from the repair"
    assert "Not measured: CPU:" in report
    assert "Its pods run elsewhere, but n1 is still not well" in ledger.incidents.list(limit=1)[0].reason, report
    assert "delete its instance, not only the Node" in report
    assert "Over SSH: Cannot read" in report, "its host was asked, too"
    assert not lab.is_open("n1")
    assert lab.on("n1") == []
    assert len(lab.evictions()) == 2
    assert sum(pod["spec"]["nodeName"] != "n1" for pod in lab.pods("web")) == 2


def test_a_run_killed_in_the_middle_of_a_drain_is_followed_by_one_that_evicts_only_what_is_left(
    lab: Cluster, runs: Runs, ledger: Ledger
) -> None:
    lab.add_budget("web", "web", namespace="shop", minAvailable=1)
    lab.set_condition("n1", "DiskPressure", "True")
    before = {pod["metadata"]["name"] for pod in lab.pods("web")}

    first = runs.start(MODULE, TARGET)
    # The budget lets the second pod go only 5 seconds after the first.
    lab.wait_until(lambda: len(lab.on("n1")) == 1, seconds=60)
    first.kill()
    first.communicate()  # until it has let go of its output, too
    forget_the_dead_run(ledger)
    second = runs.start(MODULE, TARGET, 1, 2)
    lab.wait_until(lambda: lab.on("n1") == [] or second.poll() is not None, seconds=60)
    lab.bring_back("n1")

    assert outcome_of(second) == "Resolved", report_of(ledger, 1)
    now = {pod["metadata"]["name"] for pod in lab.pods("web")}
    assert len(now) == 2
    assert not now & before
    assert set(lab.evictions()) == before, "no pod that took its place was evicted"
    assert lab.is_open("n1")


def test_a_control_plane_that_does_not_answer_is_paged(cut_off: tuple[subprocess.Popen[str], Ledger]) -> None:
    run, ledger = cut_off

    assert outcome_of(run) == "Escalated"

    assert "no answer" in ledger.incidents.list(limit=1)[0].reason
