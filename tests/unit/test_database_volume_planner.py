from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.disk_space.arguments import ArchiveRows
from nightshift.remediation.disk_space.database_diagnosis import (
    DAY,
    ChunkFact,
    ClaimFact,
    DatabaseVolumeDiagnosis,
    OldChunks,
    OldRows,
    TableFact,
    VolumeUsage,
    cut_off,
)
from nightshift.remediation.disk_space.database_planner import plan_database_volume
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.disk_space.planner import NOTHING_TO_DO
from nightshift.remediation.kubernetes.claim_planner import claim_size
from nightshift.remediation.kubernetes.claim_policy import ClaimExpansion
from nightshift.remediation.models import Plan, Risk, Target

GIB = 2**30
NOW = 1_700_000_000.0
TARGET = Target(system="cryptofunk", path=("database", "postgres", "claim", "postgres-pvc"))
POLICY = DatabaseVolumePolicy.model_validate(
    {
        "volume": "database",
        "size": {"capacity": "50GiB"},
        "compress": [{"hypertable": "candlesticks", "older_than": "7d"}],
        "archive_rows": [
            {"table": "trading_sessions", "time_column": "created_at", "older_than": "90d", "to": "/var/archive"}
        ],
        "expand": {"cluster": "prod", "factor": 1.5, "ceiling": "100GiB"},
    }
)
BEFORE = cut_off(NOW, 90 * DAY)
ROWS = OldRows(rule=0, before=BEFORE, rows=1000, oldest=BEFORE - 9e6, newest=BEFORE - 5, bytes=2 * GIB)
CLAIM = ClaimFact(namespace="cryptofunk", name="postgres-pvc", requested_bytes=50 * GIB, expandable=True)


def plan(used_gib: float = 45, policy: DatabaseVolumePolicy = POLICY, **seen: Any) -> Plan:
    volume = VolumeUsage(total_bytes=50 * GIB, used_bytes=int(used_gib * GIB))
    return plan_database_volume(TARGET, DatabaseVolumeDiagnosis(volume=volume, now=NOW, **seen), policy)


def test_old_rows_are_archived_then_deleted_in_one_action() -> None:
    (action,) = plan(old_rows=(ROWS,)).actions

    arguments = ArchiveRows.from_json(action.arguments)
    assert (arguments.table_schema, arguments.table_name, arguments.rows) == ("public", "trading_sessions", 1000)
    assert arguments.before == "2023-08-16T00:00:00Z"
    assert action.risk is Risk.HIGH
    assert str(action.bound) == "1,000 rows"
    assert action.gain is None
    assert action.title == (
        "Archive, then delete 1,000 rows of trading_sessions older than 90 days (about 2.0 GiB to reuse)"
    )
    assert "vacuum returns it to the volume only at the table's end" in action.reason
    assert "from the archive in /var/archive" in action.undo


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.r2.2")
def test_hours_later_the_plan_still_means_the_same_rows() -> None:
    assert cut_off(NOW, 90 * DAY) == cut_off(NOW + 3600, 90 * DAY)
    assert NOW - cut_off(NOW, 90 * DAY) >= 90 * DAY


def test_an_approval_does_not_cover_more_rows_or_another_cut_off() -> None:
    approved = plan(old_rows=(ROWS,))
    later = plan(old_rows=(ROWS.model_copy(update={"before": BEFORE - DAY, "newest": BEFORE - 2 * DAY}),))

    assert plan(old_rows=(ROWS.model_copy(update={"rows": 900}),)).within(approved)
    assert not plan(old_rows=(ROWS.model_copy(update={"rows": 1001}),)).within(approved)
    assert not later.within(approved)


@pytest.mark.parametrize(
    ("change", "seen", "reason"),
    [
        ({}, {"in_recovery": True}, "standby"),
        ({"hypertable": True}, {}, "whole chunks"),
        ({"referenced_by": ("orders",)}, {}, "foreign keys or triggers: orders"),
        ({"delete_triggers": ("audit",)}, {}, "foreign keys or triggers: audit"),
        ({"newest": BEFORE}, {}, "not all older than 90 days"),
        ({"before": BEFORE + DAY}, {}, "not all older than 90 days"),
    ],
)
def test_a_guard_keeps_the_rows_and_says_why(change: dict[str, Any], seen: dict[str, Any], reason: str) -> None:
    made = plan(old_rows=(ROWS.model_copy(update=change),), **seen)

    assert made.actions == ()
    assert reason in made.refusals[0].reason


def test_on_a_volume_without_room_for_the_log_nothing_is_deleted() -> None:
    made = plan(used_gib=49.99, old_rows=(ROWS,))

    assert made.actions == ()
    assert "grow the volume first" in made.refusals[0].reason


