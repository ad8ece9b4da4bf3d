from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest

from nightshift.remediation.alternatives import alternatives_of
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.disk_space.arguments import (
    ApplyBackupRetention,
    ArchiveFiles,
    CleanPackageCache,
    CutLog,
    DeleteFiles,
    PruneDocker,
    ReleaseDeletedFile,
    VacuumJournal,
)
from nightshift.remediation.disk_space.diagnosis import (
    BackupFact,
    Blindness,
    DeletedOpenFile,
    DirectoryFact,
    DiskSpaceDiagnosis,
    DockerFact,
    DockerImageFact,
    FileFact,
    FilesystemUsage,
    GrowingFile,
    JournalFact,
    PackageCacheFact,
    ProcessFact,
    RuleFiles,
)
from nightshift.remediation.disk_space.planner import NOTHING_TO_DO, plan_disk_cleanup
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.models import Plan, Risk, Target

MIB = 2**20
DAY = 86400
NOW = 1_700_000_000.0
TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/data"))
NGINX = ProcessFact(pid=12, started=900, command="nginx", unit="nginx.service")

POLICY = DiskSpacePolicy.model_validate(
    {
        "package_cache": True,
        "journal": {"keep": "1MiB"},
        "rotated_logs": [{"directory": "/data/log", "patterns": ["*.log.[0-9]*"], "older_than": "7d"}],
        "temporary_files": [{"directory": "/data/tmp", "patterns": ["*"], "older_than": "2d"}],
        "core_dumps": [{"directory": "/data/cores", "patterns": ["core.*"], "older_than": "1d"}],
        "live_logs": [{"directory": "/data/log", "patterns": ["*.log"], "larger_than": "5MiB", "keep_tail": "1MiB"}],
        "release_deleted_files": ["*.log"],
        "archives": [{"directory": "/data/old", "patterns": ["*.csv"], "older_than": "30d", "to": "/mnt/archive"}],
        "backups": [
            {"directory": "/data/backups", "patterns": ["*.dump"], "older_than": "1d", "keep_newest_verified": 2}
        ],
        "docker": {"images_older_than": "7d", "build_cache_older_than": "1d", "keep_images_per_repository": 1},
    }
)


def usage(used: int, total: int = 100 * MIB, **more: Any) -> FilesystemUsage:
    return FilesystemUsage(
        mount="/data", device=7, total_bytes=total, used_bytes=used, available_bytes=total - used, **more
    )


def file(path: str, mib: float = 1, age: float = 10 * DAY, **more: Any) -> FileFact:
    facts = {"device": 7, "inode": crc32(path.encode()), "size": int(mib * MIB), "allocated": int(mib * MIB)}
    return FileFact(path=path, modified_ns=int((NOW - age) * 1e9), **{**facts, **more})


def rule(*files: FileFact, number: int = 0) -> tuple[RuleFiles, ...]:
    return (RuleFiles(rule=number, files=files),)


def plan(used_mib: float = 95, policy: DiskSpacePolicy = POLICY, *, force: bool = False, **seen: Any) -> Plan:
    seen.setdefault("usage", usage(int(used_mib * MIB)))
    return plan_disk_cleanup(TARGET, DiskSpaceDiagnosis(now=NOW, **seen), policy, force=force)


def planned_paths(plan: Plan) -> list[str]:
    return [item["path"] for action in plan.actions for item in action.arguments.get("files", [])]  # type: ignore[union-attr,index,call-overload,misc]


def everything() -> dict[str, Any]:
    """Less than what is missing of each kind, so that every kind is needed."""
    return {
        "package_cache": PackageCacheFact(manager="apt", directory="/data/apt", allocated=MIB),
        "journal": JournalFact(directory="/data/journal", allocated=3 * MIB, archived=MIB),
        "rotated_logs": rule(file("/data/log/a.log.1")),
        "temporary_files": rule(file("/data/tmp/x")),
        "docker": DockerFact(
            root="/data/docker",
            images=(
                DockerImageFact(id="sha256:old", repository="web", created=NOW - 30 * DAY, size=MIB, containers=0),
                DockerImageFact(id="sha256:new", repository="web", created=NOW - 20 * DAY, size=MIB, containers=0),
            ),
            build_cache_bytes=MIB,
            build_cache_old_bytes=MIB,
        ),
        "core_dumps": rule(file("/data/cores/core.1")),
        "archives": rule(file("/data/old/a.csv", age=40 * DAY)),
        "live_logs": rule(file("/data/log/a.log", 6, age=0, open_by=(NGINX,))),
        "deleted_open": (
            DeletedOpenFile(path="/data/log/b.log", device=7, inode=5, allocated=MIB, process=NGINX, descriptor=4),
        ),
        "backups": (tuple(backup(f"/data/backups/{n}.dump", n) for n in range(2, 6)),),
    }


