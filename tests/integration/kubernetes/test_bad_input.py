"""A cluster that changes, throttles, forgets us or tells another time while we work on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nightshift.remediation.clients.kubernetes import clock, transport
from nightshift.remediation.clients.kubernetes import cluster as reading
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.draining import evict_all
from nightshift.remediation.clients.kubernetes.errors import TooLargeError
from nightshift.remediation.clients.kubernetes.node_look import diagnose_node
from nightshift.remediation.clients.kubernetes.resources import CONFIG_MAPS, NODES, PODS
from nightshift.remediation.clients.kubernetes.workload_look import workload_of
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.errors import AuthenticationError, TargetChangedError
from nightshift.remediation.kubernetes.arguments import DrainNode, ListedPod
from tests.fakes.kubernetes.access import MASTERS, User
from tests.integration.kubernetes import flow_runs
from tests.integration.kubernetes.test_changing import action, as_listed

SKEWS = (timedelta(), timedelta(minutes=20), timedelta(minutes=-20))


@pytest.fixture
def fake() -> Iterator[flow_runs.Cluster]:
    """A cluster of the test's own: some tests lock everybody out of it."""
    with flow_runs.Cluster() as running:
        running.add_node("n1")
        running.ensure_namespace("shop")
        yield running


@pytest.fixture
def connection(fake: flow_runs.Cluster) -> KubernetesConnection:
    declared = {"type": "kubernetes", "context": "admin", "kubeconfig": fake.kubeconfig, "namespace": "shop"}
    return KubernetesConnection.model_validate({**declared, "timeout": 5})


def pods_on(fake: flow_runs.Cluster, cluster: Cluster, *names: str) -> list[ListedPod]:
    for name in names:
        fake.add_pod(name, node="n1", namespace="shop", labels={"app": name}, grace=0)
    fake.wait_until(lambda: all(cluster.get(PODS, name, "shop").is_ready for name in names))
    return [as_listed(cluster.get(PODS, name, "shop"), name) for name in names]


@pytest.mark.parametrize("skew", SKEWS)
def test_how_long_a_node_is_silent_is_told_by_the_clusters_clock(
    fake: flow_runs.Cluster, cluster: Cluster, skew: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.silence("n1")
    monkeypatch.setattr(clock, "worker_now", lambda: datetime.now(UTC) + skew)

    seen = diagnose_node(cluster, "n1")

    ready = seen.node.condition("Ready")
    assert ready is not None
    assert ready.since is not None
    assert timedelta(minutes=9) < seen.now - ready.since < timedelta(minutes=11)


def test_pages_that_are_too_large_become_smaller_and_one_object_too_large_is_told(
    fake: flow_runs.Cluster, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        body = {"metadata": {"name": f"c{number:02}", "namespace": "shop"}, "data": {"text": "x" * 2000}}
        fake.apply({"apiVersion": "v1", "kind": "ConfigMap", **body})
    monkeypatch.setattr(transport, "MOST_BYTES", 16_000)
    monkeypatch.setattr(reading, "PAGE", 10)

    found = [document["metadata"]["name"] for document in cluster.list(CONFIG_MAPS, "shop")]
    assert [name for name in found if name != "kube-root-ca.crt"] == [f"c{number:02}" for number in range(12)]
    huge = {"metadata": {"name": "huge", "namespace": "shop"}, "data": {"text": "x" * 20_000}}
    fake.apply({"apiVersion": "v1", "kind": "ConfigMap", **huge})
    with pytest.raises(TooLargeError, match="larger than"):
        cluster.get(CONFIG_MAPS, "huge", "shop")
    with pytest.raises(TooLargeError, match="larger than"):
        list(cluster.list(CONFIG_MAPS, "shop"))


def test_a_pod_with_two_budgets_stays_and_the_others_go(fake: flow_runs.Cluster, cluster: Cluster) -> None:
    pods = pods_on(fake, cluster, "torn", "free")
    for name in ("one", "other"):
        fake.add_budget(name, "torn", namespace="shop", minAvailable=0)

    done = evict_all(cluster, pods, 10)

    assert [pod.name for pod in done.evicted] == ["free"]
    assert "more than one PodDisruptionBudget" in done.refused[pods[0].identity]
    assert fake.on("n1") == ["torn"]


def test_a_throttled_drain_waits_as_it_is_told_and_blames_no_budget(fake: flow_runs.Cluster, cluster: Cluster) -> None:
    pods = pods_on(fake, cluster, "a", "b")
    fake.fail(429, path="/eviction", retry_after=1, times=2)

    done = evict_all(cluster, pods, 20)

    assert (len(done.evicted), done.refused) == (2, {})
    assert fake.on("n1") == []


@pytest.mark.parametrize("renewed", [True, False])
def test_a_token_that_runs_out_in_a_drain_is_renewed_or_ends_it_where_it_is(
    fake: flow_runs.Cluster, cluster: Cluster, renewed: bool
) -> None:
    pods = pods_on(fake, cluster, "a", "b", "c")

    def expire(done: int, _of: int) -> None:
        if done == 1:
            fake.expire_tokens()
            if renewed:
                fake.write_kubeconfig("admin", fake.tokens.issue(User("admin", (MASTERS,)), 3600))

    if renewed:
        assert len(evict_all(cluster, pods, 20, expire).evicted) == 3
        assert fake.on("n1") == []
    else:
        with pytest.raises(AuthenticationError, match="refused our credentials"):
            evict_all(cluster, pods, 20, expire)
        assert fake.on("n1") == ["b", "c"]


@pytest.mark.parametrize("left", ["another of its name", "one of another name", "none"])
def test_a_pod_whose_owner_was_renamed_or_replaced_belongs_to_nobody(
    fake: flow_runs.Cluster, cluster: Cluster, left: str
) -> None:
    fake.add_deployment("web", namespace="shop", grace=0)
    fake.wait_until(lambda: fake.available("web") == 1)
    (name,) = (pod["metadata"]["name"] for pod in fake.pods("web"))
    pod = cluster.get(PODS, name, "shop")
    found = workload_of(cluster, pod)
    assert found is not None
    fake.pause()  # nobody collects what its owner left behind
    fake.remove("deployments.apps", "web", "shop")
    if left != "none":
        fake.add_deployment("web" if left == "another of its name" else "web2", namespace="shop")

    assert workload_of(cluster, pod) is None


def test_a_node_that_is_gone_is_not_drained_and_its_pods_count_as_gone(
    fake: flow_runs.Cluster, cluster: Cluster, kinds: Callable[..., Any]
) -> None:
    pods = pods_on(fake, cluster, "a")
    drain = action(DrainNode(node="n1", uid=cluster.get(NODES, "n1").uid, pods=tuple(pods), seconds=5))
    fake.remove("pods", "a", "shop")
    fake.remove("nodes", "n1")

    with pytest.raises(TargetChangedError, match="n1"):
        kinds(drain, "precondition")
    assert evict_all(cluster, pods, 5).refused == {}


def test_a_date_that_is_none_leaves_the_clock_as_it_is() -> None:
    told = clock.Clock()

    for date in (None, "", "yesterday", "Sat, 99 Nov 2026 99:00:00 GMT"):
        told.told(date)

    assert abs(told.now() - datetime.now(UTC)) < timedelta(seconds=1)
