"""Old backups go only while the newest good ones are proven to be there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from lab.files import listed, names, write_file
from lab.loop_filesystem import LoopFilesystem
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.disk import diagnose_disk_space
from nightshift.remediation.clients.host_probe.disk_changes import (
    apply_backup_retention,
    check_backups,
    observe_files,
)
from nightshift.remediation.disk_space.arguments import ApplyBackupRetention
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.errors import TargetChangedError

MIB = 1024 * 1024
PLENTY = 1 << 40
DAY = 86400.0


def backup(folder: Path, days: int, *, proven: bool = True) -> Path:
    path = write_file(folder / f"shop-{days:02}.dump", MIB, age=days * DAY)
    if proven:
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        path.with_name(path.name + ".sha256").write_text(f"{checksum}  {path.name}\n")
    return path


def policy(folder: Path, **limits: object) -> DiskSpacePolicy:
    rule = {"directory": str(folder), "patterns": ["*.dump*"], "older_than": "7d", "keep_newest_verified": 2}
    return DiskSpacePolicy.model_validate({"backups": [rule | limits]})


@pytest.fixture
def folder(disk: LoopFilesystem) -> Path:
    path = disk.mount / "backups"
    path.mkdir()
    return path


def seen(host: Host, folder: Path, **limits: object) -> dict[str, tuple[bool, str]]:
    found = diagnose_disk_space(host, str(folder.parent), policy(folder, **limits), interval=0)
    return {Path(fact.file.path).name: (fact.verified, fact.proof) for fact in found.backups[0]}


def test_backups_are_proven_from_the_newest_until_there_are_enough(host: Host, folder: Path) -> None:
    for days in (0, 1, 10, 20):
        backup(folder, days)

    matches = "its checksum matches the .sha256 file beside it"
    not_needed = "not checked: enough newer ones are verified"
    assert seen(host, folder) == {
        "shop-00.dump": (True, matches),
        "shop-01.dump": (True, matches),
        "shop-10.dump": (False, not_needed),
        "shop-20.dump": (False, not_needed),
    }


def test_unproven_new_backups_do_not_count(host: Host, folder: Path) -> None:
    backup(folder, 0, proven=False)
    broken, empty = backup(folder, 1), backup(folder, 2)
    os.utime(broken, ns=(0, write_file(broken, MIB, age=DAY).stat().st_mtime_ns))
    empty.write_bytes(b"")
    backup(folder, 10)
    backup(folder, 20)

    facts = seen(host, folder)

    assert facts["shop-00.dump"] == (False, "there is no .sha256 file beside it")
    assert facts["shop-01.dump"] == (False, "its checksum differs from the .sha256 file beside it")
    assert facts["shop-02.dump"] == (False, "it is empty")
    assert [name for name, (verified, _) in facts.items() if verified] == ["shop-10.dump", "shop-20.dump"]


def test_a_mark_older_than_the_backup_proves_nothing(host: Host, folder: Path) -> None:
    good, rewritten = backup(folder, 2, proven=False), backup(folder, 1, proven=False)
    for path in (good, rewritten):
        mark = path.with_name(path.name + ".verified")
        mark.touch()
    os.utime(mark, (0, 0))

    facts = seen(host, folder, verified_by="verified-file")

    assert facts["shop-02.dump"] == (True, "a .verified file lies beside it")
    assert facts["shop-01.dump"] == (False, "it was changed after its .verified file was written")


def test_a_checksum_that_takes_too_long_is_a_blindness(host: Host, folder: Path) -> None:
    backup(folder, 1)
    short = policy(folder).model_copy(update={"scan_seconds": 0.0})

    found = diagnose_disk_space(host, str(folder.parent), short, interval=0)

    assert [fact.verified for fact in found.backups[0]] == [False] * len(found.backups[0])
    assert any("ran out of time" in blind.why for blind in found.blind)


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.r1.3")
def test_old_backups_go_while_the_newest_are_proven(host: Host, folder: Path) -> None:
    keep, old = [backup(folder, 0), backup(folder, 1)], [backup(folder, 10), backup(folder, 20)]
    arguments = ApplyBackupRetention(
        root=str(folder), files=listed(*old), keep=listed(*keep), verified_by="sha256-file"
    )

    check_backups(host, arguments)
    freed = apply_backup_retention(host, arguments, max_bytes=PLENTY)

    assert [name for name in names(folder) if name.endswith(".dump")] == ["shop-00.dump", "shop-01.dump"]
    assert freed.freed_bytes == 2 * MIB
    assert observe_files(host, arguments) is Observation.DONE


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.r2.2")
@pytest.mark.parametrize("trouble", ["gone", "broken", "unproven", "rewritten"])
def test_nothing_goes_when_one_that_stays_is_not_good(host: Host, folder: Path, trouble: str) -> None:
    keep, old = [backup(folder, 0), backup(folder, 1)], [backup(folder, 10), backup(folder, 20)]
    arguments = ApplyBackupRetention(
        root=str(folder), files=listed(*old), keep=listed(*keep), verified_by="sha256-file"
    )
    sidecar = keep[1].with_name(keep[1].name + ".sha256")
    match trouble:
        case "gone":
            keep[1].unlink()
        case "broken":
            sidecar.write_text("0" * 64)
        case "unproven":
            sidecar.unlink()
        case "rewritten":
            write_file(keep[1], MIB)

    with pytest.raises(TargetChangedError, match="is to be kept but is not proven good"):
        check_backups(host, arguments)
    with pytest.raises(TargetChangedError, match="is to be kept but is not proven good"):
        apply_backup_retention(host, arguments, max_bytes=PLENTY)

    assert all(path.exists() for path in old)


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.r2.2")
def test_a_backup_that_is_to_stay_is_never_deleted(host: Host, folder: Path) -> None:
    keep = backup(folder, 0)
    twin = folder / "twin.dump"
    twin.hardlink_to(keep)
    arguments = ApplyBackupRetention(root=str(folder), files=listed(twin), keep=listed(keep), verified_by="sha256-file")

    with pytest.raises(TargetChangedError, match="to be kept and to be deleted"):
        apply_backup_retention(host, arguments, max_bytes=PLENTY)

    assert twin.exists()
