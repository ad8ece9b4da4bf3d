"""Whose process it is, what may be done about it, and whether memory leaks."""

from __future__ import annotations

from dataclasses import replace
from posixpath import basename
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.remediation.clients.host_metrics import names_of
from nightshift.remediation.clients.host_probe.script import ending as probe
from nightshift.remediation.compose.objects import Container, ServiceLook, Usage
from nightshift.remediation.connections import LocalConnection
from nightshift.remediation.heap_profile import hungriest
from nightshift.remediation.host_load.chart import memory_chart
from nightshift.remediation.host_load.cpu_planner import NOTHING_TO_DO, explained_by, waits_for_a_job
from nightshift.remediation.host_load.findings import evidence_markdown, findings_of
from nightshift.remediation.host_load.growth import growth_of
from nightshift.remediation.host_load.leak_planner import ServiceMemory, plan_leak_relief
from nightshift.remediation.host_load.memory_planner import plan_host_relief
from nightshift.remediation.host_load.objects import HostLoad, HostLook, MemoryPoint, Process, ProjectContainer
from nightshift.remediation.host_load.ownership import NEVER, owned, why_never
from nightshift.remediation.host_load.policy import HostLoadPolicy, ServiceMemoryPolicy
from nightshift.remediation.hosts.services import ServiceState
from nightshift.remediation.models import Plan, Risk, Target

GIB, MB = 2**30, 10**6
HOST = Target.from_key("shop/host/web1")
SERVICE = Target.from_key("shop/host/web1/service/watcher")
CONTAINER = Container(
    id="c" * 64,
    name="shop-backend-1",
    service="backend",
    number=1,
    image="shop/backend:2",
    image_id="i2",
    state="running",
    started_at="2026-01-01T00:00:00Z",
)
DECLARED: dict[str, Any] = {
    "resource": "cpu",
    "prometheus": "prometheus",
    "docker": "main",
    "services": {
        "watcher": {"on_host": {"name": "watcher.service"}, "series": {"job": "watcher"}},
        "program": {"on_host": {"manager": "supervisor", "name": "program"}},
        "backend": {"service": "backend", "series": {"job": "backend"}},
        "database": {"service": "postgres", "may_end": False},
        "jobs": {"account": "shop"},
    },
    "known_jobs": [{"name": "backtest", "commands": ["*backtest*"], "at_most": "1h"}],
}
POLICY = HostLoadPolicy.model_validate(DECLARED)
MEMORY = HostLoadPolicy.model_validate({**DECLARED, "resource": "memory", "restart_leaking": True})
LEAKS = ServiceMemoryPolicy.model_validate(
    {
        "prometheus": "prometheus",
        "services": {"watcher": DECLARED["services"]["watcher"]},
        "known_jobs": DECLARED["known_jobs"],
        "restart_leaking": True,
    }
)


def process(pid: int = 4711, **changes: Any) -> Process:
    return Process.model_validate(
        {
            "pid": pid,
            "started": 1000 + pid,
            "age": 600,
            "executable": "/usr/bin/python3.11",
            "identity": "8:42",
            "owner": 1000,
            "account": "shop",
            "command": "python3 /opt/run.py",
            "unit": "watcher.service",
            "container": "",
            "program": "",
            "main": False,
            "cpus": 1.0,
            "memory": 300 * MB,
            **changes,
        }
    )


def load(*processes: Process, percent: float | None = 95, busy: float = 95, **changes: Any) -> HostLoad:
    look = HostLook(boot="b", cpus=2, busy=busy, memory_total=16 * GIB, memory_available=GIB, processes=processes)
    containers = (ProjectContainer(container=CONTAINER, usage=Usage(memory=GIB, memory_limit=16 * GIB, cpus=1.0)),)
    return HostLoad(host="web1", percent=percent, look=look, **{"containers": containers, **changes})


def planned(*processes: Process, policy: HostLoadPolicy = POLICY, **changes: Any) -> Plan:
    return plan_host_relief(HOST, load(*processes, **changes), policy)


