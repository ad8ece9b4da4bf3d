"""What is done about files that wait: nobody works, tests are slow, the host is full, or more workers within bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.remediation.file_queues.facts import QueueDiagnosis, QueueLook
from nightshift.remediation.file_queues.planner import findings_of, plan_queue
from nightshift.remediation.file_queues.policy import FileQueuePolicy
from nightshift.remediation.file_queues.verification import judge_queue
from nightshift.remediation.models import Plan, Target
from nightshift.remediation.program_settings.arguments import UpdateSetting
from nightshift.remediation.program_settings.planning import SettingSeen

TARGET = Target(system="test_watcher", path=("host", "web1", "service", "watcher"))
WORKERS: dict[str, Any] = {
    "setting": {
        "type": "file",
        "host": "web1",
        "file": "/srv/.env",
        "key": "WATCHER_WORKERS",
        "service": {"name": "watcher.service"},
    },
    "floor": 1,
    "ceiling": 8,
    "factor": 1.5,
    "back_after": "1d",
}
DECLARED: dict[str, Any] = {
    "services": {"watcher": {"name": "watcher.service"}},
    "prometheus": "prometheus",
    "project": "web1:backend",
    "workers": WORKERS,
    "keeps_queue": True,
}


def policy(**changes: Any) -> FileQueuePolicy:
    return FileQueuePolicy.model_validate({**DECLARED, **changes})


def seen(waiting: float | None = 25, workers: str | None = "4", **changes: Any) -> QueueDiagnosis:
    known: dict[str, Any] = {
        "queue": QueueLook(now=1_000_000, waiting=waiting, complaint="" if waiting is not None else "no answer"),
        "p95": 30,
        "state": "running",
        "cpu_percent": 20,
        "memory_percent": 30,
        "workers": SettingSeen(value=workers),
    }
    return QueueDiagnosis.model_validate({**known, **changes})


def words(plan: Plan) -> str:
    return "\n".join(
        [
            *(f"{one.title} | {one.detail} | {one.reason}" for one in plan.proposals),
            *(f"{one.what} | {one.reason} | {one.lifted_by}" for one in plan.refusals),
        ]
    )


def test_workers_are_added_by_one_step_where_the_host_has_room() -> None:
    (action,) = plan_queue(TARGET, seen(), policy()).actions
    arguments = UpdateSetting.from_json(action.arguments)

    assert (arguments.was, arguments.value, arguments.floor, arguments.ceiling) == ("4", "6", 1, 8)
    assert action.title.startswith("Let 6 workers instead of 4 test files")
    assert "25 files wait" in action.reason
    assert action.asks == ""


def test_a_restart_that_forgets_what_waits_is_a_persons_decision_in_any_mode() -> None:
    (action,) = plan_queue(TARGET, seen(), policy(keeps_queue=False)).actions
    assert "tested only when it is changed again" in action.asks


@pytest.mark.parametrize(
    ("diagnosis", "said"),
    [
        (seen(state="failed"), "nobody works: the service is failed | nightshift run host-service-unresponsive"),
        (seen(state=""), "nobody works: the service is not there"),
        (seen(waiting=None, state="stopped"), "nobody works"),
        (seen(waiting=None), "how many files wait is not known: no answer"),
        (seen(cpu_percent=91), "91 % of the CPUs are in use, at most 70 % may be"),
        (seen(memory_percent=90), "90 % of the memory is in use"),
        (seen(cpu_percent=None, host_complaint="no python3"), "whether the host has room is not known: no python3"),
        (seen(workers="8"), "their setting is 8, and it may be from 1 to 8"),
        (seen(workers="12"), "their setting is 12"),
        (seen(workers="many"), "their setting is many"),
        (seen(workers=None), "their setting is not there"),
    ],
)
def test_what_speaks_against_more_workers_is_said_and_nothing_is_changed(diagnosis: QueueDiagnosis, said: str) -> None:
    plan = plan_queue(TARGET, diagnosis, policy())

    assert plan.actions == ()
    assert said in words(plan)


def test_a_setting_that_cannot_be_read_is_not_changed() -> None:
    plan = plan_queue(
        TARGET, seen().model_copy(update={"workers": SettingSeen(complaint="there is no file")}), policy()
    )

    assert plan.actions == ()
    assert "there is no file" in words(plan)


def test_without_a_declared_setting_more_workers_are_proposed() -> None:
    plan = plan_queue(TARGET, seen().model_copy(update={"workers": None}), policy(workers=None))

    assert plan.actions == ()
    assert "which setting says how many is not declared" in words(plan)
    assert "20 % of the CPUs and 30 % of the memory in use" in words(plan)


def test_workers_are_added_once_for_an_incident() -> None:
    plan = plan_queue(TARGET, seen(), policy(), raised=True)

    assert plan.actions == ()
    assert "some were added for this incident already" in words(plan)


def test_slow_tests_are_led_to_the_flow_that_names_them() -> None:
    plan = plan_queue(TARGET, seen(p95=300), policy())

    assert "nightshift run test-suite-quality --system test_watcher --target web1:backend says which" in words(plan)
    assert "5m" in words(plan)
    assert len(plan.actions) == 1, "there is room all the same"


def test_a_short_queue_is_left_alone() -> None:
    plan = plan_queue(TARGET, seen(waiting=10), policy())

    assert plan.goal == "Nothing to do: 10 files wait, 95 % take at most 30s."
    assert (plan.actions, plan.proposals, plan.refusals) == ((), (), ())


@given(
    st.one_of(st.none(), st.floats(0, 100)),
    st.one_of(st.none(), st.floats(0, 100)),
    st.one_of(st.none(), st.text(max_size=10), st.integers(-5, 99).map(str)),
    st.sampled_from(["running", "failed", ""]),
)
def test_no_plan_leaves_the_bounds_or_acts_on_a_full_host(
    cpu: float | None, memory: float | None, workers: str | None, state: str
) -> None:
    diagnosis = seen(workers=workers, state=state, cpu_percent=cpu, memory_percent=memory)

    plan = plan_queue(TARGET, diagnosis, policy())

    assert findings_of(diagnosis, policy())
    for action in plan.actions:
        assert cpu is not None
        assert memory is not None
        assert (cpu <= 70, memory <= 75, state) == (True, True, "running")
        assert 1 < float(str(action.arguments["value"])) <= 8


def looks(*waiting: float | None) -> list[QueueLook]:
    return [QueueLook(now=number, waiting=value) for number, value in enumerate(waiting)]


@pytest.mark.parametrize(
    ("waiting", "healthy", "said"),
    [
        ((25, 9, 9, 8), True, "short again: 25, then 8 files wait"),
        ((25, 9, 11, 8), False, "shrinks too slowly"),
        ((25, 30, 31), False, "does not shrink"),
        ((25, None), False, "cannot be told"),
        ((), False, "cannot be told"),
    ],
)
def test_only_a_queue_that_stays_short_is_solved(waiting: tuple[float | None, ...], healthy: bool, said: str) -> None:
    verdict = judge_queue(looks(*waiting), policy())

    assert verdict.healthy is healthy
    assert said in verdict.reason


@pytest.mark.parametrize(
    "wrong", [{"factor": 0.5}, {"floor": 9}, {"setting": {**WORKERS["setting"], "key": "API_KEY"}}]
)
def test_a_setting_that_must_not_be_changed_so_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(workers={**WORKERS, **wrong})