def backup(path: str, age_days: float, verified: bool = True, mib: float = 1, **more: Any) -> BackupFact:
    return BackupFact(file=file(path, mib, age=age_days * DAY, **more), verified=verified)


def test_an_approver_may_choose_only_what_is_of_low_risk() -> None:
    made = plan(**everything())

    low = alternatives_of(made)[0].plan

    assert {action.risk for action in low.actions} == {Risk.LOW}
    assert [action for action in made.actions if action.risk is Risk.LOW] == list(low.actions)
    assert low.within(made)


def test_least_harmful_things_go_first() -> None:
    made = plan(**everything())

    assert [action.kind for action in made.actions] == [
        "clean_package_cache",
        "vacuum_journal",
        "delete_files",
        "delete_files",
        "prune_docker",
        "prune_docker",
        "delete_files",
        "archive_files",
        "cut_log",
        "release_deleted_file",
        "apply_backup_retention",
    ]
    assert [action.risk.rank for action in made.actions] == sorted(action.risk.rank for action in made.actions)
    assert made.actions[-1].risk is Risk.HIGH


def test_it_stops_as_soon_as_the_target_is_reached() -> None:
    logs = [file(f"/data/log/a.log.{n}", 4, age=(20 - n) * DAY) for n in range(1, 8)]
    made = plan(usage=usage(90 * MIB), rotated_logs=rule(*logs), temporary_files=rule(file("/data/tmp/x", 50)))

    assert planned_paths(made) == ["/data/log/a.log.1", "/data/log/a.log.2", "/data/log/a.log.3"]
    assert made.actions[0].title == "Delete 3 rotated logs older than 7 days below /data/log (12.0 MiB)"
    assert made.actions[0].bound.amount == made.actions[0].gain.amount == 12 * MIB  # type: ignore[union-attr]
    assert "78.0 %" in made.expected
    assert made.proposals == ()


@pytest.mark.parametrize("percent", [70, 80, 82, 85])
def test_at_or_below_the_alert_threshold_there_is_nothing_to_do(percent: int) -> None:
    made = plan(percent, rotated_logs=rule(file("/data/log/a.log.1", 40)))

    assert made.goal == NOTHING_TO_DO
    assert (made.actions, made.refusals, made.proposals) == ((), (), ())


def test_force_aims_at_the_target_below_the_alert_threshold() -> None:
    assert plan(82, force=True, rotated_logs=rule(file("/data/log/a.log.1", 40))).actions
    assert not plan(79, force=True, rotated_logs=rule(file("/data/log/a.log.1", 40))).actions


@pytest.mark.hazard("test_watcher.HighDiskUsage.r1.2")
@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (file("/data/log/a.log.1", open_by=(NGINX,)), "holds it open"),
        (file("/data/log/a.log.1", device=8), "another filesystem"),
        (file("/data/log/a.log.1", links=2), "more than one name"),
        (file("/data/log/a.log.1", age=6 * DAY), "less than 7 days ago"),
        (file("/data/log/a.log.1", age=-DAY), "less than 7 days ago"),
        (file("/data/logs/a.log.1"), "below the rule's directory"),
        (file("/data/log/../backups/a.log.1"), "below the rule's directory"),
        (file("/data/log//a.log.1"), "below the rule's directory"),
        (file("/data/log/a.txt"), "matches no pattern"),
    ],
)
def test_a_guard_keeps_the_file_and_says_why(kept: FileFact, reason: str) -> None:
    made = plan(rotated_logs=rule(kept))

    assert made.actions == ()
    assert reason in made.refusals[0].reason
    assert made.refusals[0].what.startswith("1 rotated log below /data/log: a")


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.r1.2")
def test_an_open_file_is_refused_with_the_program_that_holds_it() -> None:
    made = plan(rotated_logs=rule(file("/data/log/a.log.1", open_by=(NGINX,))))

    assert made.refusals[0].what == "1 rotated log below /data/log: a.log.1 (nginx, pid 12)"


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.r1.2")
def test_live_logs_and_backups_are_never_deleted_by_a_wider_rule() -> None:
    wide = {"directory": "/data", "patterns": ["*"], "older_than": 0}
    policy = DiskSpacePolicy.model_validate({**POLICY.model_dump(), "temporary_files": [wide]})
    files = [file(f"/data/{name}") for name in ("log/a.log", "backups/1.dump", "backups/1.dump.sha256", "tmp/x")]

    assert planned_paths(plan(policy=policy, temporary_files=rule(*files))) == ["/data/tmp/x"]