def rising(*, by: float, points: int = 60, every: float = 180, begin: float = 1.1e9) -> tuple[MemoryPoint, ...]:
    """Memory that grows by so much every ten minutes."""
    return tuple(MemoryPoint(at=1e9 + n * every, amount=begin + by * n * every / 600) for n in range(points))


@pytest.mark.hazard(
    "test_watcher.HighCPUUsage.r2.1",
    "bybit_strategy_tester.HighCPUUsage.r1.1",
    "bybit_strategy_tester.HighCPUUsage.r2.1",
)
def test_a_runaway_process_is_ended_by_a_person_only_and_it_alone() -> None:
    plan = planned(process())

    (action,) = plan.actions
    assert action.kind == "end_process"
    assert action.risk is Risk.HIGH
    assert action.asks
    assert action.items == ("4711@5711@b",)
    assert "SIGTERM, and SIGKILL after 30s" in action.title
    assert action.undo.startswith("cannot be undone")
    assert [refusal.what for refusal in plan.refusals] == ["Scaling out"]
    assert "second host" in str(plan.refusals[0].lifted_by)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"unit": "postgresql.service", "account": "postgres"}, "none of the services"),
        ({"unit": "", "account": "root"}, "none of the services"),
        ({"container": "d" * 64}, "none of the services"),
        ({"executable": "/usr/lib/postgresql/15/bin/postgres"}, "never ended"),
        ({"executable": "/usr/sbin/sshd"}, "never ended"),
        ({"main": True}, "main process"),
        ({"identity": "", "executable": ""}, "cannot be told"),
        ({"command": "python3 backtest.py"}, "known job"),
    ],
)
def test_what_is_not_the_systems_own_or_holds_the_host_is_left_alone(changes: dict[str, Any], why: str) -> None:
    # Beside something that runs away for certain, so that a known job does not explain the load.
    plan = planned(process(**changes), process(99, cpus=0.9))

    assert [action.items for action in plan.actions] == [("99@1099@b",)]
    assert any(why in refusal.reason for refusal in plan.refusals)


def test_services_are_known_by_unit_program_container_and_account() -> None:
    seen = load()
    found = {
        "watcher": process(unit="watcher.service"),
        "program": process(unit="supervisor.service", program="program", account="root"),
        "backend": process(unit="docker.service", container=CONTAINER.id),
        "jobs": process(unit="session-1.scope"),
        None: process(unit="other.service", account="other"),
    }
    assert {name: owned(one, POLICY, seen.services_of).service for name, one in found.items()} == {
        name: name for name in found
    }
    inside = replace(CONTAINER, id="e" * 64, service="postgres")
    database = owned(process(container=inside.id), POLICY, {inside.id: "postgres"})
    assert why_never(database, POLICY) == "the runbook lets nobody end processes of it"


def test_a_known_job_is_waited_for_until_it_is_overdue() -> None:
    job = process(command="python3 /opt/backtest.py", cpus=1.8)

    plan = planned(job, process(98, cpus=0.1))
    assert not plan.actions
    assert plan.goal.startswith("Wait for backtest")
    assert waits_for_a_job(load(job), POLICY)

    policy = HostLoadPolicy.model_validate({**DECLARED, "known_jobs": [{"name": "backtest", "of": ["watcher"]}]})
    assert waits_for_a_job(load(process(age=1e7, command="celery")), policy)

    late = job.model_copy(update={"age": 3 * 3600.0})
    (action,) = planned(late).actions
    assert "overdue by 2h" in action.reason
    assert not waits_for_a_job(load(late), POLICY)


def test_many_small_workers_of_a_known_job_explain_a_load_together() -> None:
    policy = HostLoadPolicy.model_validate({**DECLARED, "known_jobs": [{"name": "backtest", "of": ["backend"]}]})
    workers = [process(200 + n, container=CONTAINER.id, unit="docker.service", cpus=0.4) for n in range(4)]

    assert planned(*workers, policy=policy).goal.startswith("Wait for backtest")
    assert any("backend (1.6 processors in 4 processes)" in f.detail for f in findings_of(load(*workers), policy))
    assert "Begin with backend (1.6" in planned(*workers).proposals[0].detail


