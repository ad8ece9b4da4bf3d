"""A database that does not answer: when one restart is safe, and when only people may go on."""

from __future__ import annotations

from typing import Any

import pytest

from nightshift.remediation.compose.objects import Container, ServiceLook
from nightshift.remediation.databases.down_planner import (
    NOTHING_TO_DO,
    Answering,
    DownLook,
    judge_revival,
    plan_revival,
)
from nightshift.remediation.databases.down_policy import DatabaseUnavailablePolicy
from nightshift.remediation.databases.down_signs import Sign, signs_of
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


def test_nobody_is_told_to_prune_volumes() -> None:
    plan = planned(down(used_percent=99.0, log="PANIC:  No space left on device"))

    assert "Never by pruning volumes" in str(plan.proposals)
    assert "DiskSpaceCritical" in str(plan.proposals)


def test_it_must_answer_to_the_end_of_the_watch() -> None:
    well = [DownLook(at=float(at), answering=Answering.WELL) for at in range(0, 61, 10)]

    assert judge_revival(well, POLICY).healthy
    assert not judge_revival([*well, DownLook(at=70, answering=Answering.SILENT)], POLICY).healthy
    assert not judge_revival(well[:3], POLICY).healthy
