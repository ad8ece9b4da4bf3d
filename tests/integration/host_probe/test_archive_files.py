"""Files move to another filesystem, and at no moment there is less than one good copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.files import listed, names, write_file
from lab.loop_filesystem import LoopFilesystem
from lab.programs import Program
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.disk_changes import archive_files, check_archive, observe_files
from nightshift.remediation.clients.host_probe.script.keeping import Archive, Copy
from nightshift.remediation.clients.host_probe.script.wire import Clock, Refused
from nightshift.remediation.disk_space.arguments import ArchiveFiles
from nightshift.remediation.errors import CommandFailedError

MIB = 1024 * 1024
PLENTY = 1 << 40


def place_of(path: Path, archive: Path) -> Path:
    return archive / path.relative_to("/")


def test_files_move_with_content_time_and_owner(host: Host, logs: Path, other_disk: LoopFilesystem) -> None:
    old = write_file(logs / "deep" / "report.csv", 3 * MIB, age=1000)
    os.chown(old, 1234, 2345)
    old.chmod(0o640)
    content, status = old.read_bytes(), old.stat()
    arguments = ArchiveFiles(root=str(logs), files=listed(old), to=str(other_disk.mount))

    check_archive(host, arguments)
    freed = archive_files(host, arguments, max_bytes=PLENTY)

    there = place_of(old, other_disk.mount)
    moved = there.stat()
    assert not old.exists()
    assert there.read_bytes() == content
    assert (moved.st_uid, moved.st_gid, moved.st_mode) == (1234, 2345, status.st_mode)
    assert moved.st_mtime_ns == status.st_mtime_ns
    assert freed.freed_bytes == freed.measured_bytes == 3 * MIB
    assert observe_files(host, arguments) is Observation.DONE


def test_an_archive_that_fills_up_in_the_middle_loses_nothing(
    host: Host, logs: Path, other_disk: LoopFilesystem
) -> None:
    files = [write_file(logs / f"report.{n}", 4 * MIB) for n in range(3)]
    contents = [file.read_bytes() for file in files]
    write_file(other_disk.mount / "ballast", other_disk.available() - 9 * MIB)

    freed = archive_files(
        host, ArchiveFiles(root=str(logs), files=listed(*files), to=str(other_disk.mount)), max_bytes=PLENTY
    )

    assert [item.result for item in freed.items] == ["done", "skipped", "skipped"]
    assert "no room" in freed.items[1].reason
    assert place_of(files[0], other_disk.mount).read_bytes() == contents[0]
    assert [file.read_bytes() for file in files[1:]] == contents[1:]
    assert names(place_of(logs, other_disk.mount)) == ["report.0"]


def test_an_archive_without_a_free_inode_loses_nothing(host: Host, logs: Path) -> None:
    old = write_file(logs / "report", MIB)
    with LoopFilesystem(inodes=64) as small:
        for n in range(os.statvfs(small.mount).f_ffree):
            (small.mount / f"session.{n}").touch()
        freed = archive_files(
            host, ArchiveFiles(root=str(logs), files=listed(old), to=str(small.mount)), max_bytes=PLENTY
        )

    assert freed.items[0].reason == "No space left on device"
    assert old.stat().st_size == MIB


def test_an_attempt_that_died_after_copying_is_completed(host: Host, logs: Path, other_disk: LoopFilesystem) -> None:
    old = write_file(logs / "report", MIB)
    there = place_of(old, other_disk.mount)
    there.parent.mkdir(parents=True)
    there.write_bytes(old.read_bytes())
    (there.parent / "other.nightshift-part").write_bytes(b"half")

    freed = archive_files(
        host, ArchiveFiles(root=str(logs), files=listed(old), to=str(other_disk.mount)), max_bytes=PLENTY
    )

    assert freed.items[0].result == "done"
    assert not old.exists()
    assert there.stat().st_size == MIB


def test_half_a_copy_of_an_attempt_that_died_is_made_anew(host: Host, logs: Path, other_disk: LoopFilesystem) -> None:
    old = write_file(logs / "report", MIB)
    content = old.read_bytes()
    half = write_file(place_of(logs, other_disk.mount) / "report.nightshift-part", 1000)

    archive_files(host, ArchiveFiles(root=str(logs), files=listed(old), to=str(other_disk.mount)), max_bytes=PLENTY)

    assert place_of(old, other_disk.mount).read_bytes() == content
    assert not half.exists()


class DamagedCopy(Copy):
    """A disk that returns something else than what was written to it."""

    def _read_back(self, copy: int, compressed: bool) -> str:
        os.pwrite(copy, b"damage", 100)
        return super()._read_back(copy, compressed)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_copy_that_reads_back_differently_is_thrown_away(
    logs: Path, disk: LoopFilesystem, other_disk: LoopFilesystem, compressed: bool
) -> None:
    old = write_file(logs / "report", MIB)
    with Archive(os.fsencode(other_disk.mount), disk.device) as archive, old.open("rb") as source:
        copy = DamagedCopy(archive, archive.descriptor, b"report", Clock(60))
        with pytest.raises(Refused, match=r"the copy (differs|cannot be read back)"):
            copy.make(source.fileno(), 0, MIB, compressed)

    assert names(other_disk.mount) == []


def test_another_file_of_the_same_name_in_the_archive_stays(host: Host, logs: Path, other_disk: LoopFilesystem) -> None:
    old = write_file(logs / "report", MIB)
    content, modified = old.read_bytes(), old.stat().st_mtime_ns
    there = write_file(place_of(old, other_disk.mount), MIB)
    earlier = there.read_bytes()

    archive_files(host, ArchiveFiles(root=str(logs), files=listed(old), to=str(other_disk.mount)), max_bytes=PLENTY)

    assert there.read_bytes() == earlier
    assert (there.parent / f"report.{modified}").read_bytes() == content
    assert not old.exists()


def test_a_link_inside_the_archive_is_not_followed(
    host: Host, disk: LoopFilesystem, logs: Path, other_disk: LoopFilesystem
) -> None:
    old = write_file(logs / "report", MIB)
    trap = place_of(logs, other_disk.mount)
    trap.parent.mkdir(parents=True)
    elsewhere = disk.mount / "elsewhere"
    elsewhere.mkdir()
    trap.symlink_to(elsewhere)

    freed = archive_files(
        host, ArchiveFiles(root=str(logs), files=listed(old), to=str(other_disk.mount)), max_bytes=PLENTY
    )

    assert freed.items[0].result == "skipped"
    assert names(elsewhere) == []
    assert old.exists()


def test_an_open_file_is_not_even_copied(host: Host, logs: Path, other_disk: LoopFilesystem, program: Program) -> None:
    held = write_file(logs / "report", MIB)
    program(f"f = open({str(held)!r}); print('open', flush=True); input()")

    freed = archive_files(
        host, ArchiveFiles(root=str(logs), files=listed(held), to=str(other_disk.mount)), max_bytes=PLENTY
    )

    assert "has it open" in freed.items[0].reason
    assert held.exists()
    assert not place_of(held, other_disk.mount).exists()


def test_an_archive_on_the_same_filesystem_frees_nothing_and_is_refused(
    host: Host, disk: LoopFilesystem, logs: Path
) -> None:
    old = write_file(logs / "report", MIB)
    archive = disk.mount / "archive"
    archive.mkdir()
    arguments = ArchiveFiles(root=str(logs), files=listed(old), to=str(archive))

    with pytest.raises(CommandFailedError, match="lies on the same filesystem"):
        check_archive(host, arguments)
    assert archive_files(host, arguments, max_bytes=PLENTY).freed_bytes == 0
    assert old.exists()