def test_overlapping_rules_plan_a_file_once() -> None:
    wide = {"directory": "/data", "patterns": ["*"], "older_than": 0}
    policy = DiskSpacePolicy.model_validate({**POLICY.model_dump(), "temporary_files": [wide]})
    log = file("/data/log/a.log.1")
    made = plan(policy=policy, rotated_logs=rule(log), temporary_files=rule(log))

    assert planned_paths(made) == ["/data/log/a.log.1"]


def test_a_grown_live_log_is_cut_with_slack_for_the_night() -> None:
    before = plan(live_logs=rule(file("/data/log/a.log", 40, age=0, open_by=(NGINX,))))
    later = plan(99, live_logs=rule(file("/data/log/a.log", 44, age=0, open_by=(NGINX,))))
    far_later = plan(99, live_logs=rule(file("/data/log/a.log", 80, age=0, open_by=(NGINX,))))

    arguments = CutLog.from_json(before.actions[0].arguments)
    assert arguments.keep_tail == MIB
    assert before.actions[0].gain.amount == 39 * MIB  # type: ignore[union-attr]
    assert before.actions[0].bound.amount == 39 * MIB * 3 // 2
    assert later.bounded_by(before).within(before)
    assert later.bounded_by(before).actions[0].bound == before.actions[0].bound
    assert not far_later.bounded_by(before).within(before)


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (file("/data/log/a.log", 5), "smaller"),
        (file("/data/log/a.log", 50, allocated=4096), "smaller"),
        (file("/data/log/a.log", 50, links=2), "more than one name"),
        (file("/data/log/a.log", 50, device=1), "another filesystem"),
    ],
)
def test_a_log_that_must_not_be_cut_is_refused(log: FileFact, reason: str) -> None:
    made = plan(live_logs=rule(log))

    assert made.actions == ()
    assert reason in made.refusals[0].reason


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.r2.2")
def test_backups_go_oldest_first_and_the_newest_verified_stay() -> None:
    backups = [backup(f"/data/backups/{n}.dump", n, verified=n not in (2, 9)) for n in (1, 2, 3, 4, 8, 9)]
    made = plan(99, backups=(tuple(backups),))

    arguments = ApplyBackupRetention.from_json(made.actions[0].arguments)
    assert [f.path for f in arguments.keep] == ["/data/backups/1.dump", "/data/backups/3.dump"]
    assert planned_paths(made) == [f"/data/backups/{n}.dump" for n in (9, 8, 4)]
    assert made.actions[0].undo == "cannot be undone"


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.r2.2")
@pytest.mark.parametrize(
    "verified",
    [
        [],
        [backup("/data/backups/v.dump", 1)],
        [backup("/data/backups/v.dump", 1), backup("/data/backups/empty.dump", 2, mib=0)],
        [backup("/data/backups/v.dump", 1, inode=3), backup("/data/backups/same.dump", 1, inode=3)],
    ],
    ids=["none", "one", "one and an empty one", "one under two names"],
)
def test_without_enough_verified_backups_none_is_deleted(verified: list[BackupFact]) -> None:
    made = plan(99, backups=((*verified, *(backup(f"/data/backups/{n}.dump", n, verified=False) for n in (5, 6))),))

    assert made.actions == ()
    assert "newest 2 verified ones must stay" in made.refusals[0].reason


def test_what_one_backup_rule_keeps_no_other_rule_deletes() -> None:
    rules = [{**POLICY.backups[0].model_dump(), "keep_newest_verified": keep} for keep in (1, 3)]
    policy = DiskSpacePolicy.model_validate({**POLICY.model_dump(), "backups": rules})
    backups = tuple(backup(f"/data/backups/{n}.dump", n) for n in (2, 3, 4, 5))

    assert planned_paths(plan(99, policy, backups=(backups, backups))) == ["/data/backups/5.dump"]