def test_a_name_explains_nothing_when_the_process_is_a_strangers_or_something_runs_away_beside_it() -> None:
    stranger = process(command="backtest", unit="miner.service", account="miner", cpus=2)
    assert explained_by(load(stranger), POLICY) == ()

    job = process(command="python3 /opt/backtest.py", cpus=1.5)
    assert explained_by(load(job, process(98)), POLICY) == ()
    assert explained_by(load(job), POLICY)


@pytest.mark.parametrize("policy", [POLICY, MEMORY])
def test_a_host_within_its_limit_or_unmeasured_or_contradicting_is_left_alone(policy: HostLoadPolicy) -> None:
    growth = {"backend": rising(by=50 * MB)}
    within = planned(process(), percent=50, policy=policy, growth=growth)
    assert (within.goal, within.actions) == (NOTHING_TO_DO, ())

    unknown = planned(process(), percent=None, unknown="it does not answer", policy=policy, growth=growth)
    assert not unknown.actions
    assert "could not be measured: it does not answer" in unknown.refusals[0].reason

    seen = load(process(), busy=5, growth=growth)
    roomy = replace(seen, look=seen.look.model_copy(update={"memory_available": 15 * GIB}))
    contradicts = plan_host_relief(HOST, roomy, policy)
    assert not contradicts.actions
    assert "measurements that agree" in str(contradicts.refusals[0].lifted_by)


def test_no_more_than_three_are_ended_at_a_time() -> None:
    plan = planned(*(process(100 + n, cpus=0.6) for n in range(10)))

    assert len(plan.actions) == 3
    assert sum("are enough" in refusal.reason for refusal in plan.refusals) == 7


@given(
    st.lists(
        st.builds(
            process,
            st.integers(1, 30000),
            executable=st.sampled_from(["", "/bin/sh", *(f"/usr/sbin/{name}" for name in sorted(NEVER))]),
            identity=st.sampled_from(["", "8:1"]),
            unit=st.sampled_from(["", "watcher.service", "ssh.service", "postgresql.service"]),
            container=st.sampled_from(["", "c" * 64, "d" * 64]),
            account=st.sampled_from(["root", "shop", "postgres"]),
            main=st.booleans(),
            cpus=st.floats(0, 8),
        ),
        max_size=12,
        unique_by=lambda one: one.pid,  # as a kernel has it
    )
)
def test_whatever_runs_only_own_processes_are_ended_and_never_what_keeps_the_host(processes: list[Process]) -> None:
    plan = planned(*processes)

    by_item = {f"{one.pid}@{one.started}@b": one for one in processes}
    for action in plan.actions:
        one = by_item[action.items[0]]
        assert action.asks
        assert owned(one, POLICY, load().services_of).service is not None
    ended = [one for one in processes if f"{one.pid}@{one.started}@b" in {a.items[0] for a in plan.actions}]
    for one in ended:
        assert one.pid > 1
        assert basename(one.executable) not in NEVER


def test_the_probe_and_the_planner_know_the_same_programs_that_are_never_ended() -> None:
    assert probe.NEVER == NEVER
    assert {"sshd", "systemd", "postgres", "redis-server", "dockerd"} <= NEVER


