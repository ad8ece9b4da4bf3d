"""Load of nodes and pods: the neighbour that is named, what relieves the node of it, and what only a person does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.kubernetes.arguments import RolloutRestart, ScaleWorkload, SetResources
from nightshift.remediation.kubernetes.load import Consumer, NodeLoad, consumers_of
from nightshift.remediation.kubernetes.load_policy import NodeLoadPolicy, PodLoadPolicy
from nightshift.remediation.kubernetes.node_diagnosis import NodeDiagnosis
from nightshift.remediation.kubernetes.node_load_planner import NOTHING_TO_DO, findings_of, plan_node_relief
from nightshift.remediation.kubernetes.objects import Autoscaler, Container, Resources, Template, Volume, WorkloadKind
from nightshift.remediation.kubernetes.pod_load_planner import PodLoad, plan_pod_relief
from nightshift.remediation.kubernetes.saturation import Use
from nightshift.remediation.models import Plan, Target
from tests.unit.kubernetes_values import NOW, deployment, meta, node, owned_by, pod

NODE = Target(system="shop", path=("cluster", "main", "node", "n1"))
POD = Target(system="shop", path=("cluster", "main", "namespace", "shop", "pod", "web-1-a"))
ROOM = Resources(cpu_millicores=4000, memory_bytes=8 * 2**30, pods=110)
APP = Container(name="app", requests=Resources(cpu_millicores=500), limits=Resources(cpu_millicores=1000))
CPU = NodeLoadPolicy(resource="cpu", prometheus="prometheus", most_replicas=5)
MEMORY = NodeLoadPolicy(resource="memory", prometheus="prometheus", most_replicas=5, restart_leaking=True)
CLAIM = Volume(name="data", kind="persistentVolumeClaim", source="data")
HPA = Autoscaler(meta=meta("web"), target_kind="Deployment", target_name="web", min_replicas=2, max_replicas=9)
LEAK = [Use(at=n * 900.0, amount=(100 + 35 * n) * 2**20) for n in range(12)]


def web(**more: Any) -> Consumer:
    pods = (pod(containers=(APP,)),)
    values: dict[str, Any] = {"workload": deployment(), "used": 1800, "container": "app", "pods": pods, **more}
    return Consumer(**values)


def relieved(
    consumers: Sequence[Consumer] = (), policy: NodeLoadPolicy = CPU, *, percent: float = 93, **more: Any
) -> Plan:
    nodes = (node("n1", allocatable=ROOM), node("n2", allocatable=ROOM))
    requested = {name: Resources(cpu_millicores=1000, memory_bytes=2**30, pods=5) for name in ("n1", "n2")}
    seen = NodeDiagnosis(node=nodes[0], nodes=nodes, requested=requested, now=NOW)
    values: dict[str, Any] = {"others": {"n2": 30.0}, "managed": frozenset({"shop"}), **more}
    return plan_node_relief(NODE, NodeLoad(node=seen, percent=percent, consumers=consumers, **values), policy)


def kinds(plan: Plan) -> list[str]:
    return [action.kind for action in plan.actions]


def reasons(plan: Plan) -> str:
    return " ".join(refusal.reason for refusal in plan.refusals)


@pytest.mark.hazard("octollm.HighNodeCPUUsage.d2")
def test_what_is_measured_is_joined_with_the_pods_of_the_node() -> None:
    pods = [pod("web-1-a", containers=(APP,)), pod("db-0", owners=owned_by("StatefulSet", "db"), containers=(APP,))]
    used = {("shop", "web-1-a", "app"): 300, ("shop", "db-0", "app"): 900, ("shop", "gone", "app"): 5000}

    found = consumers_of(pods, used, {("shop", "db-0", "app"): 40.0})

    assert [(one.pods[0].name, one.used, one.throttled_percent) for one in found] == [
        ("db-0", 900, 40.0),
        ("web-1-a", 300, None),
    ]


@pytest.mark.hazard("octollm.HighNodeCPUUsage.r2.1")
def test_the_noisy_neighbour_is_scaled_out_and_never_given_a_larger_limit() -> None:
    plan = relieved([web(throttled_percent=60.0)])

    (action,) = plan.actions
    scaled = ScaleWorkload.from_json(action.arguments)
    assert (scaled.from_replicas, scaled.to_replicas) == (2, 3)
    assert "1,800 millicores" in action.reason
    assert "held back in 60 %" in action.reason
    assert "kubectl autoscale deployment/web -n shop --cpu-percent=70 --min=2 --max=5" in plan.proposals[0].title


def test_a_leak_is_restarted_since_every_further_pod_would_fill_up_too() -> None:
    plan = relieved([web(uses=LEAK)], MEMORY)

    assert kinds(plan) == [RolloutRestart.KIND]
    assert "heap profile" in plan.proposals[0].title


@pytest.mark.hazard("octollm.HighNodeMemoryUsage.r2.1")
def test_a_pod_that_merely_needs_memory_is_joined_by_others_elsewhere() -> None:
    assert kinds(relieved([web()], MEMORY)) == [ScaleWorkload.KIND]


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (relieved([web()], autoscalers=[HPA]), "HorizontalPodAutoscaler web owns it"),
        (relieved([web()], others={"n2": 85.0}), "no other node is below 80 %"),
        (relieved([web()], others={}), "no other node takes pods"),
        (relieved([web()], managed=frozenset({"other"})), "belongs to somebody else"),
        (relieved([web(workload=None)]), "no workload that can be changed keeps it"),
        (relieved([web(workload=deployment(kind=WorkloadKind.DAEMON_SET))]), "one pod on every node"),
        (relieved([web(workload=deployment(replicas=5))]), "it has 5, and may have 5"),
        (relieved([web(workload=deployment(strategy="Recreate"))]), "never to run at once"),
        (relieved([web(workload=deployment(template=Template(volumes=(CLAIM,))))]), "would share a volume"),
        (relieved([]), "no workload takes 25 %"),
        (relieved([web(pods=(pod(node_selector={"gpu": "yes"}, containers=(APP,)),))]), "would find no place"),
    ],
)
def test_what_only_a_person_does(plan: Plan, reason: str) -> None:
    assert plan.actions == ()
    assert reason in reasons(plan)
    assert plan.proposals


@pytest.mark.hazard("octollm.HighNodeCPUUsage.r3.1")
def test_nodes_are_added_by_a_person_where_all_are_full() -> None:
    plan = relieved([web()], others={"n2": 85.0})

    assert plan.proposals[0].title == "Add nodes to the pool"
    assert "Deployment shop/web" in plan.proposals[0].detail


def test_a_node_within_its_limit_is_left_alone_and_the_neighbour_is_named_all_the_same() -> None:
    plan = relieved([web()], percent=80)

    assert (plan.goal, plan.actions, plan.refusals, plan.proposals) == (NOTHING_TO_DO, (), (), ())


@settings(max_examples=60)
@given(
    percents=st.lists(st.floats(0, 100), min_size=2, max_size=2),
    used=st.lists(st.integers(0, 5000), max_size=4),
    replicas=st.integers(0, 9),
)
def test_at_most_one_neighbour_is_touched_and_never_beyond_the_most(
    percents: list[float], used: list[int], replicas: int
) -> None:
    consumers = [web(used=amount, workload=deployment(f"web{i}", replicas=replicas)) for i, amount in enumerate(used)]
    plan = relieved(consumers, percent=percents[0], others={"n2": percents[1]})

    assert len(plan.actions) <= 1
    for action in plan.actions:
        assert percents[0] > 80 >= percents[1]
        scaled = ScaleWorkload.from_json(action.arguments)
        assert replicas < scaled.to_replicas <= 5
    if percents[0] > 80:
        assert plan.actions or plan.refusals or plan.proposals


def test_the_finding_says_how_full_the_others_are() -> None:
    nodes = (node("n1"), node("n2"))
    seen = NodeLoad(
        node=NodeDiagnosis(node=nodes[0], nodes=nodes, now=NOW), percent=93, others={"n2": 30.0}, consumers=[web()]
    )

    first, second = findings_of(seen, CPU)

    assert first.detail == "the limit is 80 %; others: n2 30 %"
    assert (second.title, second.troubling) == ("Deployment shop/web uses 1,800 millicores there", True)


def pod_plan(used: int, *, throttled: float | None = None, **more: Any) -> Plan:
    policy = PodLoadPolicy(resource="cpu", prometheus="p", cpu_ceiling_millicores=2000, most_replicas=5)
    own = deployment(template=Template(digest="new", containers=(APP,)))
    values: dict[str, Any] = {"pod": pod(), "container": APP, "workload": own, **more}
    return plan_pod_relief(POD, PodLoad(uses=[Use(at=0, amount=used)], throttled_percent=throttled, **values), policy)


def test_a_container_at_its_limit_gets_half_as_much_again() -> None:
    (action,) = pod_plan(900).actions

    assert SetResources.from_json(action.arguments).cpu_limit_millicores == 1500


@pytest.mark.hazard("octollm.HighLatency.d7")
def test_what_is_held_back_at_its_limit_is_at_it_whatever_it_uses_on_average() -> None:
    assert kinds(pod_plan(500, throttled=30)) == [SetResources.KIND]
    assert pod_plan(500, throttled=20).actions == ()


def test_where_its_node_has_no_room_it_is_joined_by_others() -> None:
    assert kinds(pod_plan(900, left_on_node=100)) == [ScaleWorkload.KIND]


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (pod_plan(900, container=Container(name="app")), "no CPU limit"),
        (pod_plan(900, node=node(ready="Unknown")), "node is the trouble"),
        (pod_plan(900, workload=None), "no workload that can be changed keeps it"),
        (pod_plan(900, workload=deployment()), "other limits already"),
    ],
)
def test_a_pod_that_nothing_may_be_done_about(plan: Plan, reason: str) -> None:
    assert plan.actions == ()
    assert reason in reasons(plan)
    assert plan.proposals
