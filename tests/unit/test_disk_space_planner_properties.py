"""What holds for every plan, whatever was seen: checked on thousands of made-up diagnoses."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any
from zlib import crc32

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from nightshift.remediation.disk_space.arguments import ApplyBackupRetention
from nightshift.remediation.disk_space.diagnosis import (
    BackupFact,
    DeletedOpenFile,
    DiskSpaceDiagnosis,
    DockerFact,
    DockerImageFact,
    FileFact,
    FilesystemUsage,
    JournalFact,
    PackageCacheFact,
    ProcessFact,
    RuleFiles,
)
from nightshift.remediation.disk_space.findings import evidence_markdown, findings_of
from nightshift.remediation.disk_space.planner import plan_disk_cleanup
from nightshift.remediation.disk_space.policy import DiskSpacePolicy, FileRule
from nightshift.remediation.disk_space.space import missing
from nightshift.remediation.models import Action, Plan, Target

DEVICE, NOW, DAY, BLOCK = 7, 1_700_000_000.0, 86400, 4096
TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/d"))
POLICY = DiskSpacePolicy.model_validate(
    {
        "package_cache": True,
        "journal": {"keep": 8192},
        "rotated_logs": [
            {"directory": "/d/a", "patterns": ["*.1", "*.gz"], "older_than": "7d"},
            {"directory": "/d", "patterns": ["*.gz"], "older_than": "2d"},
        ],
        "temporary_files": [{"directory": "/d/b", "patterns": ["*"], "older_than": "1d"}],
        "core_dumps": [{"directory": "/d", "patterns": ["core*"], "older_than": 0}],
        "live_logs": [{"directory": "/d/a", "patterns": ["*.log"], "larger_than": 4096, "keep_tail": 4096}],
        "release_deleted_files": ["*.log"],
        "archives": [{"directory": "/d/b", "patterns": ["*.csv"], "older_than": "3d", "to": "/mnt/x"}],
        "backups": [
            {"directory": "/d/c", "patterns": ["*"], "older_than": "1d", "keep_newest_verified": 2},
            {"directory": "/d/c", "patterns": ["*.gz"], "older_than": "5d", "keep_newest_verified": 1},
        ],
        "docker": {"images_older_than": "3d", "build_cache_older_than": "1d", "keep_images_per_repository": 1},
    }
)
DELETING = {
    "rotated_logs": POLICY.rotated_logs,
    "temporary_files": POLICY.temporary_files,
    "core_dumps": POLICY.core_dumps,
    "archives": POLICY.archives,
}
HOSTILE = "`|<>&[]*{}~\n\x1b\u202e\u2028"

processes = st.builds(
    ProcessFact,
    pid=st.integers(1, 5),
    started=st.integers(0, 2),
    command=st.sampled_from(["nginx", HOSTILE]),
    unit=st.sampled_from(["", "a.service", HOSTILE]),
)
names = st.sampled_from(
    ["x.1", "x.gz", "y.gz", "x.csv", "core.1", "app.log", "z", f"{HOSTILE}.gz", "b.dump", "b.dump.sha256", "..", ""]
)
folders = st.sampled_from(["/d", "/d/a", "/d/a/sub", "/d/b", "/d/c", "/d/c/../a", "/e", "/d/ab"])
paths = st.builds(lambda folder, name: f"{folder}/{name}", folders, names)
files = st.builds(
    FileFact,
    path=paths,
    device=st.sampled_from([DEVICE, DEVICE, DEVICE, 8]),
    inode=st.integers(1, 40),
    size=st.integers(0, 60).map(lambda blocks: blocks * BLOCK),
    allocated=st.integers(0, 60).map(lambda blocks: blocks * BLOCK),
    modified_ns=st.integers(-2, 12 * 24).map(lambda hours: int((NOW - hours * 3600) * 1e9)),
    links=st.sampled_from([1, 1, 1, 1, 2]),
    open_by=st.one_of(st.just(()), st.just(()), processes.map(lambda process: (process,))),
)
listings = st.lists(files, max_size=7).map(tuple)


def found(rules: int) -> st.SearchStrategy[tuple[RuleFiles, ...]]:
    each = [st.builds(RuleFiles, rule=st.just(number), files=listings) for number in range(rules)]
    return st.tuples(*each)


backups = st.lists(st.builds(BackupFact, file=files, verified=st.booleans()), max_size=8).map(tuple)
images = st.builds(
    DockerImageFact,
    id=st.sampled_from("ABCDEF"),
    repository=st.sampled_from(["", "web", "db"]),
    tags=st.sampled_from([(), ("web:1",), ("db:1", "cache:2")]),
    created=st.integers(-1, 9).map(lambda days: NOW - days * DAY),
    size=st.integers(0, 50).map(lambda blocks: blocks * BLOCK),
    containers=st.sampled_from([0, 0, 1]),
)
dockers = st.builds(
    DockerFact,
    root=st.just("/d/docker"),
    images=st.lists(images, max_size=6).map(tuple),
    build_cache_old_bytes=st.integers(0, 50 * BLOCK),
    unused_volumes=st.integers(0, 2),
)
deleted = st.builds(
    DeletedOpenFile,
    path=paths,
    device=st.sampled_from([DEVICE, 8]),
    inode=st.integers(50, 55),
    allocated=st.integers(0, 60).map(lambda blocks: blocks * BLOCK),
    process=processes,
    descriptor=st.integers(3, 5),
)


@st.composite
def usages(draw: st.DrawFn) -> FilesystemUsage:
    total = 1000 * BLOCK
    used = draw(st.integers(700, 1000)) * BLOCK
    inodes = draw(st.sampled_from([0, 100]))
    return FilesystemUsage(
        mount="/d",
        device=DEVICE,
        total_bytes=total,
        used_bytes=used,
        available_bytes=total - used,
        inodes_total=inodes,
        inodes_used=draw(st.integers(0, inodes)),
    )


amounts = st.integers(0, 200_000)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


diagnoses = st.builds(
    DiskSpaceDiagnosis,
    usage=usages(),
    rotated_logs=found(2),
    temporary_files=found(1),
    core_dumps=found(1),
    archives=found(1),
    live_logs=found(1),
    backups=st.one_of(st.just(()), st.tuples(backups, backups)),
    deleted_open=st.lists(deleted, max_size=4).map(tuple),
    largest_files=listings,
    journal=optional(st.builds(JournalFact, directory=st.just("/d/j"), allocated=amounts, archived=amounts)),
    package_cache=optional(
        st.builds(PackageCacheFact, manager=st.just("apt"), directory=st.just("/d/p"), allocated=amounts)
    ),
    docker=optional(dockers),
    now=st.just(NOW),
)
thousands = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def plain_diagnoses(draw: st.DrawFn) -> DiskSpaceDiagnosis:
    """Filesystems short of bytes, with many ordinary files that may go and no file twice."""
    total, used = 1000 * BLOCK, draw(st.integers(860, 1000)) * BLOCK
    sizes_and_ages = st.tuples(st.integers(0, 40), st.integers(8, 20))

    def some(number: int, pattern: str) -> RuleFiles:
        chosen = draw(st.lists(sizes_and_ages, max_size=5))
        files = tuple(
            FileFact(
                path=pattern.format(position),
                device=DEVICE,
                inode=crc32(pattern.format(position).encode()),
                size=blocks * BLOCK,
                allocated=blocks * BLOCK,
                modified_ns=int((NOW - days * DAY) * 1e9),
            )
            for position, (blocks, days) in enumerate(chosen)
        )
        return RuleFiles(rule=number, files=files)

    return DiskSpaceDiagnosis(
        usage=FilesystemUsage(
            mount="/d", device=DEVICE, total_bytes=total, used_bytes=used, available_bytes=total - used
        ),
        rotated_logs=(some(0, "/d/a/{}.1"), some(1, "/d/x/{}.gz")),
        temporary_files=(some(0, "/d/b/{}"),),
        core_dumps=(some(0, "/d/core{}"),),
        archives=(some(0, "/d/b/{}.csv"),),
        live_logs=(some(0, "/d/a/{}.log"),),
        docker=draw(optional(dockers)),
        now=NOW,
    )


def planned(plan: Plan) -> Iterator[tuple[Action, dict[str, Any]]]:
    """Every file an action would delete, move or cut."""
    for action in plan.actions:
        listed: Any = action.arguments.get(
            "files", [action.arguments[key] for key in ("file",) if key in action.arguments]
        )
        for file in listed:
            yield action, file


def facts_by_identity(diagnosis: DiskSpaceDiagnosis) -> dict[str, list[FileFact]]:
    groups = (*diagnosis.rotated_logs, *diagnosis.temporary_files, *diagnosis.core_dumps)
    everything = [f for facts in (*groups, *diagnosis.archives, *diagnosis.live_logs) for f in facts.files]
    everything += [backup.file for listing in diagnosis.backups for backup in listing]
    facts: dict[str, list[FileFact]] = {}
    for file in everything:
        facts.setdefault(file.identity, []).append(file)
    return facts


def rules_of(action: Action) -> list[FileRule]:
    if action.kind == ApplyBackupRetention.KIND:
        return list(POLICY.backups)
    return [rule for rules in DELETING.values() for rule in rules if rule.directory == action.arguments["root"]]


@thousands
@given(diagnoses)
def test_every_file_is_where_it_may_be_touched_old_enough_and_unopened(diagnosis: DiskSpaceDiagnosis) -> None:
    facts = facts_by_identity(diagnosis)
    for action, file in planned(plan_disk_cleanup(TARGET, diagnosis, POLICY)):
        name = file["path"].rpartition("/")[2]
        event(action.kind)
        assert file["device"] == DEVICE
        assert file["path"].startswith(f"{action.arguments['root']}/")
        assert not {"", ".", ".."} & set(file["path"].split("/")[1:])
        assert any(fact.links == 1 for fact in facts[f"{file['path']}#{file['device']}:{file['inode']}"])
        if action.kind == "cut_log":
            assert fnmatchcase(name, "*.log")
            continue
        age = NOW - file["modified_ns"] / 1e9
        assert any(
            age >= rule.older_than and any(fnmatchcase(name, pattern) for pattern in rule.patterns)
            for rule in rules_of(action)
        )
        same = facts[f"{file['path']}#{file['device']}:{file['inode']}"]
        assert any(not fact.open_by and fact.modified_ns == file["modified_ns"] for fact in same)


@thousands
@given(diagnoses)
def test_only_retention_touches_backups_and_only_cutting_touches_live_logs(diagnosis: DiskSpaceDiagnosis) -> None:
    for action, file in planned(plan_disk_cleanup(TARGET, diagnosis, POLICY)):
        assert file["path"].startswith("/d/c/") == (action.kind == ApplyBackupRetention.KIND)
        live = file["path"].startswith("/d/a/") and file["path"].endswith(".log")
        assert live == (action.kind == "cut_log")


@thousands
@given(diagnoses)
def test_the_newest_verified_backups_never_appear(diagnosis: DiskSpaceDiagnosis) -> None:
    plan = plan_disk_cleanup(TARGET, diagnosis, POLICY)
    touched = [file for action, file in planned(plan) if action.kind == ApplyBackupRetention.KIND]
    for rule, listing in zip(POLICY.backups, diagnosis.backups, strict=False):
        good = sorted(
            (b.file for b in listing if b.verified and b.file.size), key=lambda f: f.modified_ns, reverse=True
        )
        inodes = list(dict.fromkeys((f.device, f.inode) for f in good if not f.path.endswith(".sha256")))
        newest = inodes[: rule.keep_newest_verified]
        listed = {b.file.identity for b in listing}
        for file in touched:
            assert (file["device"], file["inode"]) not in newest
            if f"{file['path']}#{file['device']}:{file['inode']}" in listed:
                assert len(newest) == rule.keep_newest_verified


@thousands
@given(plain_diagnoses())
def test_it_takes_all_that_is_needed_and_nothing_more(diagnosis: DiskSpaceDiagnosis) -> None:
    plan = plan_disk_cleanup(TARGET, diagnosis, POLICY)
    need = missing(diagnosis.usage, POLICY)
    gains = [action.gain.amount for action in plan.actions if action.gain]

    assert len(gains) == len(plan.actions)
    assert sum(gains[:-1]) < need.bytes or not gains
    if sum(gains) < need.bytes:
        event("everything allowed is not enough")
        full = diagnosis.usage.model_copy(update={"used_bytes": 10**12, "available_bytes": 0})
        everything = plan_disk_cleanup(TARGET, diagnosis.model_copy(update={"usage": full}), POLICY)
        assert [a.items for a in everything.actions] == [a.items for a in plan.actions]
        larger = any(proposal.title.startswith("Grow the volume") for proposal in plan.proposals)
        assert larger == (sum(gains) < missing(diagnosis.usage, POLICY, margin=0).bytes)
    else:
        files = [file["allocated"] for action, file in planned(plan) if action == plan.actions[-1]]
        if files and plan.actions[-1].kind != "cut_log":
            assert sum(gains) - files[-1] < need.bytes


@thousands
@given(diagnoses)
def test_risk_never_falls_and_no_file_is_planned_twice(diagnosis: DiskSpaceDiagnosis) -> None:
    plan = plan_disk_cleanup(TARGET, diagnosis, POLICY)
    ranks = [action.risk.rank for action in plan.actions]
    listed = [file for _, file in planned(plan)]

    assert ranks == sorted(ranks)
    assert len({file["path"] for file in listed}) == len(listed)
    assert len({(file["device"], file["inode"]) for file in listed}) == len(listed)


@thousands
@given(diagnoses)
def test_the_same_diagnosis_gives_the_same_plan(diagnosis: DiskSpaceDiagnosis) -> None:
    first = plan_disk_cleanup(TARGET, diagnosis, POLICY)
    again = plan_disk_cleanup(TARGET, DiskSpaceDiagnosis.model_validate_json(diagnosis.model_dump_json()), POLICY)

    assert first.digest == again.digest
    assert first == Plan.model_validate_json(first.model_dump_json())


@thousands
@given(plain_diagnoses(), st.data())
def test_when_planned_files_are_gone_already_the_new_plan_is_within_the_old(
    diagnosis: DiskSpaceDiagnosis, data: st.DataObject
) -> None:
    plan = plan_disk_cleanup(TARGET, diagnosis, POLICY)
    deleting = [file for action, file in planned(plan) if action.kind in ("delete_files", "archive_files")]
    gone = [file for file in deleting if data.draw(st.booleans())]
    event(f"{min(len(gone), 3)} files gone")
    places = {file["path"] for file in gone}
    inodes = {file["inode"] for file in gone}
    freed = sum(file["allocated"] for file in gone)

    def left(groups: tuple[RuleFiles, ...]) -> list[dict[str, Any]]:
        return [
            {"rule": g.rule, "files": [f for f in g.files if f.path not in places and f.inode not in inodes]}
            for g in groups
        ]

    usage = diagnosis.usage
    later = diagnosis.model_copy(
        update={
            "usage": usage.model_copy(
                update={
                    "used_bytes": usage.used_bytes - freed,
                    "available_bytes": usage.available_bytes + freed,
                    "inodes_used": usage.inodes_used - len(gone),
                }
            ),
            **{
                field: tuple(RuleFiles.model_validate(facts) for facts in left(getattr(diagnosis, field)))
                for field in ("rotated_logs", "temporary_files", "core_dumps", "archives", "live_logs")
            },
        }
    )

    assert plan_disk_cleanup(TARGET, later, POLICY, force=True).within(plan)


@thousands
@given(diagnoses)
def test_no_hostile_name_is_raw_where_people_read(diagnosis: DiskSpaceDiagnosis) -> None:
    plan = plan_disk_cleanup(TARGET, diagnosis, POLICY)
    read = [plan.goal, plan.expected, *(f"{a.title}{a.reason}{a.undo}" for a in plan.actions)]
    read += [f"{r.what}{r.reason}{r.lifted_by}" for r in plan.refusals]
    read += [f"{p.title}{p.detail}{p.reason}" for p in plan.proposals]
    read += [f"{f.title}{f.detail}" for f in findings_of(diagnosis, POLICY)]

    assert not set(HOSTILE) & set("".join(read))
    for line in evidence_markdown(diagnosis).splitlines():
        assert not set(HOSTILE) - {"|"} & set(line)
        assert line.count("|") in (0, 4, 6)
