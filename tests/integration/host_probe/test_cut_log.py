"""A live log is cut under a real writer, and every line written stays readable."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.files import listed, names, write_file
from lab.loop_filesystem import LoopFilesystem
from lab.programs import Program
from lab.waiting import until
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.disk_changes import check_log, cut_log, observe_log
from nightshift.remediation.disk_space.arguments import CutLog
from nightshift.remediation.errors import (
    CommandFailedError,
    DiskFullError,
    ReadOnlyFilesystemError,
    TargetChangedError,
)

KIB = 1024
MIB = 1024 * KIB
PLENTY = 1 << 40
WRITER = """
import os, time
descriptor = os.open({log!r}, os.O_WRONLY | {flags})
os.lseek(descriptor, 0, os.SEEK_END)
number = 0
while True:
    os.write(descriptor, b"line %09d\\n" % number)
    number += 1
    if number % 100 == 0:
        time.sleep(0.001)  # a slow machine would fill the filesystem meanwhile
    if number == 1000:
        print("writing", flush=True)
"""


@pytest.fixture
def log(logs: Path) -> Path:
    """8 MiB of numbered lines that end in ``old``."""
    path = logs / "app.log"
    with path.open("wb") as file:
        for number in range(8 * MIB // 16):
            file.write(b"%011d old\n" % number)
        os.fsync(file.fileno())
    return path


def until_longer(log: Path) -> None:
    """Its writer goes on."""
    size = log.stat().st_size
    until(lambda: log.stat().st_size > size)


def numbers_in(content: bytes) -> list[int]:
    lines = content.lstrip(b"\0").partition(b"line ")
    return [int(line.split()[1]) for line in (lines[1] + lines[2]).splitlines() if len(line) == 14]


def arguments_for(log: Path, *, keep_tail: int = MIB, save_to: Path | None = None) -> CutLog:
    (file,) = listed(log)
    return CutLog(root=str(log.parent), file=file, keep_tail=keep_tail, save_to=str(save_to) if save_to else None)


@pytest.mark.hazard("test_watcher.HighDiskUsage.r1.4")
def test_a_log_that_everyone_appends_to_becomes_short_and_loses_no_line(
    isolated: Host, log: Path, isolated_program: Program
) -> None:
    arguments = arguments_for(log)
    inode = log.stat().st_ino
    isolated_program(WRITER.format(log=str(log), flags="os.O_APPEND"))

    freed = cut_log(isolated, arguments, max_bytes=PLENTY)
    until_longer(log)

    content = log.read_bytes()
    numbers = numbers_in(content)
    assert freed.method == "collapse"
    assert freed.freed_bytes >= 7 * MIB
    assert log.stat().st_ino == inode
    assert b"\0" not in content
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[-1] > 1000


def test_a_writer_that_does_not_append_goes_on_where_it_is_and_loses_no_line(
    host: Host, log: Path, program: Program
) -> None:
    arguments = arguments_for(log)
    writer = program(WRITER.format(log=str(log), flags="0"))

    freed = cut_log(host, arguments, max_bytes=PLENTY)
    until_longer(log)
    writer.kill()
    writer.wait()

    numbers = numbers_in(log.read_bytes())
    assert freed.method == "punch"
    assert freed.freed_bytes >= 7 * MIB
    assert log.stat().st_blocks * 512 < log.stat().st_size - 6 * MIB
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[-1] > 1000


def test_the_tail_stays_whole(host: Host, log: Path) -> None:
    before = log.read_bytes()

    cut_log(host, arguments_for(log, keep_tail=100 * KIB), max_bytes=PLENTY)

    after = log.read_bytes()
    assert 100 * KIB <= len(after) < 110 * KIB
    assert before.endswith(after)


def test_it_is_observed_by_the_space_it_takes(host: Host, log: Path) -> None:
    arguments = arguments_for(log)
    check_log(host, arguments)
    assert observe_log(host, arguments) is Observation.NOT_DONE

    cut_log(host, arguments, max_bytes=PLENTY)

    assert observe_log(host, arguments) is Observation.DONE


def test_no_more_than_approved_is_cut(host: Host, log: Path) -> None:
    freed = cut_log(host, arguments_for(log, keep_tail=0), max_bytes=2 * MIB)

    assert freed.freed_bytes == 2 * MIB
    assert log.stat().st_size == 6 * MIB


def test_a_log_shorter_than_its_tail_is_left_alone(host: Host, log: Path) -> None:
    freed = cut_log(host, arguments_for(log, keep_tail=16 * MIB), max_bytes=PLENTY)

    assert (freed.method, freed.freed_bytes) == ("nothing", 0)
    assert log.stat().st_size == 8 * MIB


@pytest.mark.hazard("bybit_strategy_tester.DiskSpaceCritical.r2.3")
def test_the_whole_log_is_saved_elsewhere_first(host: Host, log: Path, other_disk: LoopFilesystem) -> None:
    before = log.read_bytes()

    freed = cut_log(host, arguments_for(log, save_to=other_disk.mount), max_bytes=PLENTY)

    saved = Path(freed.saved_as)
    assert saved.parent == other_disk.mount
    assert gzip.decompress(saved.read_bytes()) == before
    assert saved.stat().st_mode & 0o777 == 0o600
    assert log.stat().st_size == MIB


def test_a_second_cut_saves_only_what_is_still_there(
    host: Host, log: Path, other_disk: LoopFilesystem, program: Program
) -> None:
    before = log.read_bytes()
    program(f"f = open({str(log)!r}, 'r+b'); print('open', flush=True); input()")
    cut_log(host, arguments_for(log), max_bytes=PLENTY)

    freed = cut_log(host, arguments_for(log, keep_tail=0, save_to=other_disk.mount), max_bytes=PLENTY)

    assert (freed.method, freed.freed_bytes) == ("punch", MIB)
    assert gzip.decompress(Path(freed.saved_as).read_bytes()) == before[-MIB:]
    assert log.read_bytes() == bytes(8 * MIB)


def test_an_archive_that_fills_up_leaves_the_log_whole(host: Host, logs: Path, other_disk: LoopFilesystem) -> None:
    log = write_file(logs / "app.log", 8 * MIB)
    write_file(other_disk.mount / "ballast", other_disk.available() - 5 * MIB)

    with pytest.raises(DiskFullError, match="no room for it"):
        cut_log(host, arguments_for(log, save_to=other_disk.mount), max_bytes=PLENTY)

    assert log.stat().st_size == 8 * MIB
    assert names(other_disk.mount) == ["ballast"]


def test_an_archive_on_the_same_filesystem_is_refused(host: Host, log: Path, disk: LoopFilesystem) -> None:
    archive = disk.mount / "archive"
    archive.mkdir()

    with pytest.raises(CommandFailedError, match="lies on the same filesystem"):
        cut_log(host, arguments_for(log, save_to=archive), max_bytes=PLENTY)

    assert log.stat().st_size == 8 * MIB


def test_a_log_that_was_rotated_away_is_not_cut(host: Host, log: Path) -> None:
    arguments = arguments_for(log)
    log.rename(log.with_suffix(".1"))
    write_file(log, 2 * MIB)

    with pytest.raises(TargetChangedError, match="another file has this name"):
        check_log(host, arguments)
    with pytest.raises(TargetChangedError, match="another file has this name"):
        cut_log(host, arguments, max_bytes=PLENTY)

    assert log.stat().st_size == 2 * MIB


def test_a_log_behind_a_link_is_not_cut(host: Host, disk: LoopFilesystem, log: Path) -> None:
    arguments = arguments_for(log)
    moved = disk.mount / "moved"
    log.parent.rename(moved)
    log.parent.symlink_to(moved)

    with pytest.raises(TargetChangedError, match="is a symbolic link"):
        cut_log(host, arguments, max_bytes=PLENTY)

    assert (moved / log.name).stat().st_size == 8 * MIB


def test_a_log_with_a_second_name_is_not_cut(host: Host, log: Path) -> None:
    (log.parent / "kept").hardlink_to(log)

    with pytest.raises(TargetChangedError, match="has another name too"):
        cut_log(host, arguments_for(log), max_bytes=PLENTY)

    assert log.stat().st_size == 8 * MIB


def test_it_works_without_a_free_byte(host: Host, disk: LoopFilesystem, log: Path) -> None:
    disk.fill()

    freed = cut_log(host, arguments_for(log), max_bytes=PLENTY)

    assert freed.measured_bytes == 7 * MIB


@pytest.mark.parametrize("close", [lambda disk: disk.remount("ro"), LoopFilesystem.damage], ids=["mounted so", "error"])
def test_a_read_only_filesystem_is_an_error_of_its_own(
    host: Host, disk: LoopFilesystem, log: Path, close: Callable[[LoopFilesystem], None]
) -> None:
    close(disk)

    with pytest.raises(ReadOnlyFilesystemError):
        cut_log(host, arguments_for(log), max_bytes=PLENTY)


def test_a_filesystem_that_can_only_cut_with_loss_is_refused(host: Host, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "ramfs", "ramfs", tmp_path], check=True)
    try:
        log = write_file(tmp_path / "logs" / "app.log", 4 * MIB)

        with pytest.raises(CommandFailedError, match="cannot cut a log without losing lines"):
            cut_log(host, arguments_for(log), max_bytes=PLENTY)

        assert log.stat().st_size == 4 * MIB
    finally:
        subprocess.run(["umount", tmp_path], check=True)
