"""The volume of a database, judged and told in words: what was deleted is not what the volume has again."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.clients.prometheus import selector
from nightshift.remediation.clients.row_archive import table_folder
from nightshift.remediation.disk_space.database_diagnosis import (
    DatabaseVolumeDiagnosis,
    LogKeeper,
    LongTransaction,
    OldRows,
    TableFact,
    VolumeUsage,
    WatchedVolume,
)
from nightshift.remediation.disk_space.database_effects import RowsArchived
from nightshift.remediation.disk_space.database_findings import evidence_markdown, findings_of
from nightshift.remediation.disk_space.database_planner import MOST_UNINDEXED, plan_database_volume
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy, VolumeSize
from nightshift.remediation.disk_space.database_verification import judge_volume
from nightshift.remediation.disk_space.diagnosis import Blindness
from nightshift.remediation.models import Target

GIB = 2**30
DAY = 86400.0
NOW = 1_800_000_000.0
TARGET = Target(system="shop", path=("database", "main", "claim", "postgres-pvc"))


def policy(**changes: Any) -> DatabaseVolumePolicy:
    return DatabaseVolumePolicy.model_validate(
        {
            "volume": "database",
            "size": {"capacity": "100GiB"},
            "watch": 60,
            "refill_horizon": "1d",
            "archive_rows": [{"table": "sessions", "time_column": "at", "older_than": "90d", "to": "/mnt/archive"}],
            "expand": {"cluster": "cluster", "factor": 1.5, "ceiling": "500GiB"},
            **changes,
        }
    )


def used(gib: float, at: float = 0) -> VolumeUsage:
    return VolumeUsage(total_bytes=100 * GIB, used_bytes=round(gib * GIB), at=NOW + at)


def series(*gibs: float, step: float = 20) -> list[VolumeUsage]:
    return [used(gib, number * step) for number, gib in enumerate(gibs)]


def watched(*gibs: float, unknown: str = "") -> WatchedVolume:
    return WatchedVolume(samples=tuple(series(*gibs)), unknown=unknown)


def diagnosis(gib: float = 90, **changes: Any) -> DatabaseVolumeDiagnosis:
    return DatabaseVolumeDiagnosis(volume=used(gib), now=NOW, **changes)


def old_rows(**changes: Any) -> OldRows:
    before = (NOW - 90 * DAY) // DAY * DAY
    return OldRows(rule=0, before=before, rows=1000, newest=before - 1, bytes=GIB, **changes)


def test_below_the_target_and_steady_is_healthy() -> None:
    verdict = judge_volume("postgres-pvc", diagnosis(), watched(70, 70, 70, 70), policy())

    assert verdict.healthy
    assert verdict.reason == "Usage of the volume fell from 90.0 % to 70.0 % (target 80 %) and stayed there for 1m."


def test_rows_deleted_without_space_for_the_volume_are_not_a_success() -> None:
    verdict = judge_volume("postgres-pvc", diagnosis(), watched(90, 90, 90, 90), policy())

    assert not verdict.healthy
    assert "no less than before, and 10.0 GiB above the target of 80 %" in verdict.reason
    assert "that does not solve it" in verdict.reason
    assert "Grow the claim postgres-pvc from 100.0 GiB to 150Gi" in verdict.reason
    assert '{"spec":{"resources":{"requests":{"storage":"150Gi"}}}}' in verdict.findings[-1].detail


def test_a_volume_that_still_grows_is_told_with_its_time_to_full() -> None:
    verdict = judge_volume("postgres-pvc", diagnosis(), watched(70, 70.1, 70.2, 70.3), policy())

    assert not verdict.healthy
    assert "above 80 % in 32m 20s and full in 1h 39m" in verdict.reason
    assert verdict.findings[1].data["bytes_per_second"] == pytest.approx(0.1 * GIB / 20, rel=1e-6)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([], "was not measured"),
        (series(70), "is not known"),
        (series(70, 70, 70, step=1), "is not known"),
        ([used(70), used(70), used(70)], "is not known: 1 usable measurement"),
        ([used(70, math.nan), used(70), used(70, 60)], "is not known: 2 usable measurements"),
    ],
)
def test_what_was_not_watched_is_not_known_to_stay(samples: list[VolumeUsage], words: str) -> None:
    verdict = judge_volume("postgres-pvc", diagnosis(), WatchedVolume(samples=tuple(samples)), policy())

    assert not verdict.healthy
    assert words in verdict.reason


@pytest.mark.parametrize(
    ("expand", "words"),
    [
        (None, "No rule of the policy allows a larger claim than 100.0 GiB"),
        ({"cluster": "cluster", "ceiling": "100GiB"}, "Growing the claim postgres-pvc is not possible"),
    ],
)
def test_without_a_way_out_the_verdict_says_so(expand: dict[str, str] | None, words: str) -> None:
    verdict = judge_volume("postgres-pvc", diagnosis(), watched(90, 90, 90, 90), policy(expand=expand))

    assert words in verdict.reason


@given(st.lists(st.tuples(st.floats(0, 120), st.floats(0, 10_000)), max_size=8))
def test_healthy_always_means_at_or_below_the_target(points: list[tuple[float, float]]) -> None:
    samples = [used(gib, at) for gib, at in points]
    verdict = judge_volume("postgres-pvc", diagnosis(), WatchedVolume(samples=tuple(samples)), policy())

    if verdict.healthy:
        newest = max(samples, key=lambda sample: sample.at)
        assert newest.used_percent <= 80
        assert verdict.findings
    assert verdict.reason


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "read-only server": ({"read_only": True}, {}, "the server is read-only (default_transaction_read_only)"),
    "unfit table": ({}, {"unfit": ("it has no primary key",)}, "it has no primary key"),
    "large table without an index": (
        {},
        {"indexed": False, "table_bytes": MOST_UNINDEXED + 1},
        "no index begins with at, so each batch would read the whole table",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_must_not_be_deleted_is_refused_with_the_reason(case: str) -> None:
    server, table, reason = REFUSED[case]
    plan = plan_database_volume(TARGET, diagnosis(old_rows=(old_rows(**table),), **server), policy())

    assert plan.actions == ()
    assert reason in [refusal.reason for refusal in plan.refusals]


def test_a_small_table_needs_no_index() -> None:
    found = old_rows(indexed=False, table_bytes=MOST_UNINDEXED)
    (action,) = plan_database_volume(TARGET, diagnosis(old_rows=(found,)), policy()).actions

    assert action.undo == "insert the rows again from the archive in /mnt/archive"


def test_findings_name_everything_and_escape_it() -> None:
    hostile = "<script>`$(id)`\n"
    found = diagnosis(
        databases={hostile: 5 * GIB},
        wal_bytes=GIB,
        in_recovery=True,
        read_only=True,
        largest_tables=(TableFact(schema_name=hostile, name=hostile, bytes=GIB, live_rows=7, dead_rows=3),),
        old_rows=(old_rows(oldest=-1e300, estimated=True),),
        long_transactions=(LongTransaction(holder=hostile, seconds=7200, state=hostile),),
        log_keepers=(LogKeeper(slot=hostile, active=True, bytes=GIB),),
        blind=(Blindness(what=hostile, why=hostile),),
    )
    shown = findings_of(found, policy(compress=[{"hypertable": "ticks", "older_than": "7d"}]))

    text = "\n".join(f"{finding.title}: {finding.detail}" for finding in shown) + evidence_markdown(found)
    assert "<" not in text
    assert "`" not in text
    for words in (
        "The volume is 90.0 % full",
        "The server is a standby",
        "The server is read-only",
        "about 1,000 rows of sessions older than 90 days",
        "from a time out of range to",
        "TimescaleDB is not installed",
        "The write-ahead log takes 1.0 GiB",
        "A transaction has been open for 2h",
        "Not seen: ",
    ):
        assert words in text


def archived(**changes: Any) -> RowsArchived:
    return RowsArchived.model_validate(
        {
            "rows": 1200,
            "files": 3,
            "archive": "/mnt/archive/x",
            "table_bytes_before": 5 * 2**20,
            "table_bytes_after": 4 * 2**20,
            **changes,
        }
    )


def test_the_effect_tells_the_volumes_space_from_the_tables() -> None:
    assert archived(free_inside=3 * 2**20).summary == (
        "1,200 rows archived in 3 files, read back, then deleted; the archive is /mnt/archive/x; "
        "the volume has 1.0 MiB more; 3.0 MiB inside the table are free for new rows"
    )
    assert archived(table_bytes_after=6 * 2**20).returned == 0
    assert (
        "; old rows are left: other sessions hold them locked"
        in archived(left="other sessions hold them locked").summary
    )
    assert "vacuum did not end well: it took too long" in archived(vacuum_trouble="it took too long").summary
    assert archived(rows=0, files=0).summary == "no row was old enough and free to go"


@given(st.text(), st.text(), st.text())
def test_a_tables_archives_stay_below_their_directory(database: str, schema: str, table: str) -> None:
    folder = table_folder("/mnt/archive", ("1", database, schema, table))

    assert folder.parent.as_posix() == "/mnt/archive"
    assert folder.name.isascii()
    assert len(folder.name) < 200


def test_no_two_tables_share_a_folder() -> None:
    names = [("1", "a", "b.c", "d"), ("1", "a", "b", "c.d"), ("1", "a", "b", "C.d"), ("2", "a", "b", "c.d")]

    assert len({table_folder("/x", name) for name in names}) == len(names)


@given(st.text())
def test_no_label_value_widens_a_selector(value: str) -> None:
    text = selector("metric", {"claim": value})

    assert text.startswith('metric{claim="')
    inside = text.removeprefix('metric{claim="').removesuffix('"}')
    unescaped = inside.replace("\\\\", "").replace('\\"', "").replace("\\n", "")
    assert '"' not in unescaped
    assert "\n" not in unescaped
    assert "\\" not in unescaped


@pytest.mark.parametrize("size", [{}, {"capacity": 1, "prometheus": "p"}, {"capacity": 1, "namespace": "a"}])
def test_a_volumes_size_has_exactly_one_source(size: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"exactly one of|belongs to"):
        VolumeSize.model_validate(size)


def test_what_prometheus_could_not_tell_at_the_end_is_neither_healthy_nor_a_failure() -> None:
    """It counts as no help, but nothing is undone for it."""
    why = "metrics does not tell what it is: its target does not answer Prometheus (up is 0)."

    verdict = judge_volume("postgres-pvc", diagnosis(), watched(70, 70, 70, 70, unknown=why), policy())

    assert (verdict.healthy, verdict.inconclusive) == (False, True)
    assert verdict.reason == f"Whether it helped is not known. {why}"


def test_a_measured_failure_is_one_also_when_the_watch_was_short() -> None:
    assert not judge_volume("postgres-pvc", diagnosis(), watched(90, 90), policy()).inconclusive
    assert judge_volume("postgres-pvc", diagnosis(), watched(70, 70), policy()).inconclusive
