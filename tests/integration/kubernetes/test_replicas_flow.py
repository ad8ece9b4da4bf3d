"""The flow ``deployment-replicas-mismatch``: whose trouble missing pods are, and a stuck release taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.prefect_server import PrefectServer
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.replicas_look import diagnose_replicas
from nightshift.remediation.kubernetes.replicas_planner import NOTHING_TO_DO, plan_missing_replicas
from nightshift.remediation.kubernetes.replicas_policy import ReplicasPolicy
from nightshift.remediation.kubernetes.rollback import RollbackPolicy
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Plan, Target
from tests.integration.kubernetes.conftest import connection_by
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

WEB = {
    "cluster": {"default": "main"},
    "namespace": {"label": "namespace"},
    "deployment": {"label": "deployment"},
}
TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", "web"))
POLICY = {"rollback": {"within": "1h"}, "wait": "20s", "hold": "5s"}


@pytest.fixture
def lab() -> Iterator[Cluster]:
    """Two nodes, and two pods of the web shop."""
    with Cluster() as cluster:
        cluster.add_node("n1")
        cluster.add_node("n2")
        cluster.add_deployment("web", namespace="shop", replicas=2, image="web:1", grace=0)
        cluster.wait_until(lambda: cluster.available("web") == 2)
        yield cluster


def planned(lab: Cluster) -> Plan:
    policy = ReplicasPolicy(rollback=RollbackPolicy())
    with open_cluster("main", connection_by(lab.kubeconfig)) as cluster:
        seen = diagnose_replicas(cluster, "shop", "web", policy)
    assert seen is not None
    return plan_missing_replicas(TARGET, seen, policy)


def test_a_release_whose_image_does_not_exist_is_taken_back(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    runs.declare("deployment-replicas-mismatch", WEB, POLICY)
    lab.add_deployment("web", namespace="shop", replicas=2, image="broken:2", grace=0, progressDeadlineSeconds=1)
    lab.wait_until(lambda: "ProgressDeadlineExceeded" in str(lab.find("deployments.apps", "web", "shop")))

    assert outcome_of(runs.start("deployment_replicas_mismatch", TARGET.key)) == "Resolved", report_of(ledger, 1)

    assert {pod["spec"]["containers"][0]["image"] for pod in lab.pods("web")} == {"web:1"}
    assert lab.available("web") == 2
    assert "Roll back web from revision 2 to 1" in report_of(ledger, 1)


def test_a_rollout_that_takes_its_time_is_waited_for(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    runs.declare("deployment-replicas-mismatch", WEB, POLICY)
    rolling(lab, seconds=5)

    assert outcome_of(runs.start("deployment_replicas_mismatch", TARGET.key)) == "Nothing to do", report_of(ledger, 1)

    assert lab.changes == []
    assert lab.available("web") == 2


def down(lab: Cluster) -> None:
    lab.silence("n1", "n2")
    lab.wait_until(lambda: lab.available("web") == 0)


def full(lab: Cluster) -> None:
    more = {"resources": {"requests": {"cpu": "64"}}, "progressDeadlineSeconds": 1}
    lab.add_deployment("web", namespace="shop", replicas=2, image="web:1", **more)
    lab.wait_until(lambda: "ProgressDeadlineExceeded" in str(lab.find("deployments.apps", "web", "shop")))


def crashing(lab: Cluster) -> None:
    crash = {"annotations": {"lab/state": "CrashLoopBackOff"}, "progressDeadlineSeconds": 1}
    lab.add_deployment("web", namespace="shop", replicas=2, image="web:2", **crash)
    lab.wait_until(lambda: "ProgressDeadlineExceeded" in str(lab.find("deployments.apps", "web", "shop")))


def rolling(lab: Cluster, seconds: int = 60) -> None:
    slow = {"lab/ready-after": str(seconds)}
    lab.add_deployment("web", namespace="shop", replicas=2, image="web:2", annotations=slow, grace=0)
    lab.wait_until(lambda: len(lab.pods("web")) == 3)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (down, "the node is the trouble"),
        (full, "Add a node, or reduce requests"),
        (crashing, "the runbook for crashing pods is the one"),
        (rolling, "its progress deadline"),
    ],
)
def test_what_is_another_trouble_or_not_over_yet_is_left_alone(
    lab: Cluster, trouble: Callable[[Cluster], None], words: str
) -> None:
    trouble(lab)

    plan = planned(lab)

    assert plan.actions == ()
    said = [f"{refusal.reason} {refusal.lifted_by}" for refusal in plan.refusals]
    assert words in " ".join([*said, *(proposal.title for proposal in plan.proposals)])


def test_a_deployment_that_has_all_its_pods_is_nothing_to_do(lab: Cluster) -> None:
    assert planned(lab).goal == NOTHING_TO_DO