@pytest.mark.hazard("test_watcher.MemoryLeakDetected.d3")
def test_a_leak_is_judged_by_its_slope_over_hours_and_not_by_its_level() -> None:
    leak = growth_of(rising(by=15 * MB))
    flat = growth_of(rising(by=0, begin=5e9))
    saw = growth_of([MemoryPoint(at=1e9 + n * 60, amount=1.2e9 + (n % 15) * 30 * MB) for n in range(180)])
    slow = growth_of(rising(by=2 * MB))
    short = growth_of(rising(by=50 * MB, every=5))
    assert leak is not None
    assert flat is not None
    assert saw is not None
    assert slow is not None
    assert short is not None
    assert leak.slope * 600 == pytest.approx(15 * MB, rel=1e-3)
    assert leak.is_leak(10 * MB, 1800)
    assert not any(one.is_leak(10 * MB, 1800) for one in (flat, saw, slow, short))
    assert growth_of(rising(by=50 * MB, points=7)) is None


def test_growth_counts_from_the_last_fresh_start() -> None:
    before, after = rising(by=60 * MB), rising(by=-1 * MB, begin=2e8)
    moved = [MemoryPoint(at=one.at + 11000, amount=one.amount) for one in after]

    growth = growth_of([*before, *moved])

    assert growth is not None
    assert not growth.is_leak(10 * MB, 1800)
    assert growth.over == pytest.approx(59 * 180)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(allow_nan=True, allow_infinity=True)), max_size=40))
def test_growth_is_told_of_whatever_was_scraped(values: list[tuple[float, float]]) -> None:
    growth = growth_of([MemoryPoint(at=at, amount=amount) for at, amount in values])

    assert growth is None or growth.over > 0


def memory(*points: MemoryPoint, **changes: Any) -> ServiceMemory:
    state = ServiceState(state="running", run="r1", pid=4711)
    seen = load(process(main=True), growth={"watcher": points}, states={"watcher": state}, **changes)
    return ServiceMemory(name="watcher", load=seen)


@pytest.mark.hazard("test_watcher.MemoryLeakDetected.d2")
def test_a_leaking_service_is_restarted_as_the_run_that_was_seen_and_a_person_finds_the_cause() -> None:
    plan = plan_leak_relief(SERVICE, memory(*rising(by=15 * MB)), LEAKS)

    (action,) = plan.actions
    assert (action.kind, action.arguments["run"]) == ("restart_host_service", "r1")
    assert not action.asks
    assert "a ticket with this report" in plan.proposals[0].title
    assert "second copy" in plan.proposals[0].detail
    assert "at this rate last" in plan.proposals[1].reason


@pytest.mark.parametrize(
    ("points", "why"),
    [(rising(by=0), "does not grow steadily"), (rising(by=15 * MB, begin=1e8), "below the limit")],
)
def test_a_large_or_a_growing_service_alone_is_no_leak(points: tuple[MemoryPoint, ...], why: str) -> None:
    plan = plan_leak_relief(SERVICE, memory(*points), LEAKS)

    assert (plan.goal, plan.actions) == (NOTHING_TO_DO, ())
    assert why in plan.expected


def test_no_service_is_restarted_when_its_growth_is_not_known_or_nobody_allows_it() -> None:
    unknown = plan_leak_relief(SERVICE, replace(memory(), unknown="prometheus did not answer"), LEAKS)
    forbids = LEAKS.model_copy(update={"restart_leaking": False})
    forbidden = plan_leak_relief(SERVICE, memory(*rising(by=15 * MB)), forbids)

    assert not unknown.actions
    assert "did not answer" in unknown.refusals[0].reason
    assert not forbidden.actions
    assert forbidden.refusals[0].lifted_by == "restart_leaking: true"


def test_a_restart_under_a_known_job_asks_a_person_first() -> None:
    seen = memory(*rising(by=15 * MB))
    busy = replace(seen.load, look=seen.load.look.model_copy(update={"processes": (process(command="backtest.py"),)}))

    (action,) = plan_leak_relief(SERVICE, replace(seen, load=busy), LEAKS).actions

    assert action.asks.startswith("A known job runs in it")


