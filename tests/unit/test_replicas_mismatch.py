"""Missing pods: a rollout at work is waited for, a bad release taken back, other troubles left alone."""

from __future__ import annotations

from typing import Any

import pytest

from nightshift.remediation.kubernetes.arguments import RolloutUndo
from nightshift.remediation.kubernetes.objects import Condition, ContainerStatus, Pod, Workload
from nightshift.remediation.kubernetes.replicas_planner import (
    NOTHING_TO_DO,
    ReplicasDiagnosis,
    findings_of,
    plan_missing_replicas,
    seconds_to_wait,
)
from nightshift.remediation.kubernetes.replicas_policy import ReplicasPolicy
from nightshift.remediation.kubernetes.rollback import Release, RollbackPolicy
from nightshift.remediation.kubernetes.scheduling import NoPlace, homeless
from nightshift.remediation.models import Plan, Target
from tests.unit.kubernetes_values import NOW, ago, deployment, node, pod, revision

TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", "web"))
POLICY = ReplicasPolicy(rollback=RollbackPolicy())
HISTORY = (revision(3, "new", made=900), revision(2, "good", made=90_000))
STUCK = (Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded"),)


def rolling(seconds: float, reason: str = "ReplicaSetUpdated") -> tuple[Condition, ...]:
    return (Condition(type="Progressing", status="True", reason=reason, heard_at=ago(seconds)),)


def unplaced(message: str, **more: Any) -> Pod:
    condition = Condition(type="PodScheduled", status="False", reason="Unschedulable", message=message)
    return pod("web-2-b", ready=False, node="", conditions=(condition,), phase="Pending", **more)


def waiting(reason: str) -> Pod:
    return pod("web-2-b", ready=False, statuses=(ContainerStatus(name="app", waiting_reason=reason),))


def plan(workload: Workload, *pods: Pod, **more: Any) -> Plan:
    release = Release(workload=workload, revisions=HISTORY)
    values: dict[str, Any] = {"missing_since": ago(800), **more}
    return plan_missing_replicas(TARGET, ReplicasDiagnosis(release=release, pods=pods, now=NOW, **values), POLICY)


LACKING = deployment(available=1, ready=1)


def test_all_pods_available_is_nothing_to_do() -> None:
    assert plan(deployment()).goal == NOTHING_TO_DO


@pytest.mark.parametrize(
    ("workload", "pods", "reason"),
    [
        (deployment(available=1, updated=1, conditions=rolling(60)), (), "it last moved 1m ago"),
        (deployment(available=1, paused=True), (), "is paused"),
        (deployment(available=1, generation=2), (), "newest specification"),
        (LACKING, (waiting("CrashLoopBackOff"),), "the runbook for crashing pods"),
        (
            LACKING,
            (unplaced("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."),),
            "the claim",
        ),
        (LACKING, (pod(ready=False, node="n7"),), "the node is the trouble"),
    ],
)
def test_what_is_waited_for_or_repaired_elsewhere(workload: Workload, pods: tuple[Pod, ...], reason: str) -> None:
    made = plan(workload, *pods, nodes=(node("n7", ready="Unknown"),))

    assert made.actions == ()
    assert made.proposals == ()
    assert reason in made.refusals[0].reason


@pytest.mark.parametrize(
    ("conditions", "seconds"),
    [(rolling(60), 540), (rolling(700), 0), (rolling(60, "NewReplicaSetAvailable"), 0), ((), 0)],
)
def test_a_rollout_is_given_the_rest_of_its_deadline(conditions: tuple[Condition, ...], seconds: float) -> None:
    release = Release(workload=deployment(available=1, conditions=conditions), revisions=HISTORY)

    assert seconds_to_wait(ReplicasDiagnosis(release=release, now=NOW), POLICY) == seconds


@pytest.mark.parametrize("conditions", [rolling(700), rolling(60, "NewReplicaSetAvailable")])
def test_a_rollout_that_does_not_move_is_not_waited_for(conditions: tuple[Condition, ...]) -> None:
    made = plan(deployment(available=1, conditions=conditions))

    assert made.refusals == ()
    assert "Look at web" in made.proposals[0].title


@pytest.mark.parametrize(
    ("workload", "pods"),
    [(deployment(available=1, updated=1, conditions=STUCK), ()), (LACKING, (waiting("ImagePullBackOff"),))],
)
def test_a_release_that_never_came_up_is_taken_back(workload: Workload, pods: tuple[Pod, ...]) -> None:
    assert [action.kind for action in plan(workload, *pods).actions] == [RolloutUndo.KIND]


def test_an_image_that_vanished_long_after_the_release_is_named_for_people() -> None:
    made = plan(LACKING, waiting("ImagePullBackOff"), missing_since=ago(2000))

    assert made.actions == ()
    assert "Check that the image exists" in made.proposals[0].title


def test_without_room_nothing_is_rolled_back() -> None:
    said = "0/3 nodes are available: 2 Insufficient cpu, 1 Insufficient memory."
    made = plan(deployment(available=1, updated=1, conditions=STUCK), unplaced(said))

    assert made.actions == ()
    assert made.proposals[0].title == "Add a node, or reduce requests: 1 pod without a node, short of cpu, memory"


def test_a_quota_that_refuses_pods_is_named() -> None:
    failure = Condition(type="ReplicaFailure", status="True", reason="FailedCreate", message="exceeded quota: `q`")
    made = plan(deployment(available=1, conditions=(failure,)))

    assert made.actions == ()
    assert made.proposals[0].detail == "FailedCreate: exceeded quota: \\x60q\\x60"


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("0/5 nodes are available: 5 Insufficient memory.", NoPlace.ROOM),
        ("0/5 nodes are available: 5 Too many pods.", NoPlace.ROOM),
        ("0/1 nodes are available: 1 node(s) had volume node affinity conflict.", NoPlace.VOLUME),
        ("1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }.", NoPlace.NODE_DOWN),
        ("1 node(s) didn't match Pod's node affinity/selector.", NoPlace.RULES),
        ("1 node(s) had untolerated taint {dedicated: db}.", NoPlace.RULES),
        ("something new", NoPlace.UNKNOWN),
    ],
)
def test_why_a_pod_has_no_node(message: str, why: NoPlace) -> None:
    found = homeless(unplaced(message))

    assert found is not None
    assert found.why is why
    assert homeless(pod()) is None


def test_findings_count_what_is_missing() -> None:
    release = Release(workload=LACKING)
    found = findings_of(ReplicasDiagnosis(release=release, pods=(unplaced("5 Insufficient cpu"),), now=NOW))

    assert found[0].title == "1 of 2 pods available"
    assert found[1].title == "shop/web-2-b has no node: room"