def test_below_the_threshold_there_is_nothing_to_do() -> None:
    made = plan(used_gib=40, old_rows=(ROWS,))

    assert made.goal == NOTHING_TO_DO
    assert (made.actions, made.proposals) == ((), ())


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.r1.1")
def test_chunks_are_compressed_one_statement_each_oldest_first() -> None:
    chunks = tuple(
        ChunkFact(schema_name="_timescaledb_internal", name=name, bytes=GIB, range_end=NOW - age * DAY, compressed=done)
        for name, age, done in (
            ("_hyper_1_2", 8, False),
            ("_hyper_1_1", 9, False),
            ("done", 20, True),
            ("new", 6, False),
        )
    )
    seen = OldChunks(rule=0, compression_enabled=True, chunks=chunks)
    (proposal, *_) = plan(timescale="2.17", old_chunks=(seen,)).proposals

    assert re.findall(r"^SELECT .*", proposal.detail, re.MULTILINE) == [
        f'SELECT compress_chunk(\'"_timescaledb_internal"."_hyper_1_{n}"\'::regclass, if_not_compressed => true);'
        for n in (1, 2)
    ]


def test_a_hostile_name_never_reaches_a_statement() -> None:
    evil = "x\"'; DROP TABLE y; --`\n"
    chunk = ChunkFact(schema_name="s", name=evil, bytes=GIB, range_end=0)
    table = TableFact(schema_name=evil, name=evil, bytes=GIB, live_rows=1, dead_rows=10**6)
    made = plan(
        timescale="2",
        old_chunks=(OldChunks(rule=0, compression_enabled=True, chunks=(chunk,)),),
        largest_tables=(table,),
        old_rows=(ROWS.model_copy(update={"referenced_by": (evil,)}),),
    )

    text = "".join(f"{p.title}{p.detail}{p.reason}" for p in made.proposals if not p.title.startswith("Grow"))
    assert "SELECT" not in text
    assert "VACUUM (" not in text
    assert "`" not in text
    assert r"--\x60\x0a" in text


def test_dead_rows_are_vacuumed_by_people_and_never_with_full() -> None:
    (proposal, *_) = plan(
        largest_tables=(TableFact(schema_name="public", name="Orders", bytes=1, live_rows=5, dead_rows=20_000),)
    ).proposals

    assert 'VACUUM (ANALYZE) "public"."Orders";' in proposal.detail


def test_a_large_write_ahead_log_is_not_deleted_but_explained() -> None:
    titles = [proposal.title for proposal in plan(wal_bytes=30 * GIB).proposals]

    assert titles[0] == "Find out what keeps 30.0 GiB of write-ahead log"


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.r3.1")
def test_the_claim_grows_by_the_factor_with_an_exact_patch() -> None:
    (proposal,) = plan(claim=CLAIM).proposals

    assert proposal.title == "Grow the claim postgres-pvc from 50.0 GiB to 75Gi"
    patch = re.search(r"--patch '(.*)'", proposal.detail)
    assert patch
    assert json.loads(patch[1]) == {"spec": {"resources": {"requests": {"storage": "75Gi"}}}}
    assert "kubectl patch pvc postgres-pvc --namespace cryptofunk --type merge" in proposal.detail


@pytest.mark.hazard("cryptofunk.DiskSpaceWarning.r3.1")
@pytest.mark.parametrize(
    ("claim", "reason"),
    [({"requested_bytes": 100 * GIB}, "ceiling is 100.0 GiB"), ({"expandable": False}, "allowVolumeExpansion")],
)
def test_a_claim_that_cannot_grow_is_refused(claim: dict[str, Any], reason: str) -> None:
    made = plan(claim=CLAIM.model_copy(update=claim))

    assert made.proposals == ()
    assert reason in made.refusals[0].reason


@settings(max_examples=2000)
@given(
    present=st.integers(1, 2**45),
    share=st.floats(0, 1.5),
    target=st.floats(1, 99),
    factor=st.floats(1.01, 4),
    ceiling=st.integers(1, 2**45),
)
def test_a_claim_is_never_above_its_ceiling_and_reaches_the_target_below_it(
    present: int, share: float, target: float, factor: float, ceiling: int
) -> None:
    used = int(present * share)
    size, text = claim_size(present, used, target, ClaimExpansion(cluster="c", factor=factor, ceiling=ceiling))

    unit = {"Gi": 2**30, "Mi": 2**20}[text[-2:]]
    assert size == int(text[:-2]) * unit <= ceiling
    if size + unit <= ceiling:
        assert size >= present * factor
        assert size * target / 100 >= used * 0.999999


@settings(max_examples=500)
@given(
    st.lists(
        st.builds(
            OldRows,
            rule=st.just(0),
            before=st.integers(-3, 3).map(lambda days: BEFORE + days * DAY),
            rows=st.integers(0, 10**7),
            newest=st.one_of(st.none(), st.floats(BEFORE - 1e7, BEFORE + 1e7)),
            bytes=st.integers(0, 10 * GIB),
            hypertable=st.booleans(),
            referenced_by=st.sampled_from([(), (), ("x",)]),
        ),
        max_size=4,
    )
)
def test_young_rows_are_never_deleted_and_a_table_is_planned_once(found: list[OldRows]) -> None:
    made = plan(old_rows=tuple(found))

    assert len(made.actions) <= 1
    for action in made.actions:
        arguments = ArchiveRows.from_json(action.arguments)
        assert arguments.before <= "2023-08-16T00:00:00Z"
        assert 0 < arguments.rows <= POLICY.archive_rows[0].max_rows
        assert action.bound.amount == arguments.rows
