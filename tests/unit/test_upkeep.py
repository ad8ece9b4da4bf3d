"""Dead rows, slots and vacuums: what is done, what is waited for, and what nobody but a person touches."""

from __future__ import annotations

from typing import Any

import pytest

from nightshift.remediation.databases.upkeep import (
    DeadRows,
    Slot,
    Upkeep,
    UpkeepLook,
    VacuumRun,
    plan_upkeep,
    upkeep_findings,
    upkeep_trouble,
)
from nightshift.remediation.models import Risk, Target

TARGET = Target(system="shop", path=("database", "main"))
RULE = Upkeep()
GIB = 2**30
DAY = 86400.0


def table(**fields: Any) -> DeadRows:
    usual = {"schema_name": "public", "table": "trade", "oid": 1, "bytes": GIB, "live": 100_000, "dead": 100_000}
    return DeadRows(**{**usual, "vacuums": 3, "mine": True, **fields})


def slot(**fields: Any) -> Slot:
    usual = {"name": "old", "kind": "logical", "active": False, "holds": 5 * GIB, "at": "0/16B3748"}
    return Slot(**{**usual, "status": "extended", "idle": 9 * DAY, **fields})


def vacuum(**fields: Any) -> VacuumRun:
    usual = {"pid": 7, "table": "public.trade", "phase": "scanning heap", "age": 60.0, "done": 500, "total": 1000}
    return VacuumRun(**{**usual, **fields})


def test_dead_rows_are_vacuumed_never_with_full() -> None:
    (action,) = plan_upkeep(TARGET, UpkeepLook(tables=(table(),)), RULE).actions

    assert (action.kind, action.risk) == ("vacuum_table", Risk.LOW)
    assert "never FULL" in action.reason
    assert action.bound.amount > GIB


@pytest.mark.parametrize("fields", [{"dead": 40_000, "live": 1}, {"dead": 60_000, "live": 10_000_000}])
def test_few_dead_rows_and_a_small_share_of_them_are_well(fields: dict[str, Any]) -> None:
    look = UpkeepLook(tables=(table(**fields),))

    assert upkeep_trouble(look, RULE) == []
    assert plan_upkeep(TARGET, look, RULE).actions == ()


@pytest.mark.parametrize(
    ("fields", "more", "told"),
    [
        ({}, {"vacuums": (vacuum(per_second=5.0),)}, "about 1m 40s more at this pace"),
        ({}, {"vacuums": (vacuum(per_second=0.0),)}, "stood still"),
        ({}, {"snapshot": "report (pid 4)", "snapshot_age": 7200}, "report (pid 4) may still see"),
        ({"bytes": 99 * GIB}, {}, "99.0 GiB"),
        ({"mine": False}, {}, "may not vacuum"),
    ],
)
def test_what_keeps_a_table_from_being_vacuumed_is_told(fields: Any, more: dict[str, Any], told: str) -> None:
    plan = plan_upkeep(TARGET, UpkeepLook(tables=(table(**fields),), **more), RULE)

    assert plan.actions == ()
    assert told in plan.refusals[0].reason, plan.refusals[0].reason


def test_an_autovacuum_against_wraparound_is_told_to_be_left_alone() -> None:
    look = UpkeepLook(vacuums=(vacuum(wraparound=True, auto=True),))

    (finding,) = upkeep_findings(look, RULE)

    assert "against wraparound: it is never ended" in finding.title
    assert plan_upkeep(TARGET, look, RULE).actions == ()


def test_room_inside_a_table_is_for_people_and_their_maintenance_window() -> None:
    plan = plan_upkeep(TARGET, UpkeepLook(tables=(table(free_percent=60.0),)), RULE)

    assert "60 % empty inside" in plan.proposals[0].title
    assert "lock the table" in plan.proposals[0].reason


@pytest.mark.parametrize("fields", [{}, {"kind": "physical"}, {"idle": None}, {"status": "lost", "holds": 0, "at": ""}])
def test_a_slot_that_nobody_reads_from_is_dropped_by_a_persons_word_in_any_mode(fields: dict[str, Any]) -> None:
    (action,) = plan_upkeep(TARGET, UpkeepLook(slots=(slot(**fields),)), RULE).actions

    assert (action.kind, action.risk, bool(action.asks)) == ("drop_replication_slot", Risk.HIGH, True)
    assert action.arguments["at"] == slot(**fields).at


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"idle": 60.0}, "somebody read from it 1m ago"),
        ({"kind": "physical", "idle": 3600.0}, "a standby read from it 1h ago"),
        ({"kind": "physical", "idle": None}, "does not tell"),
    ],
)
def test_a_slot_that_may_be_needed_again_is_only_proposed(fields: dict[str, Any], told: str) -> None:
    plan = plan_upkeep(TARGET, UpkeepLook(slots=(slot(**fields),)), RULE)

    assert plan.actions == ()
    assert told in plan.refusals[0].reason, plan.refusals[0].reason
    assert "5.0 GiB of WAL" in plan.proposals[0].reason


def test_an_active_slot_and_one_that_holds_little_are_well() -> None:
    look = UpkeepLook(slots=(slot(active=True), slot(holds=1000)))

    assert upkeep_trouble(look, RULE) == []
    assert plan_upkeep(TARGET, look, RULE) == plan_upkeep(TARGET, UpkeepLook(), RULE)
