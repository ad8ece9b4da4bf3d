"""What may be done about Celery workers and their queues."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.caches.objects import Silence
from nightshift.remediation.clients.celery_workers import broker_url, taken_in
from nightshift.remediation.compose.objects import Container, Image, ServiceLook, Usage
from nightshift.remediation.models import Plan, Risk, Target
from nightshift.remediation.workers.backlog import plan_backlog
from nightshift.remediation.workers.failures import failures_in, findings_of, judge_failures, plan_failures
from nightshift.remediation.workers.objects import Message, Worker, WorkersDiagnosis
from nightshift.remediation.workers.policy import JobFailurePolicy, QueueBacklogPolicy, WorkerUnavailablePolicy
from nightshift.remediation.workers.repairing import NOTHING_TO_DO, plan_workers
from nightshift.remediation.workers.verification import judge_workers

GIB = 2**30
TARGET = Target(system="shop", path=("compose", "main", "service", "celery"))
CONTAINER = Container(
    id="c1" * 32,
    name="shop-celery-1",
    service="celery",
    number=1,
    image="shop/worker:2",
    image_id="i2",
    state="running",
)
ENDED = replace(CONTAINER, state="exited", exit_code=1)
BROKER = replace(
    CONTAINER,
    id="b" * 64,
    name="shop-redis-1",
    service="redis",
    state="exited",
    exit_code=137,
    command=("redis-server", "--appendonly", "yes"),
    volumes=("/data",),
)
IMAGES = (Image(id="i2", tags=("shop/worker:2",), created=2.0), Image(id="i1", tags=("shop/worker:1",), created=1.0))
WORKER = Worker(name="celery@c1c1c1c1c1c1", processes=2, active=2)
SILENT = Silence(why="The Redis server broker does not answer.")
DEADLY = Message(queue="celery", task="shop.deadly", id="t1", redelivered=True, size=100, taken=3)


def service(*containers: Container, tagged: str = "i2") -> ServiceLook:
    return ServiceLook(service="celery", containers=containers, images=IMAGES, tagged=tagged)


def diagnosis(**changes: Any) -> WorkersDiagnosis:
    seen = {
        "service": service(CONTAINER),
        "workers": (WORKER,),
        "queues": {"celery": 5000},
        "usages": {CONTAINER.id: Usage(memory=GIB, memory_limit=8 * GIB, cpus=1.0)},
        "host_cpus": 4,
        "host_memory": 8 * GIB,
    }
    return WorkersDiagnosis(engine="main", **(seen | changes))


def plan(**changes: Any) -> Plan:
    policy = WorkerUnavailablePolicy.model_validate({"broker": "redis", "broker_service": "redis"})
    return plan_workers(TARGET, diagnosis(**changes), policy)


def backlog(**changes: Any) -> Plan:
    policy = QueueBacklogPolicy.model_validate({"broker": "redis", "most_waiting": 1000, "ceiling": 3})
    return plan_backlog(TARGET, diagnosis(**changes), policy)


def kinds(found: Plan) -> list[str]:
    return [action.kind for action in found.actions]


def test_workers_that_answer_are_left_alone() -> None:
    assert plan().goal == NOTHING_TO_DO


@pytest.mark.hazard("bybit_strategy_tester.CeleryWorkersDown.r1.1")
def test_only_the_worker_that_does_not_answer_is_restarted() -> None:
    other = replace(CONTAINER, id="d" * 64, name="shop-celery-2", number=2)

    (action,) = plan(service=service(CONTAINER, other)).actions

    assert action.kind == "restart_container"
    assert action.arguments["container"] == other.id
    assert action.impact is not None
    assert action.impact.how_much == "lost unless they acknowledge late"
    assert "0 tasks taken and not finished" in action.impact.users


def test_workers_with_names_of_their_own_are_not_guessed_at() -> None:
    other = replace(CONTAINER, id="d" * 64, name="shop-celery-2", number=2)

    assert plan(service=service(CONTAINER, other), workers=(Worker(name="celery@a"),)).actions == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["restart_container"]),
        ({"service": service(ENDED, tagged="i3")}, ["recreate_container"]),
        ({"service": service(replace(ENDED, restarts=5))}, ["roll_back_container"]),
        ({"service": service(replace(ENDED, restarts=5, oom_killed=True))}, ["restart_container"]),
        ({"head": (DEADLY,)}, ["set_messages_aside", "restart_container"]),
        ({"head": (replace(DEADLY, taken=1), replace(DEADLY, redelivered=False))}, ["restart_container"]),
        ({"service": service()}, []),
    ],
)
def test_a_worker_that_ended_is_started_as_it_should_be(changes: dict[str, Any], expected: list[str]) -> None:
    assert kinds(plan(**({"service": service(ENDED), "workers": ()} | changes))) == expected


def test_a_release_that_ends_again_and_again_is_taken_back_by_a_person_only() -> None:
    (action,) = plan(service=service(replace(ENDED, restarts=5)), workers=()).actions

    assert action.asks
    assert action.risk is Risk.HIGH


def test_a_worker_is_not_restarted_while_its_broker_is_somewhere_else_and_silent() -> None:
    found = plan(broker_silence=SILENT, workers=())

    assert found.actions == ()
    assert "redis-unavailable" in (found.refusals[0].lifted_by or "")


def test_how_many_tasks_wait_is_not_claimed_where_the_broker_is_silent() -> None:
    assert backlog(broker_silence=SILENT, workers=()).goal.endswith("; how many do, its broker does not say")


@pytest.mark.hazard("bybit_strategy_tester.CeleryWorkersDown.r2.1")
@pytest.mark.parametrize(("command", "asks"), [(BROKER.command, False), (("redis-server", "--save", ""), True)])
def test_the_broker_comes_first_and_by_a_person_where_it_loses_its_queues(command: tuple[str, ...], asks: bool) -> None:
    look = ServiceLook(service="redis", containers=(replace(BROKER, command=command),), tagged="i2")

    found = plan(broker_silence=SILENT, broker_service=look, workers=())

    assert [action.arguments["name"] for action in found.actions] == ["shop-redis-1", "shop-celery-1"]
    assert bool(found.actions[0].asks) is asks


def test_a_task_is_named_without_its_arguments() -> None:
    hostile = replace(DEADLY, task="[x](http://evil) `rm`")

    (action, _) = plan(service=service(ENDED), workers=(), head=(hostile,)).actions

    assert "[x]" not in action.title
    assert action.arguments["messages"] == ["t1"]
    assert "nothing is deleted" in action.undo


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"workers": (replace(WORKER, active=0),)}, "only 0 of 2 processes work"),
        ({"usages": {CONTAINER.id: Usage(memory=GIB, memory_limit=0, cpus=3.5)}}, "3.5 of 4 processors"),
        ({"usages": {CONTAINER.id: Usage(memory=4 * GIB, memory_limit=0, cpus=1)}}, "nearly all memory"),
        ({"host_cpus": 0}, "not known"),
        ({"workers": (replace(WORKER, longest=4000),)}, "take so long"),
        ({"service": service(replace(CONTAINER, host_ports=(80,)))}, "port 80"),
    ],
)
def test_where_another_worker_would_not_help_none_is_added(changes: dict[str, Any], said: str) -> None:
    found = backlog(**changes)

    assert found.actions == ()
    assert said in " ".join([*(r.reason for r in found.refusals), *(p.title for p in found.proposals)])


@given(waiting=st.integers(0, 10**6), there=st.integers(1, 5))
def test_workers_are_added_up_to_the_ceiling_and_never_removed(waiting: int, there: int) -> None:
    containers = [replace(CONTAINER, id=f"{n}" * 64, name=f"shop-celery-{n}", number=n) for n in range(1, there + 1)]
    workers = tuple(replace(WORKER, name=f"celery@{one.short_id}") for one in containers)

    found = backlog(service=service(*containers), workers=workers, queues={"celery": waiting})

    assert set(kinds(found)) <= {"scale_service"}
    for action in found.actions:
        assert waiting > 1000
        assert there < int(str(action.arguments["to_replicas"])) <= 3


@pytest.mark.parametrize(
    ("lengths", "most", "healthy"),
    [
        ((9000, 8000, 7000), 1000, True),
        ((9000, 9000, 9000), 1000, False),
        ((900, 950, 980), 1000, True),
        ((9, 10, 11), None, False),
        ((9, 9, 9), None, True),
    ],
)
def test_the_repair_helped_when_the_queue_shrinks(lengths: tuple[int, ...], most: int | None, healthy: bool) -> None:
    looks = [diagnosis(queues={"celery": length}) for length in (*lengths, *lengths)]

    assert judge_workers(looks, most).healthy is healthy


def test_a_worker_that_is_gone_again_is_no_success() -> None:
    looks = [diagnosis()] * 5 + [diagnosis(workers=())]

    assert not judge_workers(looks).healthy


def test_how_often_a_task_was_taken_is_read_from_the_log() -> None:
    taken = "Task shop.deadly[t1] received\n" * 3

    assert taken_in(taken, "t1") == 3
    assert taken_in(taken + "Task shop.deadly[t1] succeeded in 1s", "t1") == 0
    assert taken_in(taken, ".*") == 0


def test_a_socket_is_written_as_celery_writes_it() -> None:
    assert broker_url("unix:///run/redis?db=3") == "redis+socket:///run/redis?virtual_host=3"
    assert broker_url("rediss://u:p@host/1") == "rediss://u:p@host/1"


def ended(succeeded: int, *failed: tuple[str, str, int]) -> str:
    good = ["[INFO/X] Task shop.good[a-1] succeeded in 0.1s: None"] * succeeded
    bad = [
        f"[ERROR/X] Task {task}[b-2] raised unexpected: {error}" for task, error, many in failed for _ in range(many)
    ]
    return "\n".join([*good, *bad])


FAILING = JobFailurePolicy.model_validate({"broker": "redis"})


@pytest.mark.parametrize(
    ("log", "changes", "actions", "said"),
    [
        (ended(99, ("shop.a", "ValueError('x')", 1)), {}, [], "1% of the tasks fail now"),
        (ended(2, ("shop.a", "ValueError('x')", 2)), {}, [], "that says nothing"),
        (ended(5, ("shop.a", "OSError(28, 'No space left on device')", 9)), {}, [], "disk-space-reclaim"),
        (ended(5, ("a", "ConnectionError('x')", 5), ("b", "OperationalError('x')", 5)), {}, [], "connect to"),
        (ended(50, ("shop.a", "KeyError('x')", 20)), {}, [], "Show the errors of shop.a"),
        (ended(5, ("shop.a", "ImportError('x')", 20)), {}, ["roll_back_container"], "Tasks succeed"),
        ("Received unregistered task of type 'shop.new'.\n" * 12, {}, ["roll_back_container"], "Tasks succeed"),
        (
            ended(5, ("shop.a", "ImportError('x')", 20)),
            {"service": service(CONTAINER, tagged="i3")},
            ["recreate_container"],
            "Tasks succeed",
        ),
        (ended(5, ("a", "KeyError('x')", 9), ("b", "ValueError('x')", 9)), {}, ["restart_container"], "Tasks succeed"),
        (ended(0, ("a", "KeyError('x')", 20)), {"workers": ()}, ["restart_container"], "Tasks succeed"),
    ],
)
def test_a_restart_is_the_last_choice_for_tasks_that_fail(
    log: str, changes: dict[str, Any], actions: list[str], said: str
) -> None:
    found = plan_failures(TARGET, diagnosis(**changes), failures_in(log), FAILING)

    assert kinds(found) == actions
    told = [found.expected, *(p.title for p in found.proposals), *(r.reason for r in found.refusals)]
    assert any(said in text for text in told)
    assert all(action.asks for action in found.actions if action.kind == "roll_back_container")


def test_messages_of_errors_are_not_shown() -> None:
    failures = failures_in(ended(0, ("shop.a", "KeyError('hunter2')", 3)))

    assert "hunter2" not in str(list(findings_of(failures)))


@pytest.mark.parametrize(
    ("after", "healthy", "inconclusive"),
    [
        (ended(99, ("a", "KeyError()", 1)), True, False),
        (ended(5, ("a", "KeyError()", 9)), False, False),
        ("", False, True),
    ],
)
def test_the_repair_helped_when_tasks_succeed(after: str, healthy: bool, inconclusive: bool) -> None:
    verdict = judge_failures(failures_in(ended(0, ("a", "KeyError()", 9))), failures_in(after), FAILING)

    assert (verdict.healthy, verdict.inconclusive) == (healthy, inconclusive)
