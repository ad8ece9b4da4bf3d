"""From the API to a plan: a node that fell silent, its pods with their verdicts, and the room elsewhere."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from lab.measured import connection_to, until_measured
from lab.prometheus import PrometheusProcess
from nightshift.remediation.clients import node_use
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.node_look import diagnose_node
from nightshift.remediation.kubernetes.arguments import CordonNode, DrainNode, UncordonNode
from nightshift.remediation.kubernetes.drain import Fate
from nightshift.remediation.kubernetes.load import Kind
from nightshift.remediation.kubernetes.node_diagnosis import NodeDiagnosis, NodeTrouble, trouble_of
from nightshift.remediation.kubernetes.node_planner import judge_pods, plan_node_repair
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.kubernetes.objects import Container
from nightshift.remediation.models import Target
from tests.fakes.kubernetes import FakeCluster
from tests.fakes.kubernetes.objects import micro_timestamp, timestamp
from tests.unit import kubernetes_values as values

TARGET = Target(system="shop", path=("cluster", "main", "node", "n1"))


@pytest.fixture(scope="module", autouse=True)
def _five_nodes(fake: FakeCluster) -> None:
    for number in range(1, 6):
        fake.add_node(f"n{number}")
    fake.add_pod("lonely", node="n1", namespace="shop")


def test_a_silent_node_gives_a_plan_with_every_pod_judged(fake: FakeCluster, cluster: Cluster) -> None:
    fake.silence_node("n1")
    fake.wait_until(lambda: not diagnose_node(cluster, "n1").node.is_ready, seconds=60)
    try:
        seen = diagnose_node(cluster, "n1")
        later = replace(seen, now=seen.now + timedelta(minutes=6))

        assert trouble_of(seen) is NodeTrouble.SILENT
        assert seen.others_not_ready == ()
        assert [(v.pod.name, v.fate) for v in judge_pods(seen, NodeNotReadyPolicy())] == [("lonely", Fate.REFUSED)]
        assert [a.kind for a in plan_node_repair(TARGET, later, NodeNotReadyPolicy()).actions] == [
            CordonNode.KIND,
            UncordonNode.KIND,
        ]
        forced = plan_node_repair(TARGET, later, NodeNotReadyPolicy(evict_unmanaged=True))
        assert [a.kind for a in forced.actions] == [CordonNode.KIND, DrainNode.KIND, UncordonNode.KIND]
    finally:
        fake.revive_node("n1")


def test_nodes_that_report_seldom_are_heard_by_their_leases(fake: FakeCluster, cluster: Cluster) -> None:
    long_ago, names = timestamp(time.time() - 3600), [f"n{number}" for number in range(1, 6)]
    before = [copy.deepcopy(fake.find("nodes", name)) for name in names]
    for node in before:
        assert node is not None
        del node["metadata"]["resourceVersion"]
        old = copy.deepcopy(node)
        for condition in old["status"]["conditions"]:
            condition["lastHeartbeatTime"] = long_ago
        fake.apply(old)

    def renew(node: str, at: str) -> None:
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"renewTime": at}}
        fake.apply({**lease, "metadata": {"name": node, "namespace": "kube-node-lease"}})

    try:
        for name in names:
            renew(name, long_ago.replace("Z", ".000000Z"))
        renew("another", micro_timestamp())
        assert not diagnose_node(cluster, "n1").heard_lately, "that is no lease of a node"
        renew("n2", micro_timestamp())
        assert diagnose_node(cluster, "n1").heard_lately
    finally:
        fake.apply(*(node for node in before if node is not None))


def test_a_node_that_is_gone_is_said_to_be_gone(cluster: Cluster) -> None:
    with pytest.raises(ObjectNotFoundError):
        diagnose_node(cluster, "n99")


@pytest.mark.hazard("octollm.NodeNotReady.d4", "octollm.NodeNotReady.r2.2")
def test_what_a_node_uses_is_measured_and_joined_with_its_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_use, "WINDOW", 5.0)
    found, one = values.node("n1"), values.pod("web-1-a", containers=(Container(name="app"),))
    page = ['node_memory_MemAvailable_bytes{node="n1"} 2e9', 'node_memory_MemTotal_bytes{node="n1"} 8e9']
    labels = 'namespace="shop",pod="web-1-a",container="app",node="n1"'
    page.append(f"container_memory_working_set_bytes{{{labels}}} {2**30}")
    with PrometheusProcess("\n".join([*page, ""])) as metrics:
        seen = NodeDiagnosis(node=found, nodes=(found,), pods=(one,), now=values.NOW)
        use = until_measured(
            lambda: node_use.measure_use(("metrics", connection_to(metrics.url)), "node", seen),
            lambda use: use.percent,
            "the memory of the node",
        )

    assert use.percent == ((Kind.MEMORY, 75.0),)
    assert [(consumer.pods, consumer.used) for consumer in use.consumers] == [((one,), 2**30)]
    assert [what.partition(":")[0] for what in use.unseen] == ["CPU"]
