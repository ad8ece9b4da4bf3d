"""One node in trouble is closed, emptied and opened again; several are nobody's to touch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.kubernetes.arguments import (
    CordonNode,
    DrainNode,
    EvictPods,
    RestartNodeService,
    UncordonNode,
)
from nightshift.remediation.kubernetes.load import Consumer, Kind
from nightshift.remediation.kubernetes.marks import CORDONED_BY
from nightshift.remediation.kubernetes.node_diagnosis import HostLook, NodeDiagnosis, NodeTrouble, is_well, trouble_of
from nightshift.remediation.kubernetes.node_findings import findings_of, in_words
from nightshift.remediation.kubernetes.node_planner import (
    NOTHING_TO_DO,
    judge_pods,
    plan_node_repair,
    plan_restart,
    seconds_to_wait,
)
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.kubernetes.node_use import NodeUse, findings_of_use
from nightshift.remediation.kubernetes.node_verification import NodeSample, judge
from nightshift.remediation.kubernetes.objects import Condition, Container, Node, Resources, Taint
from nightshift.remediation.kubernetes.saturation import Use
from nightshift.remediation.models import Plan, Risk, Target
from tests.unit.kubernetes_values import NOW, ago, node, owned_by, pod

TARGET = Target(system="shop", path=("cluster", "main", "node", "n1"))
POLICY = NodeNotReadyPolicy()
OTHERS = tuple(node(f"n{number}") for number in range(2, 6))
OURS = {CORDONED_BY: "17"}
MEMORY = Condition(type="MemoryPressure", status="True", reason="KubeletHasInsufficientMemory", since=ago(400))
DISK = Condition(type="DiskPressure", status="True", since=ago(400))


def silent(seconds: float = 600, **more: Any) -> Node:
    return node(ready="Unknown", reason="NodeStatusUnknown", since=seconds, **more)


def seen(this: Node, *others: Node, **more: Any) -> NodeDiagnosis:
    values: dict[str, Any] = {"pods": (pod("web-1-a"), pod("web-1-b"))}
    return NodeDiagnosis(node=this, nodes=(this, *(others or OTHERS)), now=NOW, **{**values, **more})


def plan(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy = POLICY, *, force: bool = False) -> Plan:
    return plan_node_repair(TARGET, diagnosis, policy, force=force)


def kinds(plan: Plan) -> list[str]:
    return [action.kind for action in plan.actions]


@pytest.mark.hazard("octollm.NodeNotReady.r3.7")
def test_a_silent_node_is_cordoned_and_its_pods_are_evicted_with_approval_and_replacing_it_is_proposed() -> None:
    made = plan(seen(silent()))

    assert kinds(made) == [CordonNode.KIND, DrainNode.KIND, UncordonNode.KIND]
    assert [action.risk for action in made.actions] == [Risk.MEDIUM, Risk.HIGH, Risk.LOW]
    assert any("replace it" in proposal.title for proposal in made.proposals)
    assert any("whether the machine of n1 is running" in proposal.title for proposal in made.proposals)


@pytest.mark.hazard("octollm.NodeNotReady.d3")
def test_what_a_node_uses_is_told_with_who_leaks_and_what_nobody_measured() -> None:
    rising = [Use(at=minute * 300.0, amount=(minute + 1) * 2**20) for minute in range(12)]
    leaking = Consumer(pods=(pod("web-1-a"),), container="app", used=3 * 2**30, uses=rising)
    calm = Consumer(pods=(pod("db-0"),), container="app", used=2**30)
    use = NodeUse(percent=((Kind.MEMORY, 93.4),), consumers=(leaking, calm), unseen=("cpu: no <b>",))

    assert [(one.title, one.detail, one.troubling) for one in findings_of_use(use)] == [
        ("93 % of its memory in use", "", True),
        (
            "pod shop/web-1-a uses 3.0 GiB of its memory",
            "its memory grows without a pause for 55m: it may leak",
            True,
        ),
        ("pod shop/db-0 uses 1.0 GiB of its memory", "", False),
        ("Not measured: cpu: no \\x3cb\\x3e", "", False),
    ]


@pytest.mark.hazard("octollm.NodeNotReady.r3.2")
def test_what_the_kubelet_says_about_the_network_plugin_is_told() -> None:
    host = HostLook(reachable=True, kubelet_log=("all well", "cni plugin <b> not initialized"))
    found = [one for one in findings_of(seen(silent(), host=host), ()) if "network plugin" in one.title]

    assert [(one.title, one.detail) for one in found] == [
        ("1 line about the network plugin in the kubelet's log", "cni plugin \\x3cb\\x3e not initialized")
    ]


def test_the_same_diagnosis_gives_the_same_plan() -> None:
    pods = (pod("a"), pod("b"), pod("c"))

    assert plan(seen(silent(), pods=pods)).digest == plan(seen(silent(), pods=pods[::-1])).digest


def test_before_the_time_to_drain_it_is_only_cordoned() -> None:
    made = plan(seen(silent(200)))

    assert kinds(made) == [CordonNode.KIND, UncordonNode.KIND]
    assert [refusal.lifted_by for refusal in made.refusals] == ["5m of trouble"]


def test_a_node_that_missed_one_heartbeat_is_left_alone() -> None:
    made = plan(seen(silent(50)))

    assert made.actions == ()
    assert "it may pass by itself" in made.refusals[0].reason


def test_a_repair_that_was_begun_goes_on_at_once() -> None:
    assert kinds(plan(seen(silent(50)), force=True)) == [CordonNode.KIND, UncordonNode.KIND]


def test_a_node_cordoned_already_is_only_drained() -> None:
    assert kinds(plan(seen(silent(unschedulable=True)))) == [DrainNode.KIND]


@pytest.mark.parametrize(
    ("diagnosis", "reason"),
    [
        (
            seen(silent(), node("n2", ready="False"), *OTHERS[1:]),
            "1 other node not ready, too (n2): 40 %",
        ),
        (seen(silent(3600), *(node(n, ready="Unknown", since=3600) for n in ("n2", "n3"))), "the control plane is cut"),
        (seen(silent(labels={"node-role.kubernetes.io/control-plane": ""})), "it runs the control plane"),
        (seen(silent(taints=(Taint(key="ToBeDeletedByClusterAutoscaler", effect="NoSchedule"),))), "autoscaler"),
        (seen(silent(), repair_under_way="GKE repairs it since 02:10"), "GKE repairs it"),
        (seen(silent(), *OTHERS, node("n9", unschedulable=True, annotations=OURS)), "one node at a time"),
        (seen(silent(), *OTHERS[:1]), "(50 %) would be ready"),
        (seen(silent(), *OTHERS[:2], *(replace(n, unschedulable=True) for n in OTHERS[2:])), "2 of 5 nodes (40 %)"),
    ],
)
def test_what_keeps_everybody_from_touching_a_node(diagnosis: NodeDiagnosis, reason: str) -> None:
    made = plan(diagnosis, force=True)

    assert made.actions == ()
    assert reason in made.refusals[0].reason


@pytest.mark.parametrize(
    ("this", "host", "trouble"),
    [
        (silent(), None, NodeTrouble.SILENT),
        (replace(node(), conditions=()), None, NodeTrouble.SILENT),
        (node(ready="False"), None, NodeTrouble.NOT_READY),
        (node(ready="False", reason="KubeletNotReady PLEG is not healthy"), None, NodeTrouble.RUNTIME),
        (node(ready="False", reason="container runtime network not ready: cni"), None, NodeTrouble.NETWORK),
        (node(conditions=(Condition(type="NetworkUnavailable", status="True"),)), None, NodeTrouble.NETWORK),
        (node(conditions=(DISK, MEMORY)), None, NodeTrouble.DISK),
        (node(conditions=(MEMORY,)), None, NodeTrouble.MEMORY),
        (node(), None, NodeTrouble.NONE),
        (silent(), HostLook(reachable=True, kubelet="failed"), NodeTrouble.KUBELET),
        (silent(), HostLook(reachable=True, kubelet="active", runtime="inactive"), NodeTrouble.RUNTIME),
        (silent(), HostLook(reachable=False, kubelet="failed"), NodeTrouble.SILENT),
        (node(), HostLook(reachable=True, kernel=("blk_update_request: I/O error, dev sda",)), NodeTrouble.HARDWARE),
        (node(), HostLook(reachable=True, kernel=("usb 1-1: new device",)), NodeTrouble.NONE),
    ],
)
def test_what_is_wrong_with_a_node(this: Node, host: HostLook | None, trouble: NodeTrouble) -> None:
    assert trouble_of(seen(this, host=host)) is trouble


def test_a_stopped_kubelet_is_named_with_the_command_and_its_last_words() -> None:
    made = plan(seen(silent(200), host=HostLook(reachable=True, kubelet="failed", kubelet_log=("bad `config`",))))

    assert "systemctl restart kubelet" in made.proposals[0].title
    assert "bad \\x60config\\x60" in made.proposals[0].detail


KUBELET = HostLook(reachable=True, connection="machine", kubelet="failed", kubelet_run="7f")


def test_a_stopped_kubelet_is_started_again_first_and_exactly_that_run_of_it() -> None:
    made = plan_restart(TARGET, seen(silent(200), host=KUBELET), POLICY)

    assert made is not None
    (action,) = made.actions
    assert (action.kind, action.risk) == (RestartNodeService.KIND, Risk.MEDIUM)
    assert RestartNodeService.from_json(action.arguments).run == "7f"
    assert seconds_to_wait(seen(silent(10), host=KUBELET), POLICY) == POLICY.settle - 10, "a drain is not waited for"


@pytest.mark.parametrize(
    ("diagnosis", "policy"),
    [
        (seen(silent(200), host=KUBELET, was_restarted=True), POLICY),
        (seen(silent(200), host=replace(KUBELET, connection="")), POLICY),
        (seen(silent(200), host=replace(KUBELET, reachable=False)), POLICY),
        (seen(silent(200), host=KUBELET), NodeNotReadyPolicy(restart_services=False)),
        (seen(silent(50), host=KUBELET), POLICY),
        (seen(silent(200), node("n2", ready="False"), *OTHERS[1:], host=KUBELET), POLICY),
        (
            seen(silent(200), host=replace(KUBELET, kubelet="active", runtime="failed", runtime_unit="docker")),
            POLICY,
        ),
    ],
)
def test_what_is_not_started_again(diagnosis: NodeDiagnosis, policy: NodeNotReadyPolicy) -> None:
    assert plan_restart(TARGET, diagnosis, policy) is None


def test_a_container_runtime_that_stopped_is_started_again() -> None:
    host = replace(KUBELET, kubelet="active", runtime="failed", runtime_unit="containerd", runtime_run="a1")
    made = plan_restart(TARGET, seen(silent(200), host=host), POLICY)

    assert made is not None
    assert made.actions[0].title == "Restart containerd on n1"


def test_a_kubelet_that_did_not_start_is_for_a_person_and_its_pods_move() -> None:
    made = plan(seen(silent(), host=KUBELET, was_restarted=True))

    assert kinds(made) == [CordonNode.KIND, DrainNode.KIND, UncordonNode.KIND]
    assert "Mend the kubelet on n1" in [proposal.title for proposal in made.proposals]


def test_failing_hardware_is_emptied_at_once_though_the_node_is_ready() -> None:
    host = HostLook(reachable=True, kernel=("EXT4-fs error (device sda1)",))

    made = plan(seen(node(), host=host))

    assert kinds(made) == [CordonNode.KIND, DrainNode.KIND], "only a person opens it again"
    assert kinds(plan(seen(node(unschedulable=True, annotations=OURS), host=host, pods=()), force=True)) == []


@pytest.mark.hazard("octollm.NodeNotReady.r2.5")
def test_a_node_short_of_memory_loses_its_largest_pods_of_low_priority_only() -> None:
    pods = (
        pod("small"),
        pod("large"),
        pod("larger", priority=100),
        pod("largest", namespace="kube-system"),
        pod("agent", owners=owned_by("DaemonSet", "agent")),
        pod("middle"),
    )
    used = {p.uid: size for p, size in zip(pods, (1, 50, 90, 99, 98, 20), strict=True)}

    made = plan(seen(node(conditions=(MEMORY,)), pods=pods, memory_used=used), NodeNotReadyPolicy(relieve_pods=2))

    assert kinds(made) == [CordonNode.KIND, EvictPods.KIND, UncordonNode.KIND]
    assert [p.name for p in EvictPods.from_json(made.actions[1].arguments).pods] == ["large", "middle"]
    assert made.actions[1].risk is Risk.MEDIUM


def test_a_node_that_still_serves_is_not_emptied_when_its_pods_find_no_place() -> None:
    hungry = pod("db", containers=(Container(name="db", requests=Resources(memory_bytes=8 * 2**30)),))
    big = Resources(cpu_millicores=4000, memory_bytes=8 * 2**30, pods=110)
    others = tuple(replace(n, allocatable=big) for n in OTHERS)
    requested = {n.name: Resources(memory_bytes=2**30) for n in others}

    made = plan(seen(node(conditions=(DISK,)), *others, pods=(hungry,), requested=requested))

    assert kinds(made) == [CordonNode.KIND, UncordonNode.KIND]
    assert "would find no place elsewhere" in made.refusals[0].reason
    assert any("Add a node" in proposal.title for proposal in made.proposals)


@pytest.mark.hazard("octollm.NodeNotReady.r4.7")
def test_stuck_pods_are_named_and_never_forced() -> None:
    stuck = pod("db-0", owners=owned_by("StatefulSet", "db"), deletion_at=ago(600))

    made = plan(seen(silent(), pods=(stuck,)))

    assert kinds(made) == [CordonNode.KIND, UncordonNode.KIND]
    proposal = next(p for p in made.proposals if "out-of-service" in p.title)
    assert "shop/db-0" in proposal.detail
    assert "1 of a StatefulSet" in proposal.reason


@pytest.mark.parametrize(
    ("this", "expected"),
    [
        (node(unschedulable=True, annotations=OURS, since=400), [UncordonNode.KIND]),
        (node(unschedulable=True, annotations=OURS, since=100), []),
        (node(unschedulable=True, since=400), []),
        (node(annotations=OURS, since=400), []),
    ],
)
def test_only_what_nightshift_cordoned_is_opened_and_only_when_it_stayed_well(this: Node, expected: list[str]) -> None:
    assert kinds(plan(seen(this))) == expected


@pytest.mark.parametrize(
    ("this", "seconds"),
    [
        (silent(50), 250),
        (silent(400), 0),
        (node(conditions=(replace(MEMORY, since=ago(30)),), since=900), 90),
        (node(), 0),
        (silent(50, labels={"node-role.kubernetes.io/control-plane": ""}), 0),
    ],
)
def test_young_trouble_is_waited_out_before_anything_is_planned(this: Node, seconds: float) -> None:
    assert seconds_to_wait(seen(this), POLICY) == seconds


def test_several_nodes_are_paged_at_once() -> None:
    assert seconds_to_wait(seen(silent(50), node("n2", ready="False"), *OTHERS[1:]), POLICY) == 0


def test_a_node_without_a_network_is_not_opened_because_it_is_ready() -> None:
    cut = Condition(type="NetworkUnavailable", status="True", since=ago(400))
    ours = node(unschedulable=True, annotations=OURS, conditions=(cut,), since=4000)

    assert not is_well(ours)
    assert kinds(plan(seen(replace(ours, unschedulable=False)))) == [
        CordonNode.KIND,
        DrainNode.KIND,
        UncordonNode.KIND,
    ]


def test_a_node_whose_host_cannot_be_looked_at_is_not_opened() -> None:
    ours = node(unschedulable=True, annotations=OURS, since=4000)

    assert kinds(plan(seen(ours, host=HostLook(reachable=True, kubelet="active")))) == [UncordonNode.KIND]
    assert kinds(plan(seen(ours, host=HostLook(reachable=False, why_not="no route")))) == []


def test_who_approved_the_cordon_approved_that_it_ends() -> None:
    approved = plan(seen(silent()))
    well = plan(seen(node(unschedulable=True, annotations=OURS, since=400)))

    assert kinds(well) == [UncordonNode.KIND]
    assert well.within(approved)


def test_a_well_node_is_nothing_to_do() -> None:
    made = plan(seen(node()))

    assert (made.goal, made.actions, made.refusals, made.proposals) == (NOTHING_TO_DO, (), (), ())


def test_findings_say_what_the_node_says_without_its_markup() -> None:
    diagnosis = seen(node(ready="False", reason="<script>"), host=HostLook(reachable=False, why_not="timed out"))
    found = findings_of(diagnosis, judge_pods(diagnosis, POLICY))

    assert in_words(diagnosis) == "n1: not ready"
    assert found[0].title == "Ready is False for 10m"
    assert found[0].troubling
    assert "<" not in found[0].detail
    assert "Its host does not answer over SSH" in [finding.title for finding in found]


def sample(at: float, this: Node | None, **more: Any) -> NodeSample:
    return NodeSample(at=at, node=this, **more)


@pytest.mark.parametrize(
    ("samples", "healthy", "inconclusive", "words"),
    [
        ([], False, True, "was not looked at"),
        ([sample(0, node()), sample(300, node())], True, False, "n1 is well for 5m"),
        ([sample(0, node()), sample(299, node())], False, True, "5m to be watched"),
        ([sample(0, node()), sample(200, silent()), sample(400, node())], False, True, "0.0s only"),
        ([sample(0, node()), sample(300, silent())], False, False, "Its pods run elsewhere, but n1 is still not well"),
        (
            [sample(0, node()), sample(300, node(), without_place=("shop/db",))],
            False,
            False,
            "missing of shop/db",
        ),
        ([sample(0, None)], False, False, "n1 is gone, and no new node is ready"),
        ([sample(t, None, replacements_ready=1) for t in (0, 300)], True, False, "A new node in place of n1"),
        ([sample(0, node()), sample(300, node(conditions=(DISK,)))], False, False, "is still not well"),
    ],
)
def test_repaired_means_well_for_long_enough_and_every_pod_has_a_place(
    samples: list[NodeSample], healthy: bool, inconclusive: bool, words: str
) -> None:
    verdict = judge(node(), samples, POLICY)

    assert (verdict.healthy, verdict.inconclusive) == (healthy, inconclusive)
    assert words in verdict.reason


statuses = st.sampled_from(["True", "True", "False", "Unknown"])
nodes = st.builds(
    node,
    name=st.sampled_from([f"n{number}" for number in range(2, 9)]),
    ready=statuses,
    since=st.sampled_from([10, 200, 900]),
    unschedulable=st.booleans(),
    annotations=st.sampled_from([{}, {}, {}, OURS]),
)
this_node = st.builds(
    node,
    ready=statuses,
    since=st.sampled_from([10, 200, 900]),
    unschedulable=st.booleans(),
    annotations=st.sampled_from([{}, OURS]),
    conditions=st.sampled_from([(), (MEMORY,), (DISK,)]),
)


@given(this_node, st.lists(nodes, max_size=7, unique_by=lambda n: n.name), st.booleans())
@settings(max_examples=200)
def test_nothing_is_ever_done_beside_another_broken_node_or_below_the_healthy_share(
    this: Node, others: list[Node], force: bool
) -> None:
    made = plan(NodeDiagnosis(node=this, nodes=(this, *others), pods=(pod(),), now=NOW), force=force)

    if set(kinds(made)) & {CordonNode.KIND, DrainNode.KIND, EvictPods.KIND}:
        assert all(other.is_ready for other in others)
        fit = [other for other in others if not other.unschedulable]
        assert 100 * len(fit) >= POLICY.min_healthy_percent * (len(others) + 1)
        assert not any(other.unschedulable and CORDONED_BY in other.meta.annotations for other in others)
    if UncordonNode.KIND in kinds(made):
        assert UncordonNode.from_json(made.actions[-1].arguments).well_for == POLICY.hold
        assert CordonNode.KIND in kinds(made) or CORDONED_BY in this.meta.annotations
    if made.goal != NOTHING_TO_DO and not made.actions:
        assert made.refusals or made.proposals


@pytest.mark.hazard("octollm.NodeNotReady.r1.4")
def test_images_of_a_full_node_are_left_to_its_kubelet_or_to_the_tool_of_its_runtime() -> None:
    made = plan(seen(node(conditions=(DISK,))))

    (images,) = [proposal for proposal in made.proposals if "images" in proposal.title]
    assert images.title == "Remove unused images on n1: crictl rmi --prune"
    assert "docker" not in images.title + images.detail
    assert "The kubelet does this by itself" in images.reason
