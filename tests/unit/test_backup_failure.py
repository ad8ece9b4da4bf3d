"""What is planned about backups, and what counts as a good one."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.remediation.backups.chart import sizes_chart
from nightshift.remediation.backups.facts import (
    BackupDiagnosis,
    BucketFact,
    DumpFact,
    IdentityFact,
    ServerFact,
    StoredFact,
)
from nightshift.remediation.backups.findings import evidence_markdown, findings_of
from nightshift.remediation.backups.picture import as_markdown, sizes_picture
from nightshift.remediation.backups.planner import NOTHING_TO_DO, plan_backup
from nightshift.remediation.backups.policy import BackupFailurePolicy
from nightshift.remediation.backups.retention import expired
from nightshift.remediation.backups.sizes import growing_pauses, room_needed, usual_size
from nightshift.remediation.backups.verification import judge_backup
from nightshift.remediation.clients.s3 import whole_md5, whole_sha256
from nightshift.remediation.disk_space.diagnosis import FileFact, FilesystemUsage
from nightshift.remediation.models import Plan, Target

NOW = 1_800_000_000.0
HOUR = 3600.0
MIB = 2**20
TARGET = Target(system="shop", path=("host", "web1", "backup", "daily"))
SERVER = {"host": "/run/pg", "database": "shop"}
RULE: dict[str, Any] = {
    "make": {"tool": "pg_dump"},
    "source": SERVER,
    "directory": "/backups",
    "patterns": ["*.dump"],
    "proof": {"scratch": SERVER},
    "upload": {"tool": "aws", "bucket": "bucket", "profile": "backup"},
}


def policy(**changes: Any) -> BackupFailurePolicy:
    return BackupFailurePolicy.model_validate({"backups": {"daily": {**RULE, **changes}}})


POLICY = policy()


def dump(hours: float, size: int = 10 * MIB, *, proven: bool = True, name: str = "") -> DumpFact:
    file = FileFact(
        path=f"/backups/{name or f'daily-{hours:g}'}.dump",
        device=1,
        inode=round(hours * 10) + 1,
        size=size,
        allocated=size,
        modified_ns=round((NOW - hours * HOUR) * 1e9),
    )
    return DumpFact(file=file, proven=proven, proof="restored once" if proven else "nobody did", sha256="ab" * 32)


def history(newest: DumpFact, sizes: tuple[int, ...] = (10 * MIB,) * 5) -> tuple[DumpFact, ...]:
    age = (NOW - newest.file.modified_ns / 1e9) / HOUR
    return (newest, *(dump(age + 24 * days, size) for days, size in enumerate(sizes, 1)))


def seen(newest: DumpFact | None, **changes: Any) -> BackupDiagnosis:
    same = StoredFact(key="x.dump", size=newest.file.size, modified=NOW, sha256=newest.sha256) if newest else None
    facts: dict[str, Any] = {
        "name": "daily",
        "now": NOW,
        "usage": FilesystemUsage(
            mount="/backups", device=1, total_bytes=2**40, used_bytes=2**30, available_bytes=2**38
        ),
        "dumps": history(newest) if newest else (),
        "server": ServerFact(bytes=100 * MIB),
        "identity": IdentityFact(arn="arn:aws:iam::1:user/backup"),
        "bucket": BucketFact(objects=1, newest=same, same=same),
    }
    return BackupDiagnosis(**{**facts, **changes})


def kinds(plan: Plan) -> list[str]:
    return [action.kind for action in plan.actions]


NOT_THERE = {"bucket": BucketFact(objects=1)}
TINY = FilesystemUsage(mount="/backups", device=1, total_bytes=2**30, used_bytes=2**30, available_bytes=MIB)
WHOLE = ["make_backup", "prove_backup", "upload_backup"]


@pytest.mark.parametrize(
    ("diagnosis", "planned"),
    [
        (seen(dump(3)), []),
        (seen(dump(27)), WHOLE),
        (seen(None, bucket=BucketFact()), WHOLE),
        (seen(dump(3, proven=False), broken="unexpected end of file", **NOT_THERE), WHOLE),
        (seen(dump(3, proven=False), **NOT_THERE), ["prove_backup", "upload_backup"]),
        (seen(dump(3, proven=False)), ["prove_backup"]),
        (seen(dump(3), **NOT_THERE), ["upload_backup"]),
    ],
    ids=["good", "stale", "none", "broken", "unproven", "unproven but uploaded", "not uploaded"],
)
def test_only_what_is_missing_is_done(diagnosis: BackupDiagnosis, planned: list[str]) -> None:
    plan = plan_backup(TARGET, diagnosis, POLICY)

    assert kinds(plan) == planned
    assert (plan.goal == NOTHING_TO_DO) == (not planned)


@pytest.mark.hazard("bybit_strategy_tester.BackupFailed.r1.1", "bybit_strategy_tester.BackupFailed.r3.1")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"identity": IdentityFact(complaint="ExpiredToken", refused=True)}, "profile that uploads are not accepted"),
        ({"bucket": BucketFact(complaint="refuses us", refused=True)}, "kept besides are not accepted"),
        ({"usage": TINY}, "15.0 MiB are needed"),
        ({"running": ("process 7 (pg_dump)",)}, "being made at this moment: process 7"),
        ({"server": ServerFact(complaint="the database system is starting up")}, "does not answer: the database"),
        ({"usage": TINY.model_copy(update={"read_only": True, "available_bytes": 2**38})}, "mounted read-only"),
        ({"server": ServerFact(bytes=2**40)}, "more than the 20.0 GiB that are restored"),
    ],
    ids=["wrong key", "wrong reader", "full disk", "second run", "server down", "read-only", "terabytes"],
)
def test_a_hazard_is_a_refusal_and_nothing_is_done(changes: dict[str, Any], reason: str) -> None:
    plan = plan_backup(TARGET, seen(dump(27), **changes), POLICY)

    assert plan.actions == ()
    assert reason in " ".join(refusal.reason for refusal in plan.refusals)


def test_a_full_disk_refers_to_the_flow_that_frees_space() -> None:
    plan = plan_backup(TARGET, seen(dump(27), usage=TINY), POLICY)

    assert "disk-space-reclaim" in plan.proposals[0].detail


def test_the_local_backup_is_made_although_the_bucket_is_away() -> None:
    away = BucketFact(complaint="bucket did not answer")

    plan = plan_backup(TARGET, seen(dump(27), bucket=away), POLICY)

    assert kinds(plan) == ["make_backup", "prove_backup"]
    assert plan.refusals[0].what == "Uploading the backup"


def test_another_object_of_that_name_is_never_overwritten() -> None:
    other = StoredFact(key="daily-3.dump", size=7, modified=NOW, sha256="cd" * 32)

    plan = plan_backup(TARGET, seen(dump(3), bucket=BucketFact(objects=1, newest=other, same=other)), POLICY)

    assert plan.actions == ()
    assert "another object has that name" in plan.refusals[0].reason


def test_a_backup_that_shrank_but_can_be_restored_is_for_a_person() -> None:
    small = dump(3, 2 * MIB)

    plan = plan_backup(TARGET, seen(small), POLICY)
    verdict = judge_backup([seen(small), seen(small)], POLICY)

    assert plan.actions == ()
    assert "20% of the usual 10.0 MiB" in plan.proposals[0].reason
    assert not verdict.healthy


def test_a_backup_that_grew_is_told_and_counts_as_good() -> None:
    grown = seen(dump(3, 50 * MIB))

    assert plan_backup(TARGET, grown, POLICY).goal == NOTHING_TO_DO
    assert any("has grown" in finding.title for finding in findings_of(grown, POLICY))


def test_one_broken_backup_of_last_week_does_not_move_what_is_usual() -> None:
    dumps = history(dump(3), (10 * MIB, 10 * MIB, 1, 10 * MIB))

    assert usual_size(dumps, POLICY.backups["daily"]) == 10 * MIB
    assert usual_size(dumps[:3], POLICY.backups["daily"]) is None, "too few to say"


def test_without_any_backup_the_size_of_the_database_must_be_free() -> None:
    assert room_needed((), 7 * MIB) == 7 * MIB
    assert room_needed((dump(3, 4 * MIB),), 100 * MIB) == 6 * MIB


def test_the_symptom_is_gone_only_when_every_look_says_so() -> None:
    good, bad = seen(dump(3)), seen(dump(3), **NOT_THERE)

    assert judge_backup([good, good], POLICY).healthy
    assert not judge_backup([good, bad], POLICY).healthy
    assert judge_backup([good], POLICY).inconclusive
    assert judge_backup([good, seen(dump(2))], POLICY).inconclusive


@pytest.mark.parametrize(
    ("same", "stored"),
    [
        ({"sha256": "ab" * 32}, True),
        ({"sha256": "cd" * 32, "md5": "0" * 32}, False),
        ({"md5": "0" * 32}, True),
        ({"md5": "1" * 32}, False),
        ({}, False),
        ({"sha256": "ab" * 32, "size": 5}, False),
    ],
    ids=["checksum", "other checksum", "entity tag", "other entity tag", "nothing told", "cut off"],
)
def test_an_upload_counts_by_a_checksum_of_the_whole_object(same: dict[str, Any], stored: bool) -> None:
    newest = dump(3)
    there = StoredFact(**{"key": "daily-3.dump", "size": newest.file.size, "modified": NOW, **same})

    assert seen(newest, bucket=BucketFact(same=there), newest_md5="0" * 32).is_stored() is stored


def test_checksums_of_parts_and_tags_that_are_none_are_not_taken_for_the_whole() -> None:
    assert whole_sha256("urAzPGquPN94iIcG1gpuh+BLkbi+geB4TW3CHOvVoO0=").startswith("bab0333c")
    assert whole_sha256("urAzPGquPN94iIcG1gpuh+BLkbi+geB4TW3CHOvVoO0=-3") == ""
    assert whole_md5('"0e9a688b14ef989aab451ecf9edc9e25"', "") == "0e9a688b14ef989aab451ecf9edc9e25"
    assert whole_md5('"0e9a688b14ef989aab451ecf9edc9e25-2"', "") == ""
    assert whole_md5('"0e9a688b14ef989aab451ecf9edc9e25"', "aws:kms") == ""


@pytest.mark.hazard("bybit_strategy_tester.BackupFailed.r3.2")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"directory": "/tmp/backups"}, "survives a restart"),  # noqa: S108
        ({"patterns": ["*.sql"]}, "do not match what pg_dump will be told to write"),
        ({"proof": {"scratch": SERVER, "must_have_rows": {"public.t": 9}, "count_at_most": 5}}, "count_at_most"),
        ({"proof": {"scratch": SERVER, "must_have_rows": {"t; drop table x": 9}}}, "match pattern"),
        ({"source": {"host": "--help", "database": "shop"}}, "match pattern"),
        ({"upload": {"tool": "aws", "bucket": "b", "profile": "-x"}}, "match pattern"),
        ({"make": {"tool": "pgbackrest", "stanza": "s", "scratch_directory": "/s"}}, "leave patterns, upload"),
        ({"retention": {"keep_proven": 0, "older_than": "7d"}}, "greater than or equal to 1"),
        ({"retention": {"keep_proven": 1, "older_than": "1h"}}, "greater than or equal to 86400"),
        ({"proof": {}}, "dumps need patterns"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_the_catalogue_is_read(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        policy(**changes)


def test_pauses_double() -> None:
    assert growing_pauses(5, 3) == (5, 10, 20)


KEEPS = policy(retention={"keep_proven": 2, "older_than": "3d", "most": 2})


def deleted(plan: Plan) -> list[str]:
    return [
        item.partition("#")[0] for one in plan.actions if one.kind == "apply_backup_retention" for item in one.items
    ]


def test_old_backups_go_last_oldest_first_and_the_newest_proven_ones_stay() -> None:
    plan = plan_backup(TARGET, seen(dump(27)), KEEPS)

    assert kinds(plan) == [*WHOLE, "apply_backup_retention"]
    assert deleted(plan) == ["/backups/daily-147.dump", "/backups/daily-123.dump"]
    (action,) = plan.actions[-1:]
    assert (action.bound.amount, action.bound.unit) == (20 * MIB, "bytes")
    assert [kept["path"] for kept in action.arguments["keep"]] == ["/backups/daily-27.dump", "/backups/daily-51.dump"]


@pytest.mark.parametrize(
    "changes",
    [
        {"dumps": (dump(27), *(dump(27 + 24 * day, proven=False) for day in range(1, 6)))},
        {"bucket": BucketFact(complaint="bucket did not answer")},
        {"usage": TINY},
    ],
    ids=["one proven", "not kept elsewhere", "no new one can be made"],
)
def test_nothing_old_goes_before_enough_is_proven_and_the_new_one_is_kept(changes: dict[str, Any]) -> None:
    assert deleted(plan_backup(TARGET, seen(dump(27), **changes), KEEPS)) == []


@given(st.lists(st.tuples(st.floats(1, 900), st.booleans()), max_size=31), st.integers(1, 5), st.integers(1, 20))
def test_retention_never_takes_one_of_the_newest_proven_or_anything_newer(
    found: list[tuple[float, bool]], keep: int, most: int
) -> None:
    dumps = tuple(dump(hours, proven=proven) for hours, proven in sorted(found))
    rule = policy(retention={"keep_proven": keep, "older_than": "1d", "most": most}).backups["daily"]

    gone = expired(dumps, rule, NOW)

    left = [one for one in dumps if one not in gone]
    assert len(gone) <= most
    assert all(one.file.modified_ns < (NOW - 24 * HOUR) * 1e9 for one in gone)
    if gone:
        proven = [one for one in dumps if one.proven]
        assert sum(one.proven for one in left) >= keep
        assert all(one in left for one in proven[:keep])
        assert max(one.file.modified_ns for one in gone) < proven[keep - 1].file.modified_ns


def test_the_picture_shows_each_backup_and_no_name_can_leave_its_place_in_it() -> None:
    dumps = history(dump(3, proven=False))

    drawn = ElementTree.fromstring(sizes_picture("<script>&\"'", dumps, 10 * MIB))  # noqa: S314 - our own

    space = "{http://www.w3.org/2000/svg}"
    bars = [one for one in drawn.iter(f"{space}rect") if one.find(f"{space}title") is not None]
    assert [one.get("fill") for one in bars] == ["seagreen"] * 5 + ["silver"]
    assert list(drawn.iter(f"{space}script")) == []
    assert ElementTree.fromstring(sizes_picture("daily", (), None)) is not None  # noqa: S314 - our own
    shown = as_markdown("Sizes", sizes_picture("x](y)", dumps, None))
    assert re.fullmatch(r"!\[Sizes\]\(data:image/svg\+xml;base64,[A-Za-z0-9+/=]+\)", shown)


def test_names_of_files_reach_people_escaped() -> None:
    hostile = seen(dump(27, name="<b>`x`"))

    page = evidence_markdown(hostile, POLICY) + plan_backup(TARGET, hostile, POLICY).model_dump_json()

    assert "<b>" not in page.replace("```", "")
    assert "09-13 " not in sizes_chart((), None)


@given(
    st.floats(0, 100),
    st.integers(0, 10**9),
    st.booleans(),
    st.sampled_from(["", "unexpected end"]),
    st.integers(0, 2**40),
    st.booleans(),
)
def test_a_plan_never_uploads_what_is_not_proven_in_it_or_before(
    hours: float, size: int, proven: bool, broken: str, free: int, stored: bool
) -> None:
    usage = TINY.model_copy(update={"available_bytes": free})
    changes = {} if stored else NOT_THERE
    newest = dump(hours, size, proven=proven and not broken)

    planned = kinds(plan_backup(TARGET, seen(newest, broken=broken, usage=usage, **changes), POLICY))

    if "upload_backup" in planned and not newest.proven:
        assert planned.index("prove_backup") < planned.index("upload_backup")
    if "make_backup" in planned:
        assert free >= room_needed((newest,), 0)
        assert planned[:2] == ["make_backup", "prove_backup"]