def test_a_full_host_restarts_what_leaks_most_and_else_says_who_has_the_memory() -> None:
    look = ServiceLook(service="backend", containers=(CONTAINER,), tagged="i2")
    leaks = {"backend": rising(by=80 * MB), "watcher": rising(by=15 * MB)}
    (action,) = planned(policy=MEMORY, services={"backend": look}, growth=leaks).actions
    assert (action.kind, action.items) == ("restart_container", (CONTAINER.id,))

    full = planned(process(memory=9 * GIB), policy=MEMORY, growth={"backend": rising(by=0)})
    assert not full.actions
    assert "9.0 GiB" in full.proposals[0].detail
    assert "a larger limit for one would take from the others" in full.proposals[0].reason


def test_hostile_names_are_shown_and_not_obeyed() -> None:
    hostile = process(command="run`|<b>\x1b[31m", account="a|b")
    seen = load(hostile)
    shown = [
        evidence_markdown(seen, POLICY),
        *(f"{one.title} {one.detail}" for one in findings_of(seen, POLICY)),
        *(action.title for action in planned(hostile).actions),
    ]
    assert not any(bad in text for text in shown for bad in ("`", "<b>", "\x1b"))


def test_a_picture_has_the_limit_and_its_scale() -> None:
    picture = memory_chart(rising(by=100 * MB), 1e9)

    assert picture.startswith("100 % = ")
    assert "◄" in picture
    assert memory_chart(()) == "Too few measurements for a picture."


def test_a_host_is_known_by_its_names_with_and_without_a_port() -> None:
    connection = LocalConnection(type="local", instances=("web1.shop:9100", "[fd00::1]:9100"))

    assert names_of("web1", connection) >= {"web1", "web1.shop", "web1.shop:9100", "fd00::1"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"services": {"x": {}}}, "exactly one of on_host, service, account"),
        ({"services": {"x": {"account": "postgres"}}}, "the host's own"),
        ({"services": {"x": {"on_host": {"manager": "windows", "name": "Watcher"}}}}, "on Linux only"),
        ({"docker": None}, "need docker"),
        ({"known_jobs": [{"name": "x"}]}, "how it is known"),
        ({"known_jobs": [{"name": "x", "of": ["nothing"]}]}, "does not stand in services"),
        ({"wait": "10s"}, "shorter than window"),
        ({"leak_least": "4h"}, "leak_least"),
    ],
)
def test_a_policy_that_cannot_work_says_what_to_write(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        HostLoadPolicy.model_validate({**DECLARED, **change})


GO_PROFILE = """\
heap profile: 3: 3145728 [10: 9999999] @ heap/1048576
1: 2097152 [4: 8388608] @ 0x45 0x46
#\t0x44\tshop/cache.(*Cache).Put+0x25\t/src/shop/cache.go:12
#\t0x45\tmain.main+0x1ff\t/src/shop/main.go:40

2: 1048576 [2: 1048576] @ 0x50
#\t0x50\tshop/`rm`.Load+0x1\t/src/shop/load.go:7

0: 0 [4: 400] @ 0x60
#\t0x60\tshop.Gone+0x1\t/src/shop/gone.go:1

# runtime.MemStats
# Alloc = 123
"""


@pytest.mark.hazard("cryptofunk.HighMemoryUsage.d5")
def test_a_heap_profile_tells_who_keeps_the_most() -> None:
    first, second = hungriest(GO_PROFILE)

    assert first == "2.0 MiB (67 %) shop/cache.(\\x2aCache).Put in /src/shop/cache.go:12"
    assert second.startswith("1.0 MiB (33 %) shop/\\x60rm\\x60.Load")


@given(st.text(max_size=400))
def test_whatever_a_program_gives_as_its_profile_is_shown_on_few_printable_lines(text: str) -> None:
    lines = hungriest(text)

    assert len(lines) <= 10
    assert all(line.isprintable() for line in lines)


def test_a_leak_is_looked_for_only_where_memory_is_measured() -> None:
    for services in ({}, {"jobs": {"account": "shop"}}):
        with pytest.raises(ValidationError, match="services need series"):
            ServiceMemoryPolicy.model_validate({"prometheus": "prometheus", "services": services})