@pytest.mark.hazard(
    "test_watcher.HighDiskUsage.r1.3",
    "bybit_strategy_tester.DiskSpaceCritical.r1.4",
    "bybit_strategy_tester.DiskSpaceCritical.r2.1",
)
def test_images_in_use_or_newest_and_volumes_stay() -> None:
    def image(name: str, age: float, containers: int = 0, **more: Any) -> DockerImageFact:
        facts = {"id": name, "repository": "web", "created": NOW - age * DAY, "size": MIB, "containers": containers}
        return DockerImageFact(**{**facts, **more})

    images = (
        image("used", 50, containers=1),
        image("oldest", 40),
        image("newest", 10),
        image("young", 3, repository="db", tags=("db:2", "cache:1")),
        image("last of cache", 60, repository="db", tags=("db:1", "cache:0")),
        image("only", 90, repository="solo"),
    )
    made = plan(docker=DockerFact(root="/data/docker", images=images, unused_volumes=2, stopped_containers=1))

    assert PruneDocker.from_json(made.actions[0].arguments).images == ("last of cache", "oldest")
    words = " ".join(f"{refusal.what} {refusal.reason}" for refusal in made.refusals)
    assert "2 unused volumes of Docker" in words
    assert "1 stopped container of Docker" in words
    assert "a container, running or stopped, was made from it" in words


def test_a_deleted_open_file_is_released_once_where_a_pattern_allows_it() -> None:
    worker = ProcessFact(pid=13, started=901, command="nginx")
    held = DeletedOpenFile(path="/data/log/b.log", device=7, inode=5, allocated=30 * MIB, process=NGINX, descriptor=4)
    made = plan(deleted_open=(held, held.model_copy(update={"process": worker})))

    assert len(made.actions) == 1
    assert ReleaseDeletedFile.from_json(made.actions[0].arguments) == ReleaseDeletedFile.of(held)


def test_a_deleted_open_file_no_pattern_names_is_left_to_people() -> None:
    held = DeletedOpenFile(path="/data/db/t1", device=7, inode=5, allocated=12 * MIB, process=NGINX, descriptor=4)
    made = plan(deleted_open=(held,))

    assert made.actions == ()
    assert any("release_deleted_files" in refusal.reason for refusal in made.refusals)
    assert made.proposals[0].title == "Restart unit nginx.service (pid 12) to release 12.0 MiB"


def test_a_mount_the_policy_does_not_name_is_one_refusal() -> None:
    policy = POLICY.model_copy(update={"mounts": ("/srv",)})
    made = plan(policy=policy, **everything())

    assert (made.actions, made.proposals, len(made.refusals)) == ((), (), 1)
    assert made.refusals[0].lifted_by == "the mount point in mounts"


def test_a_read_only_filesystem_is_one_refusal() -> None:
    made = plan(**{**everything(), "usage": usage(95 * MIB, read_only=True)})

    assert (made.actions, len(made.refusals)) == ((), 1)
    assert "read-only" in made.refusals[0].reason


def test_running_out_of_inodes_is_told_from_running_out_of_bytes() -> None:
    full = usage(20 * MIB, inodes_total=100, inodes_used=95)
    small = [file(f"/data/tmp/{n}", 0, age=(50 - n) * DAY) for n in range(40)]
    made = plan(
        usage=full, temporary_files=rule(*small), live_logs=rule(file("/data/log/a.log", 10, age=0, open_by=(NGINX,)))
    )

    assert "runs out of inodes" in made.goal
    assert [action.kind for action in made.actions] == ["delete_files"]
    assert str(made.actions[0].gain) == "16 inodes"
    assert planned_paths(made)[0] == "/data/tmp/0"


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.r3.2")
def test_when_everything_allowed_is_not_enough_people_get_the_rest() -> None:
    made = plan(
        rotated_logs=rule(file("/data/log/a.log.1", 2)),
        largest_directories=(
            DirectoryFact(path="/data", allocated=95 * MIB, files=9),
            DirectoryFact(path="/data/log", allocated=2 * MIB, files=1),
            DirectoryFact(path="/data/uploads", allocated=60 * MIB, files=8),
            DirectoryFact(path="/data/uploads/big", allocated=50 * MIB, files=2),
        ),
        largest_files=(file("/data/uploads/big/film.mp4", 45, open_by=(NGINX,)), file("/data/log/a.log.1", 2)),
        growing=(GrowingFile(path="/data/uploads/big/film.mp4", bytes_per_second=1.2 * MIB),),
        bytes_per_second=1.2 * MIB,
    )

    assert [action.kind for action in made.actions] == ["delete_files"]
    assert "short of the target" in made.expected
    growth, largest, larger = made.proposals
    assert growth.title == (
        "Stop what is growing: /data/uploads/big/film.mp4 by 1.2 MiB/s, written by nginx (pid 12, unit nginx.service)"
    )
    assert largest.detail == "Directories: /data/uploads (60.0 MiB); files: /data/uploads/big/film.mp4 (45.0 MiB)."
    assert larger.title == "Grow the volume of /data by at least 17.0 MiB, to 117.0 MiB"
    assert larger.detail.endswith("grow the volume, then its partition, then the filesystem.")


