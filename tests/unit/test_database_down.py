"""A database that does not answer: when one restart is safe, and when only people may go on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nightshift.remediation.compose.objects import Container, ServiceLook
from nightshift.remediation.databases.down_planner import (
    NOTHING_TO_DO,
    Answering,
    DownLook,
    judge_revival,
    plan_revival,
    replayed,
    waits_on,
)
from nightshift.remediation.databases.down_policy import DatabaseUnavailablePolicy
from nightshift.remediation.databases.down_signs import Sign, signs_of
from nightshift.remediation.databases.read_only import ReadOnly
from nightshift.remediation.databases.replay import place_in
from nightshift.remediation.models import Plan, Risk, Target

TARGET = Target(system="shop", path=("database", "main"))
POLICY = DatabaseUnavailablePolicy.model_validate(
    {
        "service": {"docker": "compose", "service": "postgres"},
        "volume": {"host": "web1", "mount": "/"},
        "disk_runbook": "DiskSpaceCritical",
        "recovery": "dr_automation.py recover-db",
    }
)


def container(number: int = 1, **fields: Any) -> Container:
    usual = {"id": f"c{number}", "name": "shop-postgres-1", "service": "postgres", "image": "pg:15", "image_id": "i1"}
    return Container(**{**usual, "number": number, "state": "exited", "exit_code": 1, **fields})


def down(*containers: Container, answering: Answering = Answering.SILENT, log: str = "", **fields: Any) -> DownLook:
    service = ServiceLook(service="postgres", containers=containers or (container(),), tagged="i1")
    usual = {"service": service, "used_percent": 50.0, "signs": signs_of(log)}
    return DownLook(at=0, answering=answering, **{**usual, **fields})


def planned(look: DownLook, **more: Any) -> Plan:
    return plan_revival(TARGET, look, POLICY, **more)


def test_a_server_that_ended_without_a_bad_sign_is_restarted_once() -> None:
    (action,) = planned(down()).actions

    assert (action.kind, action.risk) == ("restart_container", Risk.HIGH)
    assert planned(down(), restarted=True).actions == ()


def test_a_database_that_answers_needs_nothing() -> None:
    assert planned(down(answering=Answering.WELL)).goal == NOTHING_TO_DO


@pytest.mark.hazard("bybit_strategy_tester.DatabaseDown.r3.1")
@pytest.mark.parametrize(
    ("line", "sign", "told"),
    [
        ("PANIC:  could not locate a valid checkpoint record at 0/15", Sign.CORRUPTION, "copy its data directory"),
        ("WARNING:  page verification failed, calculated checksum 1 but expected 2", Sign.CORRUPTION, "two people"),
        ("FATAL:  could not write lock file: No space left on device", Sign.DISK_FULL, "Free space"),
        ('FATAL:  data directory "/d" has invalid permissions', Sign.PERMISSIONS, "0700"),
        ('FATAL:  lock file "postmaster.pid" already exists', Sign.STALE_PID, "another server runs"),
    ],
)
def test_bad_signs_stop_everything_and_call_a_person_with_them(line: str, sign: Sign, told: str) -> None:
    plan = planned(down(log=f"2026-01-01 00:00:00 UTC [1] {line}"))

    assert plan.actions == ()
    assert str(sign) in plan.refusals[0].reason
    assert any(told in proposal.title for proposal in plan.proposals), plan.proposals


@pytest.mark.parametrize(
    "line",
    [
        'ERROR:  permission denied for table "orders"',
        'FATAL:  permission denied for database "shop"',
        "LOG:  database system was interrupted; last known up at 2026-01-01",
        "STATEMENT:  select 'invalid page, checksum'",
        "an application that prints: no such page",
    ],
)
def test_daily_lines_are_no_bad_sign(line: str) -> None:
    assert planned(down(log=line)).actions != ()


@pytest.mark.hazard("bybit_strategy_tester.DatabaseDown.r1.1")
@pytest.mark.parametrize(
    ("look", "reason"),
    [
        (down(used_percent=99.0), "99.0 % full"),
        (down(used_percent=None), "could not be told"),
        (down(service=None, unseen="The engine did not answer."), "engine did not answer"),
        (down(container(), container(2)), "several containers"),
        (down(container(state="running", health="healthy")), "the way from here"),
        (down(answering=Answering.NOT_READY), "it runs"),
        (down(answering=Answering.FULL), "it runs"),
        (down(answering=Answering.READ_ONLY), "it runs"),
        (down(answering=Answering.REFUSED), "it runs"),
    ],
)
def test_nothing_is_restarted_where_it_could_make_things_worse(look: DownLook, reason: str) -> None:
    plan = planned(look)

    assert plan.actions == ()
    assert reason in plan.refusals[0].reason


@pytest.mark.hazard("bybit_strategy_tester.DatabaseDown.r4.2")
def test_nobody_is_told_to_prune_volumes() -> None:
    plan = planned(down(used_percent=99.0, log="PANIC:  No space left on device"))

    assert "Never by pruning volumes" in str(plan.proposals)
    assert "DiskSpaceCritical" in str(plan.proposals)


def test_it_must_answer_to_the_end_of_the_watch() -> None:
    well = [DownLook(at=float(at), answering=Answering.WELL) for at in range(0, 61, 10)]

    assert judge_revival(well, POLICY).healthy
    assert not judge_revival([*well, DownLook(at=70, answering=Answering.SILENT)], POLICY).healthy
    assert not judge_revival(well[:3], POLICY).healthy


def test_what_uses_the_database_is_restarted_only_where_it_does_not_connect_again() -> None:
    policy = POLICY.model_copy(update={"clients": ("backend",)})

    plan = plan_revival(TARGET, down(), policy)

    assert [one.title for one in plan.proposals] == [
        "Restart backend only if it still fails a minute after the database answers"
    ]


@pytest.mark.hazard("bybit_strategy_tester.DatabaseDown.d7", "bybit_strategy_tester.DatabaseDown.r2.1")
def test_a_damaged_database_is_checked_on_a_copy() -> None:
    plan = planned(down(log="PANIC:  could not locate a valid checkpoint record"))

    assert not plan.actions
    (checked,) = [one for one in plan.proposals if "that copy" in one.title]
    assert "pg_checksums" in checked.detail
    assert "pg_amcheck" in checked.detail
    assert "counting rows proves nothing" in checked.reason


def starting(*places: str, every: float = 10) -> list[DownLook]:
    return [
        DownLook(at=number * every, answering=Answering.NOT_READY, place=place) for number, place in enumerate(places)
    ]


@pytest.mark.parametrize(
    ("titles", "log", "place"),
    [
        (["postgres: startup recovering 000000010000000000000012"], "", "recovering 000000010000000000000012"),
        (
            ["postgres: 15/main: startup waiting for 0000000100000000000000A2"],
            "",
            "waiting for 0000000100000000000000A2",
        ),
        (["postgres: startup "], "", "its beginning"),
        (["postgres: app shop [local] startup"], "", ""),
        (["postgres: checkpointer "], "", ""),
        ([], "LOG:  redo in progress, elapsed time: 10.00 s, current LSN: 0/3A5B2C8", "0/3A5B2C8"),
        ([], "an application that prints: redo in progress, elapsed time: 1 s, current LSN: 0/1", ""),
    ],
)
def test_where_a_recovery_is_is_told_by_its_process_or_its_log(titles: list[str], log: str, place: str) -> None:
    assert place_in(titles, log) == place


def test_a_recovery_that_gets_on_is_waited_for_longer_than_one_that_is_not_seen_to() -> None:
    wait, moving = POLICY.wait, POLICY.wait_moving
    on = starting("recovering 1", "recovering 2")
    unseen = starting("", "")

    assert waits_on(on, POLICY, wait + 1)
    assert not waits_on(on, POLICY, moving + 1)
    assert waits_on(unseen, POLICY, wait - 1)
    assert not waits_on(unseen, POLICY, wait + 1)


def test_a_recovery_that_stands_still_is_a_persons_soon_and_is_not_restarted() -> None:
    looks = starting("recovering 1", *["recovering 2"] * 20)

    assert not waits_on(looks, POLICY, 200)
    plan = planned(replace(looks[-1], replay=replayed(looks), used_percent=50.0))
    assert plan.actions == ()
    assert "is there for 3m 10s" in plan.refusals[0].reason
    assert any("waits for" in proposal.title for proposal in plan.proposals)
    gets_on = replace(looks[-1], replay=replayed(starting("a", "b", "c")), used_percent=50.0)
    assert any("Let its recovery go on" in proposal.title for proposal in planned(gets_on).proposals)


@pytest.mark.parametrize(
    ("seen", "used", "title", "detail"),
    [
        (ReadOnly(standby=True, streams=True, behind=12), 50.0, "Lead the applications to the primary", ""),
        (ReadOnly(standby=True), 50.0, "only one", ""),
        (
            ReadOnly(standby=False, source="database", database='a"b'),
            50.0,
            "Find out who",
            'alter database "a""b" reset',
        ),
        (ReadOnly(standby=False, source="user", account="app"), 50.0, "Find out who", 'alter role "app" reset'),
        (ReadOnly(standby=False, source="configuration file"), 99.0, "only after space", "alter system reset"),
        (ReadOnly(standby=False, source="command line"), 50.0, "Find out who", "out of command line"),
    ],
)
def test_why_it_takes_no_writes_decides_what_a_person_does(
    seen: ReadOnly, used: float, title: str, detail: str
) -> None:
    plan = planned(down(answering=Answering.READ_ONLY, read_only=seen, used_percent=used))

    assert plan.actions == ()
    (found,) = [one for one in plan.proposals if title in one.title]
    assert detail in found.detail


def test_a_title_without_a_place_between_two_files_is_no_standstill() -> None:
    gets_on = replayed(starting("its beginning", "waiting for 1", "its beginning", "waiting for 2", "its beginning"))
    stands = replayed(starting("its beginning", "its beginning"))

    assert gets_on is not None
    assert (gets_on.moves, gets_on.last, gets_on.stands) == (True, "waiting for 2", 10)
    assert stands is not None
    assert not stands.moves
    assert replayed(starting("", "recovering 1")) is None
