"""One look says what fills a filesystem, and admits what it could not see."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.files import write_file
from lab.loop_filesystem import LoopFilesystem
from lab.programs import Program
from lab.waiting import until
from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.disk import diagnose_disk_space, read_mounts, read_usage
from nightshift.remediation.clients.host_probe.disk_changes import delete_files
from nightshift.remediation.disk_space.arguments import DeleteFiles, ListedFile
from nightshift.remediation.disk_space.diagnosis import DiskSpaceDiagnosis
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.errors import PermanentError
from nightshift.remediation.models import canonical_json

KIB = 1024
MIB = 1024 * KIB
HOUR = 3600.0


def policy(folder: Path, sort: str = "rotated_logs", **changes: object) -> DiskSpacePolicy:
    rule = {"directory": str(folder), "patterns": ["*.log.*"], "older_than": "1h"} | changes
    return DiskSpacePolicy.model_validate({sort: [rule]})


def look(host: Host, disk: LoopFilesystem, rules: DiskSpacePolicy | None = None) -> DiskSpaceDiagnosis:
    return diagnose_disk_space(host, str(disk.mount), rules or DiskSpacePolicy(), interval=0)


def matched(diagnosis: DiskSpaceDiagnosis) -> list[str]:
    return sorted(Path(file.path).name for file in diagnosis.rotated_logs[0].files)


@pytest.mark.hazard("test_watcher.HighDiskUsage.d1")
def test_usage_is_what_the_kernel_says(host: Host, disk: LoopFilesystem) -> None:
    usage = read_usage(host, str(disk.mount))

    numbers = os.statvfs(disk.mount)
    assert (usage.mount, usage.device, usage.type) == (str(disk.mount), disk.device, "ext4")
    assert usage.used_bytes == disk.used()
    assert usage.total_bytes == numbers.f_blocks * numbers.f_frsize
    assert usage.inodes_total == numbers.f_files
    assert str(disk.mount) in [mount.mount for mount in read_mounts(host)]


@pytest.mark.parametrize("path", ["logs", "logs/link-to-mount", "nothing"])
def test_only_a_mount_point_is_measured(host: Host, disk: LoopFilesystem, logs: Path, path: str) -> None:
    (logs / "link-to-mount").symlink_to(disk.mount)

    with pytest.raises(PermanentError, match="no filesystem is mounted there"):
        read_usage(host, str(disk.mount / path))


def test_a_full_and_a_read_only_filesystem_are_seen_as_such(host: Host, disk: LoopFilesystem) -> None:
    disk.fill()
    assert read_usage(host, str(disk.mount)).used_percent == 100

    disk.remount("ro")
    assert look(host, disk).usage.read_only


def test_a_filesystem_that_the_kernel_closed_after_an_error_is_read_only(host: Host, disk: LoopFilesystem) -> None:
    assert not read_usage(host, str(disk.mount)).read_only

    disk.damage()

    assert look(host, disk).usage.read_only
    assert [mount.read_only for mount in read_mounts(host) if mount.mount == str(disk.mount)] == [True]


@pytest.mark.hazard("test_watcher.HighDiskUsage.d2")
def test_sums_are_those_of_du_with_hard_links_counted_once(host: Host, disk: LoopFilesystem, logs: Path) -> None:
    one = write_file(logs / "deep" / "one", 2 * MIB)
    (logs / "deeper").mkdir()
    (logs / "deeper" / "again").hardlink_to(one)
    write_file(logs / "two", MIB)

    found = {fact.path: fact for fact in look(host, disk).largest_directories}

    du = subprocess.run(["du", "-x", "-B1", disk.mount], capture_output=True, text=True, check=True).stdout
    sums = {path: int(size) for size, path in (line.split("\t") for line in du.splitlines())}
    assert found[str(disk.mount)].allocated == sums[str(disk.mount)]
    assert found[str(logs)].allocated == sums[str(logs)]
    assert found[str(logs)].files == 3


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.d1")
def test_largest_files_and_crowded_directories_come_first(host: Host, disk: LoopFilesystem, logs: Path) -> None:
    for number in range(40):
        write_file(logs / "sessions" / f"{number}", 10)
    for size in (1, 3, 2):
        write_file(logs / f"{size}", size * MIB)

    diagnosis = look(host, disk)

    assert [Path(file.path).name for file in diagnosis.largest_files][:3] == ["3", "2", "1"]
    assert (diagnosis.crowded_directories[0].path, diagnosis.crowded_directories[0].files) == (
        str(logs / "sessions"),
        40,
    )


def test_rules_match_by_name_age_and_place(host: Host, disk: LoopFilesystem, logs: Path) -> None:
    for name, age in {"app.log.1": 2 * HOUR, "app.log.2": 60.0, "app.log": 2 * HOUR, "APP.LOG.3": 2 * HOUR}.items():
        write_file(logs / name, KIB, age=age)
    write_file(logs / "deep" / "app.log.4", KIB, age=2 * HOUR)
    write_file(disk.mount / "logs-of-others" / "app.log.5", KIB, age=2 * HOUR)
    (logs / "link.log.6").symlink_to(logs / "app.log.1")
    os.mkfifo(logs / "pipe.log.7")

    assert matched(look(host, disk, policy(logs))) == ["app.log.1", "app.log.4"]


def test_live_logs_match_by_size_and_name_their_writer(
    host: Host, disk: LoopFilesystem, logs: Path, program: Program
) -> None:
    large = write_file(logs / "large.log", 2 * MIB)
    write_file(logs / "small.log", KIB)
    rules = DiskSpacePolicy.model_validate(
        {"live_logs": [{"directory": str(logs), "patterns": ["*.log"], "larger_than": "1MiB"}]}
    )
    writer = program(f"f = open({str(large)!r}, 'a'); print('open', flush=True); input()")

    (file,) = look(host, disk, rules).live_logs[0].files

    assert file.path == str(large)
    assert [holder.pid for holder in file.open_by] == [writer.pid]


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.d1")
def test_it_never_leaves_the_filesystem(
    host: Host, disk: LoopFilesystem, other_disk: LoopFilesystem, logs: Path
) -> None:
    inside = logs / "mounted"
    inside.mkdir()
    write_file(other_disk.mount / "x.log.1", MIB, age=2 * HOUR)
    (logs / "away").symlink_to(other_disk.mount)
    subprocess.run(["mount", "--bind", other_disk.mount, inside], check=True)
    try:
        diagnosis = look(host, disk, policy(logs))
    finally:
        subprocess.run(["umount", inside], check=True)

    assert matched(diagnosis) == []
    assert diagnosis.largest_files == ()


def test_a_part_of_the_filesystem_mounted_inside_it_counts_once(host: Host, disk: LoopFilesystem, logs: Path) -> None:
    write_file(disk.mount / "source" / "x.log.1", MIB, age=2 * HOUR)
    again = logs / "again"
    again.mkdir()
    subprocess.run(["mount", "--bind", disk.mount / "source", again], check=True)
    try:
        diagnosis = look(host, disk, policy(logs))
    finally:
        subprocess.run(["umount", again], check=True)

    assert matched(diagnosis) == []
    assert len(diagnosis.largest_files) == 1


def test_a_rule_behind_a_link_matches_nothing_and_says_so(host: Host, disk: LoopFilesystem, logs: Path) -> None:
    write_file(logs / "app.log.1", MIB, age=2 * HOUR)
    link = disk.mount / "link"
    link.symlink_to(logs)

    diagnosis = look(host, disk, policy(link))

    assert matched(diagnosis) == []
    assert any(blind.what == str(link) and "symbolic link" in blind.why for blind in diagnosis.blind)


def test_a_rule_for_a_folder_that_this_host_does_not_have_is_no_trouble(host: Host, disk: LoopFilesystem) -> None:
    diagnosis = look(host, disk, policy(disk.mount / "nothing"))

    assert matched(diagnosis) == []
    assert [blind for blind in diagnosis.blind if "nothing" in blind.what] == []


@pytest.mark.parametrize(
    "name",
    [
        b"new\nline.log.1",
        b"-rf.log.1",
        b"quote'\"`$(reboot).log.1",
        b"not-utf8-\xff\xfe.log.1",
        b"back\\slash\\x41.log.1",
        b"terminal\x1b[2J.log.1",
        "bidi\u202egol.log.1".encode(),
        "blank\u00a0und Umlaut ä.log.1".encode(),
        b"*?[.log.1",
        b"x" * 249 + b".log.1",
    ],
)
def test_a_hostile_name_comes_back_to_the_same_file(host: Host, disk: LoopFilesystem, logs: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(logs), name)  # noqa: PTH118  # pathlib does not speak bytes
    write_file(Path(os.fsdecode(path)), KIB, age=2 * HOUR)
    (bystander,) = [write_file(logs / "bystander.log.1", KIB)]

    (file,) = look(host, disk, policy(logs)).rotated_logs[0].files

    arguments = DeleteFiles(root=str(logs), files=(ListedFile.of(file),))
    assert file.path.isprintable()
    assert DeleteFiles.model_validate_json(canonical_json(arguments.to_json())) == arguments
    assert delete_files(host, arguments, max_bytes=MIB).items[0].result == "done"
    assert list(logs.iterdir()) == [bystander]


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.d1")
def test_time_that_runs_out_leaves_what_was_seen_and_says_so(host: Host, disk: LoopFilesystem, logs: Path) -> None:
    write_file(logs / "app.log.1", MIB, age=2 * HOUR)

    diagnosis = look(host, disk, policy(logs).model_copy(update={"scan_seconds": 0.0}))

    assert diagnosis.usage.used_bytes == disk.used()
    assert any("ran out of time" in blind.why for blind in diagnosis.blind)


@pytest.fixture
def growing(logs: Path) -> Iterator[Path]:
    """A file that grows by about 2 MiB a second."""
    path, end = logs / "growing", threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not end.wait(0.05):
                file.write(os.urandom(100 * KIB))
                os.fsync(file.fileno())

    thread = threading.Thread(target=grow)
    thread.start()
    until(path.exists)
    yield path
    end.set()
    thread.join()


def test_growth_is_seen_between_two_looks(host: Host, disk: LoopFilesystem, growing: Path) -> None:
    write_file(growing.parent / "still", MIB)

    diagnosis = diagnose_disk_space(host, str(disk.mount), DiskSpacePolicy(), interval=1)

    assert [file.path for file in diagnosis.growing] == [str(growing)]
    assert diagnosis.growing[0].bytes_per_second > 100 * KIB
    assert diagnosis.bytes_per_second > 100 * KIB


def test_where_something_may_be_removed_the_repair_does_not_wait_for_what_grows(
    host: Host, disk: LoopFilesystem, growing: Path
) -> None:
    write_file(growing.parent / "shop.log.1", MIB, age=2 * HOUR)
    begun = time.monotonic()

    diagnosis = diagnose_disk_space(host, str(disk.mount), policy(growing.parent), interval=60)

    assert time.monotonic() - begun < 30
    assert matched(diagnosis) == ["shop.log.1"]
    assert [file.path for file in diagnosis.growing] == [str(growing)]
