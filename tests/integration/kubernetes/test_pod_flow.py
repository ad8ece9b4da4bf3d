"""The flow ``pod-crash-loop`` from the look to the report: what becomes of the pods, and of what they need."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.crash_look import diagnose_pod
from nightshift.remediation.kubernetes.arguments import SetResources
from nightshift.remediation.kubernetes.crash_cause import Cause, explain
from nightshift.remediation.kubernetes.crash_planner import plan_crash_repair
from nightshift.remediation.kubernetes.crash_policy import PodCrashLoopPolicy
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Target
from tests.contracts.jaeger.test_jaeger_answers import Jaeger, jaeger
from tests.fakes.kubernetes.objects import Obj
from tests.integration.kubernetes.conftest import connection_by
from tests.integration.kubernetes.flow_runs import Cluster, Runs, outcome_of

__all__ = ["jaeger"]  # a fixture
POD = {"cluster": {"default": "main"}, "namespace": {"label": "namespace"}, "pod": {"label": "pod"}}
POLICY: dict[str, Any] = {
    "dependencies": ["db"],
    "restart_dependencies": True,
    "memory": {"ceiling": "1 GiB", "kills_per_hour": 10},
    "rollback": {"within": "1h", "proven_after": "5m"},
    "wait": "20s",
    "hold": "5s",
}
CRASH = {"lab/state": "CrashLoopBackOff"}
MODULE = "pod_crash_loop"


@pytest.fixture
def lab() -> Iterator[Cluster]:
    """Two nodes, and a database behind a service that answers."""
    with Cluster() as cluster:
        cluster.add_node("n1")
        cluster.add_node("n2")
        cluster.add_deployment("db", namespace="shop", grace=0)
        service = {"selector": {"app": "db"}, "ports": [{"port": 5432}]}
        meta = {"name": "db", "namespace": "shop"}
        cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service})
        cluster.wait_until(lambda: cluster.available("db") == 1)
        yield cluster


@pytest.fixture
def runs(lab: Cluster, prefect: PrefectServer, database_url: str, tmp_path: Path) -> Runs:
    found = Runs(lab, prefect, database_url, tmp_path)
    found.declare("pod-crash-loop", POD, POLICY)
    return found


def waiting_for(pod: Obj) -> str:
    statuses = pod["status"].get("containerStatuses") or [{}]
    return str((statuses[0].get("state") or {}).get("waiting", {}).get("reason", ""))


def crashing(lab: Cluster, app: str = "web", *, reason: str = "CrashLoopBackOff") -> str:
    """The name of a pod that waits for this reason, as soon as there is one."""
    lab.wait_until(lambda: any(waiting_for(pod) == reason for pod in lab.pods(app)))
    return next(str(pod["metadata"]["name"]) for pod in lab.pods(app) if waiting_for(pod) == reason)


def target(pod: str) -> str:
    return f"shop/cluster/main/namespace/shop/pod/{pod}"


def says(lab: Cluster, pod: str, *lines: str) -> None:
    lab.logs.write("shop", pod, "app", "\n".join(lines), previous=True)


def mark(lab: Cluster, app: str, annotations: dict[str, str]) -> None:
    """Let the pods that exist behave so; those made later do not."""
    for pod in lab.pods(app):
        with lab.store.lock:
            found = copy.deepcopy(lab.find("pods", pod["metadata"]["name"], "shop"))
            assert found is not None
            found["metadata"]["annotations"] = annotations
            found["status"]["containerStatuses"] = []
            lab.apply(found)


@pytest.mark.hazard("octollm.PodCrashLoopBackOff.r2.1")
def test_a_release_that_panics_is_taken_back(lab: Cluster, runs: Runs, ledger: Ledger, jaeger: Jaeger) -> None:
    lab.add_deployment("web", namespace="shop", replicas=2, image="web:1", grace=0)
    lab.wait_until(lambda: lab.available("web") == 2)
    lab.add_deployment("web", namespace="shop", replicas=2, image="web:2", annotations=CRASH, grace=0)
    pod = crashing(lab)
    says(lab, pod, "panic: runtime error: index out of range", "goroutine 1 [running]:")

    of_all = [
        f'container_memory_working_set_bytes{{namespace="shop",pod="{name}",container="app"}} {2**28}'
        for name in (one["metadata"]["name"] for one in lab.pods("web"))
    ]
    with PrometheusProcess("\n".join([*of_all, ""])) as metrics:
        found = {"metrics": {"type": "http", "url": metrics.url}, "jaeger": jaeger.connection.model_dump(mode="json")}
        measured = {**POLICY, "prometheus": "metrics", "jaeger": "jaeger"}
        runs.declare("pod-crash-loop", POD, measured, connections=found)
        assert outcome_of(runs.start(MODULE, target(pod))) == "Resolved", report_of(ledger, 1)

    report = report_of(ledger, 1)
    assert "It used at most 256.0 MiB within the last" in report, report
    assert "app uses at most 256.0 MiB" in report, "after the repair, too"
    assert "Failed in orchestrator: SELECT" in report
    assert "service=web" in jaeger.asked[0]
    assert {p["spec"]["containers"][0]["image"] for p in lab.pods("web")} == {"web:1"}
    assert lab.available("web") == 2
    assert "Roll back web from revision 2 to 1" in report
    assert "index out of range" in report


def test_what_a_pod_needs_is_brought_back_before_the_pod_itself(lab: Cluster, runs: Runs, ledger: Ledger) -> None:
    lab.add_deployment("web", namespace="shop", replicas=1, grace=0)
    lab.wait_until(lambda: lab.available("web") == 1)
    mark(lab, "db", {"lab/state": "NotReady"})
    mark(lab, "web", CRASH)
    pod, database = crashing(lab), lab.pods("db")[0]["metadata"]["name"]
    says(lab, pod, "dial tcp 10.0.0.7:5432: connect: connection refused")
    lab.wait_until(lambda: lab.available("db") == 0)

    assert outcome_of(runs.start(MODULE, target(pod))) == "Resolved", report_of(ledger, 1)

    assert [p["metadata"]["name"] for p in lab.pods("db")] != [database]
    assert [p["metadata"]["name"] for p in lab.pods("web")] != [pod]
    assert lab.available("web") == 1
    changed = [path.rpartition("/")[2] for _, path in lab.changes]
    assert changed == ["db", pod], "first the database, then the pod, each once"


def test_what_does_not_come_up_at_its_limit_gets_more_within_the_ceiling(lab: Cluster) -> None:
    memory = {"limits": {"memory": "512Mi"}, "requests": {"memory": "256Mi"}}
    hungry = {"lab/needs-memory": "700Mi"}
    lab.add_deployment("web", namespace="shop", resources=memory, annotations=hungry, grace=0)
    pod, policy = crashing(lab), PodCrashLoopPolicy.model_validate(POLICY)

    with open_cluster("main", connection_by(lab.kubeconfig)) as cluster:
        seen = diagnose_pod(cluster, "shop", pod, policy)

    assert seen is not None
    (action,) = plan_crash_repair(Target.from_key(target(pod)), seen, policy).actions
    assert SetResources.from_json(action.arguments).memory_limit_bytes == 768 * 2**20


def broken_image(lab: Cluster) -> str:
    lab.add_deployment("web", namespace="shop", image="broken:1")
    return crashing(lab, reason="ImagePullBackOff")


def missing_claim(lab: Cluster) -> str:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "gone"}}]
    lab.add_deployment("web", namespace="shop", volumes=volumes, annotations=CRASH)
    lab.wait_until(lambda: len(lab.pods("web")) == 1)
    return str(lab.pods("web")[0]["metadata"]["name"])


def that_says(*lines: str) -> Callable[[Cluster], str]:
    def crash(lab: Cluster) -> str:
        lab.add_deployment("web", namespace="shop", annotations=CRASH)
        pod = crashing(lab)
        says(lab, pod, *lines)
        return pod

    return crash


def on_a_silent_node(lab: Cluster) -> str:
    pod = that_says("panic: no reason")(lab)
    node = next(p["spec"]["nodeName"] for p in lab.pods("web"))
    lab.silence(node)
    return pod


def killed_for_memory(lab: Cluster) -> str:
    memory = {"limits": {"memory": "512Mi"}}
    lab.add_deployment("web", namespace="shop", resources=memory, annotations={"lab/needs-memory": "1Gi"})
    return crashing(lab)


def with_others_on_its_node(lab: Cluster) -> str:
    for name in ("queue", "search"):
        lab.add_deployment(name, namespace="shop", annotations=CRASH, node_selector={"kubernetes.io/hostname": "n1"})
    here = {"node_selector": {"kubernetes.io/hostname": "n1"}, "annotations": CRASH}
    lab.add_deployment("web", namespace="shop", **here)
    crashing(lab, "queue")
    crashing(lab, "search")
    return crashing(lab)


@pytest.mark.parametrize(
    ("trouble", "cause"),
    [
        (broken_image, Cause.IMAGE),
        (missing_claim, Cause.MOUNT),
        (killed_for_memory, Cause.MEMORY),
        (on_a_silent_node, Cause.NODE),
        (with_others_on_its_node, Cause.NODE),
        (that_says("KeyError: 'DATABASE_URL'"), Cause.CONFIGURATION),
        (that_says("open /data/x: permission denied"), Cause.PERMISSION),
        (that_says("dial tcp: connect: connection refused", "panic: no database"), Cause.DEPENDENCY),
        (that_says("Traceback (most recent call last):", "ValueError: 3"), Cause.PANIC),
        (that_says("bye"), Cause.UNKNOWN),
    ],
)
def test_the_cause_is_read_from_the_cluster(lab: Cluster, trouble: Callable[[Cluster], str], cause: Cause) -> None:
    pod = trouble(lab)

    with open_cluster("main", connection_by(lab.kubeconfig)) as cluster:
        seen = diagnose_pod(cluster, "shop", pod, PodCrashLoopPolicy(dependencies=("db",)))

    assert seen is not None
    assert explain(seen).cause is cause
    assert seen.release is not None
    assert seen.release.workload.name == "web"
    assert [dependency.ready_endpoints for dependency in seen.dependencies] == [1]


def test_several_crashes_on_the_only_node_there_is_say_nothing_about_it(lab: Cluster) -> None:
    lab.remove("nodes", "n2")
    pod = with_others_on_its_node(lab)

    with open_cluster("main", connection_by(lab.kubeconfig)) as cluster:
        seen = diagnose_pod(cluster, "shop", pod, PodCrashLoopPolicy())

    assert seen is not None
    assert explain(seen).cause is Cause.UNKNOWN


def test_a_pod_is_not_made_to_wait_for_itself(lab: Cluster) -> None:
    pod = lab.pods("db")[0]["metadata"]["name"]

    with open_cluster("main", connection_by(lab.kubeconfig)) as cluster:
        seen = diagnose_pod(cluster, "shop", pod, PodCrashLoopPolicy(dependencies=("db", "queue")))

    assert seen is not None
    assert [(needed.service, needed.ready_endpoints) for needed in seen.dependencies] == [("queue", 0)]


def test_a_pod_that_was_replaced_is_looked_for_in_its_workload(lab: Cluster) -> None:
    gone = that_says("bye")(lab)
    lab.remove("pods", gone, "shop")
    lab.wait_until(lambda: crashing(lab) != gone)

    with open_cluster("main", connection_by(lab.kubeconfig)) as cluster:
        seen = diagnose_pod(cluster, "shop", gone, PodCrashLoopPolicy())
        nobody = diagnose_pod(cluster, "shop", "other-5d8c9f7b6-x2x4z", PodCrashLoopPolicy())

    assert seen is not None
    assert seen.pod.name == crashing(lab)
    assert nobody is None