def test_blindness_is_shown() -> None:
    made = plan(blind=(Blindness(what="open files of other users", why="permission denied"),))

    assert made.refusals[-1].what == "Anything about open files of other users"
    assert made.refusals[-1].reason == "it could not be seen: permission denied"


def test_hostile_names_are_never_raw_where_people_read() -> None:
    hostile = "x`|<img src=x>\n\x1b[2J[a](www.evil.com)"
    evil = ProcessFact(pid=3, started=1, command=hostile, unit=hostile)
    made = plan(
        rotated_logs=rule(file(f"/data/log/{hostile}.log.1", open_by=(evil,))),
        live_logs=rule(file(f"/data/log/{hostile}.log", 8, age=0)),
        deleted_open=(
            DeletedOpenFile(path=f"/{hostile}", device=7, inode=5, allocated=MIB, process=evil, descriptor=4),
            DeletedOpenFile(path=f"/{hostile}.log", device=7, inode=6, allocated=MIB, process=evil, descriptor=5),
        ),
        growing=(GrowingFile(path=hostile, bytes_per_second=9),),
        largest_files=(file(f"/data/{hostile}"),),
        blind=(Blindness(what=hostile, why=hostile),),
    )
    read = [made.goal, made.expected, *(f"{a.title}{a.reason}{a.undo}" for a in made.actions)]
    read += [f"{r.what}{r.reason}{r.lifted_by}" for r in made.refusals]
    read += [f"{p.title}{p.detail}{p.reason}" for p in made.proposals]

    assert len(made.actions) == 2
    assert r"x\x60\x7c\x3cimg" in "".join(read)
    assert not set("`|<>[]\n\x1b") & set("".join(read))


def test_arguments_survive_their_json_form() -> None:
    made = plan(**everything())
    kinds: dict[str, type[ActionArguments]] = {
        kind.KIND: kind
        for kind in (
            ApplyBackupRetention,
            ArchiveFiles,
            CleanPackageCache,
            CutLog,
            DeleteFiles,
            PruneDocker,
            ReleaseDeletedFile,
            VacuumJournal,
        )
    }

    assert {action.kind for action in made.actions} == set(kinds)
    for action in made.actions:
        assert kinds[action.kind].from_json(action.arguments).to_json() == action.arguments


@pytest.mark.parametrize(
    ("old", "reason"),
    [
        (backup("/data/backups/old.dump", 9, open_by=(NGINX,)), "holds it open"),
        (backup("/data/backups/old.dump", 9, links=2), "more than one name"),
        (backup("/data/backups/old.dump", 0.9), "less than 1 day ago"),
    ],
)
def test_an_old_backup_that_is_in_use_or_not_old_enough_stays(old: BackupFact, reason: str) -> None:
    newer = tuple(backup(f"/data/backups/{n}.dump", n / 10) for n in (1, 2))
    made = plan(99, backups=((*newer, old),))

    assert made.actions == ()
    assert reason in made.refusals[0].reason


def test_backups_as_old_as_the_oldest_kept_one_stay() -> None:
    same_moment = tuple(backup(f"/data/backups/{n}.dump", 5) for n in range(4))

    assert plan(99, backups=(same_moment,)).actions == ()


def test_a_backup_is_not_cut_as_if_it_were_a_log() -> None:
    logs = {"directory": "/data/backups", "patterns": ["*"], "larger_than": 0}
    policy = DiskSpacePolicy.model_validate({**POLICY.model_dump(), "live_logs": [logs]})
    made = plan(policy=policy, live_logs=rule(file("/data/backups/1.dump", 20, age=0)))

    assert made.actions == ()
    assert "it is a backup" in made.refusals[0].reason
