"""A workload at its limit: more room within ceilings, more pods where nobody else counts them, a person for a leak."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.kubernetes.arguments import RolloutRestart, ScaleWorkload, SetResources
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.crash_policy import MemoryPolicy
from nightshift.remediation.kubernetes.objects import Autoscaler, Container, Resources, WorkloadKind
from nightshift.remediation.kubernetes.saturation import (
    Saturated,
    SaturationPolicy,
    Use,
    relieve_cpu,
    relieve_memory,
)
from nightshift.remediation.models import Target
from tests.unit.kubernetes_values import deployment, meta

TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", "web"))
MIB, HOUR = 2**20, 3600.0
POLICY = SaturationPolicy(
    memory=MemoryPolicy(ceiling=1024 * MIB), cpu_ceiling_millicores=2000, most_replicas=5, restart_leaking=True
)
APP = Container(name="app", limits=Resources(memory_bytes=512 * MIB, cpu_millicores=500))
SPIKE = [Use(at=n * HOUR / 4, amount=(500 if n == 11 else 200) * MIB) for n in range(12)]
LEAK = [Use(at=n * HOUR / 4, amount=(100 + 35 * n) * MIB) for n in range(12)]
HPA = Autoscaler(meta=meta("web"), target_kind="Deployment", target_name="web", min_replicas=2, max_replicas=9)


def memory(uses: list[Use], policy: SaturationPolicy = POLICY, **more: Any) -> Changes:
    changes = Changes()
    values: dict[str, Any] = {"workload": deployment(), "container": APP, **more}
    relieve_memory(TARGET, Saturated(uses=uses, **values), policy, changes)
    return changes


def cpu(used: int, policy: SaturationPolicy = POLICY, **more: Any) -> Changes:
    changes = Changes()
    values: dict[str, Any] = {"workload": deployment(), "container": APP, **more}
    relieve_cpu(TARGET, Saturated(uses=[Use(at=0, amount=used)], **values), policy, changes)
    return changes


def kinds(changes: Changes) -> list[str]:
    return [action.kind for action in changes.actions]


def test_below_its_limit_nothing_is_done() -> None:
    assert memory(SPIKE[:-1]) == Changes()
    assert cpu(300) == Changes()
    assert memory([]) == Changes()


def test_a_spike_at_the_limit_gets_a_larger_one() -> None:
    (action,) = memory(SPIKE).actions

    assert SetResources.from_json(action.arguments).memory_limit_bytes == 768 * MIB


def test_a_leak_is_restarted_and_its_heap_looked_into_instead_of_giving_it_more() -> None:
    changes = memory(LEAK)

    assert kinds(changes) == [RolloutRestart.KIND]
    assert "Take a heap profile" in changes.proposals[0].title


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (memory(LEAK, workload=deployment(kind=WorkloadKind.STATEFUL_SET)), "it keeps state"),
        (memory(LEAK, SaturationPolicy()), "the policy does not allow it"),
        (memory(SPIKE, SaturationPolicy()), "nothing that may be raised"),
        (memory(SPIKE, kills_last_hour=9), "9 kills within an hour"),
    ],
)
def test_when_memory_is_left_to_people(changes: Changes, reason: str) -> None:
    assert changes.actions == []
    assert reason in changes.refusals[0].reason


@pytest.mark.parametrize("more", [{"nodes_full": True}, {"left_on_node": 0}])
def test_without_room_for_larger_limits_more_pods_share_the_work(more: dict[str, Any]) -> None:
    (action,) = memory(SPIKE, **more).actions

    arguments = ScaleWorkload.from_json(action.arguments)
    assert (arguments.from_replicas, arguments.to_replicas) == (2, 3)


@pytest.mark.hazard("octollm.HighErrorRate.r3.4")
def test_replicas_that_an_autoscaler_counts_are_its_own() -> None:
    changes = cpu(490, SaturationPolicy(most_replicas=9), autoscalers=[HPA])

    assert changes.actions == []
    assert "HorizontalPodAutoscaler web owns it" in changes.refusals[0].reason


def test_a_pod_at_its_cpu_limit_gets_more_up_to_the_ceiling() -> None:
    (action,) = cpu(490).actions

    assert SetResources.from_json(action.arguments).cpu_limit_millicores == 750


@pytest.mark.parametrize("policy", [SaturationPolicy(most_replicas=5), POLICY])
def test_without_room_on_its_node_it_is_scaled_out(policy: SaturationPolicy) -> None:
    assert kinds(cpu(490, policy, left_on_node=0)) == [ScaleWorkload.KIND]


def test_when_every_node_is_full_a_person_adds_one() -> None:
    changes = cpu(490, nodes_full=True)

    assert changes.actions == []
    assert changes.proposals[0].title == "Add nodes to the pool"


@pytest.mark.parametrize(
    ("replicas", "reason"), [(0, "somebody scaled it to nothing"), (5, "it has 5, and may have 5")]
)
def test_it_is_never_scaled_from_nothing_or_beyond_its_most(replicas: int, reason: str) -> None:
    changes = cpu(490, left_on_node=0, workload=deployment(replicas=replicas))

    assert changes.actions == []
    assert changes.refusals[0].reason == reason


@pytest.mark.hazard("cryptofunk.HighMemoryUsage.r1.2")
@given(st.integers(1, 4000), st.integers(0, 5000), st.integers(0, 12), st.sampled_from([None, 0, 10**9]))
@settings(max_examples=100)
def test_limits_only_grow_and_stay_below_their_ceilings(limit: int, used: int, replicas: int, left: int | None) -> None:
    container = Container(name="app", limits=Resources(cpu_millicores=limit))
    for action in cpu(used, container=container, left_on_node=left, workload=deployment(replicas=replicas)).actions:
        if action.kind == SetResources.KIND:
            new = SetResources.from_json(action.arguments).cpu_limit_millicores
            assert new is not None
            assert limit < new <= 2000
        else:
            arguments = ScaleWorkload.from_json(action.arguments)
            assert replicas < arguments.to_replicas <= 5
