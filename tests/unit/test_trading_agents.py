"""Agents and sessions that stopped: what they need first, one restart, and when only a person decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nightshift.remediation.http_probes import ProbeAnswer
from nightshift.remediation.kubernetes.arguments import RolloutRestart, RolloutUndo, SetResources
from nightshift.remediation.kubernetes.crash_diagnosis import CrashDiagnosis
from nightshift.remediation.kubernetes.crash_policy import MemoryPolicy
from nightshift.remediation.kubernetes.objects import Container, ContainerStatus, Resources, Termination
from nightshift.remediation.kubernetes.pods_verification import PodsSample
from nightshift.remediation.kubernetes.rollback import Release, RollbackPolicy
from nightshift.remediation.kubernetes.saturation import Use
from nightshift.remediation.models import Plan, Target
from nightshift.remediation.trading_agents.facts import (
    AgentDiagnosis,
    AgentRow,
    DatabaseSeen,
    NeedSeen,
    PodsSeen,
    SessionSeen,
)
from nightshift.remediation.trading_agents.planner import NOTHING_TO_DO, plan_agent
from nightshift.remediation.trading_agents.policy import AgentUnavailablePolicy, SessionRule
from nightshift.remediation.trading_agents.verification import AgentSample, judge_agent
from tests.unit.kubernetes_values import NOW, ago, deployment, node, pod, revision, template

TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", "web"))
MIB = 2**20
POLICY = AgentUnavailablePolicy(
    database="database",
    prometheus="prometheus",
    memory=MemoryPolicy(ceiling=1024 * MIB),
    cpu_ceiling_millicores=2000,
    rollback=RollbackPolicy(within=3600),
    hold=60,
)
SESSION = POLICY.model_copy(update={"session": SessionRule(halt_drawdown_percent=10)})
SILENT = AgentRow(name="web", status="ACTIVE", heartbeat_age=900)
ALIVE = AgentRow(name="web", status="ACTIVE", heartbeat_age=3)
CRASHED = (
    ContainerStatus(
        name="app", waiting_reason="CrashLoopBackOff", restarts=5, last_termination=Termination(exit_code=1)
    ),
)


def seen(
    *rows: AgentRow, pods: dict[str, Any] | None = None, database: dict[str, Any] | None = None, **more: Any
) -> AgentDiagnosis:
    """A Deployment with one ready pod, whose agent has been silent for long, but for what is said."""
    one = pod(started_at=ago(7200))
    values: dict[str, Any] = {
        "release": Release(workload=deployment(replicas=1)),
        "pods": (one,),
        "crash": CrashDiagnosis(pod=one, node=node(), now=NOW),
        "now": NOW,
        **(pods or {}),
    }
    return AgentDiagnosis(
        pods=PodsSeen(**values), database=DatabaseSeen(agents=rows or (SILENT,), **(database or {})), **more
    )


def plan(diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy = POLICY) -> Plan:
    return plan_agent(TARGET, diagnosis, policy)


def need(complaint: str = "", **more: Any) -> NeedSeen:
    return NeedSeen(answer=ProbeAnswer(name="LLM gateway", complaint=complaint), **more)


def test_an_agent_that_lives_is_left_alone() -> None:
    assert plan(seen(ALIVE)).goal == NOTHING_TO_DO


@pytest.mark.hazard("cryptofunk.AgentDown.d2")
@pytest.mark.parametrize("row", [SILENT, AgentRow(name="web", status="ERROR", heartbeat_age=3)])
def test_one_that_is_silent_or_not_active_is_restarted_when_what_it_needs_works(row: AgentRow) -> None:
    (action,) = plan(seen(row, needs=(need(),))).actions

    assert (action.kind, action.asks) == (RolloutRestart.KIND, "")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"needs": (need("answered 503"),)}, "LLM gateway answered 503"),
        ({"needs": (need(key_refused=3, says="401"),)}, "its provider refuses its key (3 times of late)"),
        ({"database": {"complaint": "database did not answer."}}, "the database database: database did not answer"),
        ({"database": {"used_percent": 99}}, "99 % of its connections in use"),
    ],
)
def test_what_it_needs_comes_first(more: dict[str, Any], reason: str) -> None:
    made = plan(seen(**more))

    assert made.actions == ()
    assert reason in made.refusals[0].reason


def test_two_lines_about_a_key_are_an_accident() -> None:
    assert [one.kind for one in plan(seen(needs=(need(key_refused=2),))).actions] == [RolloutRestart.KIND]


@pytest.mark.parametrize(
    "diagnosis",
    [
        seen(restarted=True),
        seen(
            pods={
                "release": Release(
                    workload=deployment(
                        template=template(annotations={"kubectl.kubernetes.io/restartedAt": ago(600).isoformat()})
                    )
                )
            }
        ),
    ],
)
def test_a_restart_that_did_not_help_is_not_made_again(diagnosis: AgentDiagnosis) -> None:
    made = plan(diagnosis)

    assert made.actions == ()
    assert "that did not help" in made.refusals[0].reason
    assert made.proposals


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        ({"release": Release(workload=deployment(replicas=0))}, "somebody scaled it to nothing"),
        ({"release": Release(workload=deployment(paused=True))}, "is paused"),
        ({"crash": CrashDiagnosis(pod=pod(), node=node(ready="Unknown"), now=NOW)}, "the node is the trouble"),
    ],
)
def test_what_keeps_it_as_it_is(pods: dict[str, Any], reason: str) -> None:
    made = plan(seen(pods=pods))

    assert made.actions == ()
    assert reason in made.refusals[0].reason


def test_one_that_was_killed_gets_more_memory_instead_of_a_restart() -> None:
    status = ContainerStatus(name="app", restarts=1, last_termination=Termination(exit_code=137, reason="OOMKilled"))
    app = Container(name="app", limits=Resources(memory_bytes=512 * MIB))
    release = Release(workload=deployment())
    crash = CrashDiagnosis(pod=pod(statuses=(status,), containers=(app,)), release=release, node=node(), now=NOW)

    (action,) = plan(seen(pods={"release": release, "crash": crash})).actions

    assert SetResources.from_json(action.arguments).memory_limit_bytes == 768 * MIB


def test_one_that_is_held_back_gets_more_cpu() -> None:
    release = Release(workload=deployment(template=template(limits=Resources(cpu_millicores=500))))
    cpu = {"cpu": Use(at=0, amount=490), "cpu_container": "app", "throttled_percent": 60.0}

    (action,) = plan(seen(pods={"release": release, **cpu})).actions

    assert SetResources.from_json(action.arguments).cpu_limit_millicores == 750


def test_a_crash_since_a_release_goes_back_only_as_a_person_decides() -> None:
    release = Release(
        workload=deployment(revision=3), revisions=(revision(2, "old", made=90_000), revision(3, "new", made=600))
    )
    crashing = pod(ready=False, statuses=CRASHED)
    crash = CrashDiagnosis(pod=crashing, node=node(), crashing_since=ago(500), now=NOW)

    (action,) = plan(seen(pods={"release": release, "pods": (crashing,), "crash": crash})).actions

    assert action.kind == RolloutUndo.KIND
    assert "Is it the release?" in action.asks


@pytest.mark.hazard("cryptofunk.TradingSessionFailure.r1.1")
@pytest.mark.parametrize(
    ("session", "asks"),
    [
        ({}, ""),
        ({"open_orders": 1}, "1 order open"),
        ({"open_positions": 2}, "2 positions open"),
        ({"drawdown_percent": 10}, "reached its loss limit (drawdown 10.0 %)"),
        ({"halted": True}, "trading is halted"),
        ({"halted": None}, "whether trading is halted is not known"),
    ],
)
def test_a_person_decides_about_a_session_when_something_is_open_or_halted(session: dict[str, Any], asks: str) -> None:
    latest = SessionSeen(id="s1", age=9000, **session)

    (action,) = plan(seen(database={"session": latest}), SESSION).actions

    assert (asks in action.asks) if asks else not action.asks


def test_a_session_that_began_after_its_pod_is_well_and_one_may_still_begin_while_the_pod_is_young() -> None:
    assert plan(seen(database={"session": SessionSeen(id="s1", age=7000)}), SESSION).goal == NOTHING_TO_DO
    young = seen(pods={"pods": (pod(started_at=ago(60)),)}, database={"session": SessionSeen(id="s1", age=9000)})
    assert plan(young, SESSION).goal == NOTHING_TO_DO


def test_a_container_that_began_after_the_latest_session_has_none_and_one_that_keeps_ending_is_not_well() -> None:
    again = ContainerStatus(name="app", ready=True, restarts=1, running_since=ago(600))
    since = seen(
        pods={"pods": (pod(started_at=ago(7200), statuses=(again,)),)},
        database={"session": SessionSeen(id="s1", age=7000)},
    )
    assert [one.kind for one in plan(since, SESSION).actions] == [RolloutRestart.KIND]

    ended = Termination(exit_code=1, finished_at=ago(60))
    ends = pod(statuses=(ContainerStatus(name="app", ready=True, restarts=4, last_termination=ended),))
    assert "started again 4 times" in plan(seen(ALIVE, pods={"pods": (ends,)})).actions[0].reason


def looks(database: DatabaseSeen, *, at: tuple[float, ...] = (0, 30, 60), pods_age: float = 100) -> list[AgentSample]:
    return [
        AgentSample(at=when, pods=PodsSample(at=when, pods=(pod(),)), pods_age=pods_age, database=database, name="web")
        for when in at
    ]


def test_a_fresh_heartbeat_that_holds_is_success_and_one_from_before_the_restart_is_none() -> None:
    alive = DatabaseSeen(agents=(ALIVE,), signals_last_hour=4)

    verdict = judge_agent(looks(alive), POLICY)
    assert verdict.healthy
    assert "4 signals in an hour" in verdict.reason
    assert not judge_agent(looks(alive, pods_age=2), POLICY).healthy
    assert not judge_agent(looks(DatabaseSeen(agents=(SILENT,))), POLICY).healthy
    assert judge_agent(looks(DatabaseSeen(complaint="gone")), POLICY).inconclusive


def test_a_session_counts_when_it_began_after_its_pod() -> None:
    assert judge_agent(looks(DatabaseSeen(session=SessionSeen(id="s2", age=50))), SESSION).healthy
    assert not judge_agent(looks(DatabaseSeen(session=SessionSeen(id="s1", age=500))), SESSION).healthy


def test_a_pod_that_restarted_meanwhile_is_no_success() -> None:
    samples = looks(DatabaseSeen(agents=(ALIVE,)))
    again = pod(statuses=(ContainerStatus(name="app", ready=True, restarts=1),))

    samples[-1] = replace(samples[-1], pods=PodsSample(at=60, pods=(again,)))

    assert not judge_agent(samples, POLICY).healthy
