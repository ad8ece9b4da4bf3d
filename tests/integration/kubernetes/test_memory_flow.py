"""The flow ``pod-memory-exhaustion``: a killed container gets more memory, a leak is seen in Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

MIB = 2**20
_MEMORY = "container_memory_working_set_bytes"
_RESTARTS = "kube_pod_container_status_restarts_total"
POD = {"cluster": {"default": "main"}, "namespace": {"label": "namespace"}, "pod": {"label": "pod"}}
POLICY = {"memory": {"ceiling": "1 GiB", "kills_per_hour": 10}, "wait": "20s", "hold": "5s"}


@pytest.fixture
def lab() -> Iterator[Cluster]:
    """One node, on which a container needs more than it may have."""
    with Cluster() as cluster:
        cluster.add_node("n1")
        memory = {"limits": {"memory": "512Mi"}, "requests": {"memory": "512Mi"}}
        hungry = {"lab/needs-memory": "700Mi"}
        cluster.add_deployment("web", namespace="shop", resources=memory, annotations=hungry, grace=0)
        cluster.wait_until(lambda: "OOMKilled" in str(cluster.pods("web")))
        yield cluster


def killed(lab: Cluster) -> str:
    return str(lab.pods("web")[0]["metadata"]["name"])


def test_what_was_killed_at_its_limit_gets_more_and_keeps_its_class(
    lab: Cluster, prefect: PrefectServer, database_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    runs = Runs(lab, prefect, database_url, tmp_path)
    runs.declare("pod-memory-exhaustion", POD, POLICY)
    target = f"shop/cluster/main/namespace/shop/pod/{killed(lab)}"

    assert outcome_of(runs.start("pod_memory_exhaustion", target)) == "Resolved", report_of(ledger, 1)

    web = lab.find("deployments.apps", "web", "shop")
    assert web is not None
    resources = web["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"memory": "768Mi"}, "requests": {"memory": "768Mi"}}
    assert lab.available("web") == 1


def remembered(lab: Cluster, name: str, amount: Callable[[float], float], restarts: int) -> PrometheusProcess:
    """A real Prometheus that measured the killed container for three hours, and now measures the one in its place.

    Args:
        lab: where it was killed.
        name: of its pod.
        amount: MiB that it had, so many seconds before it was killed.
        restarts: how often it was started again within the last half hour.
    """
    labels, now = f'namespace="shop",pod="{name}",container="app"', time.time()
    ended = lab.pods("web")[0]["status"]["containerStatuses"][0]["lastState"]["terminated"]["finishedAt"]
    kill = datetime.fromisoformat(ended).timestamp()
    memory = [f"{_MEMORY}{{{labels}}} {amount(ago) * MIB:.0f} {kill - ago:.3f}" for ago in range(3 * 3600, 0, -30)]
    counted = [
        f"{_RESTARTS}{{{labels}}} {max(0, restarts - restarts * ago // 1800)} {now - ago:.3f}"
        for ago in range(3600, 0, -30)
    ]
    history = "\n".join([f"# TYPE {_MEMORY} gauge", *memory, f"# TYPE {_RESTARTS} unknown", *counted])
    return PrometheusProcess(f"{_MEMORY}{{{labels}}} {8 * MIB}\n", history=history)


@pytest.mark.parametrize(
    ("amount", "restarts", "outcome", "said"),
    [
        (lambda ago: 500 - ago // 30, 1, "Escalated", "grows steadily for 2h"),
        (lambda _: 200, 90, "Escalated", "kills within an hour: it may leak"),
        (lambda _: 200, 1, "Resolved", "Raise the memory limit"),
    ],
    ids=["leak", "killed again and again", "spike"],
)
def test_what_it_used_until_it_was_killed_tells_a_leak_from_a_spike(
    amount: Callable[[float], float],
    restarts: int,
    outcome: str,
    said: str,
    lab: Cluster,
    prefect: PrefectServer,
    database_url: str,
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    pod = killed(lab)
    with remembered(lab, pod, amount, restarts) as prometheus:
        runs = Runs(lab, prefect, database_url, tmp_path)
        place = {"metrics": {"type": "http", "url": prometheus.url}}
        policy = POLICY | {"prometheus": "metrics", "memory": {"ceiling": "1 GiB", "kills_per_hour": 60}}
        runs.declare("pod-memory-exhaustion", POD, policy, connections=place)
        target = f"shop/cluster/main/namespace/shop/pod/{pod}"

        ended = outcome_of(runs.start("pod_memory_exhaustion", target))

    report = report_of(ledger, 1)
    assert ended == outcome, report
    assert said in report
    assert ("heap profile" in report) is (outcome == "Escalated")
    assert bool(lab.changes) is (outcome == "Resolved"), lab.changes
