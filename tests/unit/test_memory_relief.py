"""A container killed for memory gets more within its ceiling, unless it leaks or is not its own trouble."""

from __future__ import annotations

from typing import Any

import pytest

from nightshift.remediation.kubernetes.arguments import RolloutRestart, SetResources
from nightshift.remediation.kubernetes.crash_diagnosis import CrashDiagnosis
from nightshift.remediation.kubernetes.crash_policy import MemoryPolicy
from nightshift.remediation.kubernetes.memory_planner import (
    NOTHING_TO_DO,
    MemoryDiagnosis,
    findings_of,
    plan_memory_relief,
)
from nightshift.remediation.kubernetes.memory_policy import PodMemoryPolicy
from nightshift.remediation.kubernetes.objects import Container, ContainerStatus, Resources, Termination
from nightshift.remediation.kubernetes.rollback import Release
from nightshift.remediation.kubernetes.saturation import Use
from nightshift.remediation.models import Plan, Target
from tests.unit.kubernetes_values import NOW, deployment, node, pod

TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "pod", "web-1-a"))
MIB, HOUR = 2**20, 3600.0
POLICY = PodMemoryPolicy(memory=MemoryPolicy(ceiling=1024 * MIB))
LEAK = tuple(Use(at=n * HOUR / 4, amount=(100 + 30 * n) * MIB) for n in range(12))
SPIKE = tuple(Use(at=n * HOUR / 4, amount=200 * MIB) for n in range(12))


def seen(*uses: Use, limit: int = 512 * MIB, reason: str = "OOMKilled", **more: Any) -> MemoryDiagnosis:
    status = ContainerStatus(
        name="app", ready=True, restarts=1, last_termination=Termination(exit_code=137, reason=reason)
    )
    app = Container(name="app", limits=Resources(memory_bytes=limit))
    values: dict[str, Any] = {"release": Release(workload=deployment()), "node": node(), "now": NOW, **more}
    crash = CrashDiagnosis(pod=pod(statuses=(status,), containers=(app,)), **values)
    return MemoryDiagnosis(crash=crash, uses=uses)


def plan(diagnosis: MemoryDiagnosis, **policy: Any) -> Plan:
    return plan_memory_relief(TARGET, diagnosis, POLICY.model_copy(update=policy))


@pytest.mark.hazard("cryptofunk.HighMemoryUsage.r1.2")
@pytest.mark.parametrize("uses", [(), SPIKE])
def test_a_spike_gets_a_larger_limit(uses: tuple[Use, ...]) -> None:
    (action,) = plan(seen(*uses)).actions

    assert SetResources.from_json(action.arguments).memory_limit_bytes == 768 * MIB


def test_a_leak_goes_to_a_person_or_is_restarted_where_the_policy_says_so() -> None:
    made = plan(seen(*LEAK))

    assert made.actions == ()
    assert "heap profile" in made.proposals[0].title
    assert [action.kind for action in plan(seen(*LEAK), restart_leaking=True).actions] == [RolloutRestart.KIND]


@pytest.mark.parametrize(
    ("diagnosis", "reason"),
    [
        (seen(node=node(ready="Unknown")), "the node is the trouble"),
        (seen(release=None), "no workload that can be changed"),
        (seen(limit=256 * MIB), "this pod is older"),
        (seen(kills_last_hour=4), "4 kills within an hour"),
        (seen(memory_left_on_node=MIB), "its node has no room"),
    ],
)
def test_what_keeps_a_limit_as_it_is(diagnosis: MemoryDiagnosis, reason: str) -> None:
    made = plan(diagnosis)

    assert made.actions == ()
    assert reason in made.refusals[0].reason


def test_another_end_is_nothing_to_do() -> None:
    assert plan(seen(reason="Error")).goal == NOTHING_TO_DO
    assert [finding.troubling for finding in findings_of(seen(reason="Error"))] == [False]


def test_the_kill_and_the_use_are_told() -> None:
    first, second = findings_of(seen(*LEAK))

    assert first.title == "Container app was killed for memory, 1 restart"
    assert "100.0 MiB" in second.title
