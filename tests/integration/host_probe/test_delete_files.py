"""Deleting touches what was listed and is unchanged, and nothing else, whatever happens in between."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.files import listed, names, write_file
from lab.loop_filesystem import LoopFilesystem
from lab.programs import Program
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.disk_changes import FreedSpace, check_files, delete_files, observe_files
from nightshift.remediation.disk_space.arguments import DeleteFiles
from nightshift.remediation.errors import ReadOnlyFilesystemError, TargetChangedError

KIB = 1024
MIB = 1024 * KIB
PLENTY = 1 << 40


def reasons(freed: FreedSpace) -> dict[str, str]:
    return {Path(item.item).name: item.reason for item in freed.items if item.result == "skipped"}


def results(freed: FreedSpace) -> dict[str, str]:
    return {Path(item.item).name: item.result for item in freed.items}


def test_listed_files_go_and_their_bytes_are_free(host: Host, disk: LoopFilesystem, logs: Path) -> None:
    old = [write_file(logs / f"app.log.{n}", MIB) for n in (1, 2)]
    stays = write_file(logs / "app.log", MIB)
    before = disk.used()
    arguments = DeleteFiles(root=str(logs), files=listed(*old))

    assert observe_files(host, arguments) is Observation.NOT_DONE
    freed = delete_files(host, arguments, max_bytes=PLENTY)

    assert names(logs) == ["app.log"]
    assert stays.stat().st_size == MIB
    assert freed.freed_bytes == before - disk.used() == 2 * MIB
    assert freed.measured_bytes == 2 * MIB
    assert observe_files(host, arguments) is Observation.DONE
    assert freed.to_effect().summary == "freed 2.0 MiB, 2 done"


def test_doing_it_again_finds_everything_gone(host: Host, logs: Path) -> None:
    arguments = DeleteFiles(root=str(logs), files=listed(write_file(logs / "a.1", MIB)))
    delete_files(host, arguments, max_bytes=PLENTY)

    freed = delete_files(host, arguments, max_bytes=PLENTY)

    assert results(freed) == {"a.1": "gone"}
    assert freed.freed_bytes == 0


def test_a_folder_that_is_gone_as_a_whole_is_no_error(host: Host, logs: Path) -> None:
    arguments = DeleteFiles(root=str(logs), files=listed(write_file(logs / "a.1", MIB)))
    shutil.rmtree(logs)

    assert results(delete_files(host, arguments, max_bytes=PLENTY)) == {"a.1": "gone"}


def test_a_link_that_took_the_place_of_a_file_leaves_its_aim_alone(
    host: Host, disk: LoopFilesystem, logs: Path
) -> None:
    precious = write_file(disk.mount / "precious", MIB)
    old = write_file(logs / "a.1", MIB)
    files = listed(old)
    old.unlink()
    old.symlink_to(precious)

    freed = delete_files(host, DeleteFiles(root=str(logs), files=files), max_bytes=PLENTY)

    assert reasons(freed) == {"a.1": "it is no regular file any more"}
    assert precious.exists()
    assert old.is_symlink()


def test_a_link_that_took_the_place_of_a_folder_is_not_followed(host: Host, disk: LoopFilesystem, logs: Path) -> None:
    folder = logs / "deep"
    old = write_file(folder / "a.1", MIB)
    files = listed(old)
    moved = disk.mount / "moved"
    folder.rename(moved)
    folder.symlink_to(moved)

    freed = delete_files(host, DeleteFiles(root=str(logs), files=files), max_bytes=PLENTY)

    assert "is a symbolic link" in reasons(freed)["a.1"]
    assert (moved / "a.1").exists()


def test_a_folder_that_turns_into_a_link_again_and_again_never_leads_astray(
    host: Host, disk: LoopFilesystem, logs: Path
) -> None:
    folder, aside, link = logs / "deep", logs / "aside", logs / "link"
    files = listed(*[write_file(folder / f"a.{n}", KIB) for n in range(200)])
    precious = disk.mount / "precious"
    for file in files:
        write_file(precious / Path(file.path).name, KIB)
    link.symlink_to(precious)
    end = threading.Event()

    def swap() -> None:
        while not end.is_set():
            folder.rename(aside)
            link.rename(folder)
            folder.rename(link)
            aside.rename(folder)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        freed = delete_files(host, DeleteFiles(root=str(logs), files=files), max_bytes=PLENTY)
    finally:
        end.set()
        swapper.join()

    assert len(names(precious)) == 200
    assert 200 - len(names(folder)) == sum(item.freed_bytes > 0 for item in freed.items)


def test_a_changed_or_replaced_file_stays(host: Host, logs: Path) -> None:
    grown, replaced, touched = (write_file(logs / name, MIB) for name in ("grown", "replaced", "touched"))
    files = listed(grown, replaced, touched)
    with grown.open("ab") as file:
        file.write(b"one line more\n")
    twin = write_file(logs / "twin", MIB)
    os.utime(twin, ns=(0, replaced.stat().st_mtime_ns))
    twin.rename(replaced)
    os.utime(touched)
    arguments = DeleteFiles(root=str(logs), files=files)

    with pytest.raises(TargetChangedError, match="None of the 3 listed files is as it was"):
        check_files(host, arguments)
    freed = delete_files(host, arguments, max_bytes=PLENTY)

    assert reasons(freed) == {
        "grown": "it was changed since it was listed",
        "replaced": "another file has this name now",
        "touched": "it was changed since it was listed",
    }
    assert names(logs) == ["grown", "replaced", "touched"]


@pytest.mark.hazard("test_watcher.HighDiskUsage.r1.2", "bybit_strategy_tester.DiskSpaceCritical.r1.2")
def test_a_file_that_a_program_has_open_stays_and_the_program_is_named(
    host: Host, logs: Path, program: Program
) -> None:
    held = write_file(logs / "held", MIB)
    reader = program(f"f = open({str(held)!r}); print('open', flush=True); input()")

    freed = delete_files(host, DeleteFiles(root=str(logs), files=listed(held)), max_bytes=PLENTY)

    assert f"(pid {reader.pid}) has it open" in reasons(freed)["held"]
    assert held.exists()


def test_a_file_that_is_only_mapped_into_memory_stays(host: Host, logs: Path, program: Program) -> None:
    mapped = write_file(logs / "mapped", MIB)
    source = f"import mmap; f = open({str(mapped)!r}, 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close()"
    program(source + "; print('mapped', flush=True); input()")

    freed = delete_files(host, DeleteFiles(root=str(logs), files=listed(mapped)), max_bytes=PLENTY)

    assert "has it open" in reasons(freed)["mapped"]
    assert mapped.exists()


def test_an_image_that_the_kernel_has_mounted_stays(host: Host, disk: LoopFilesystem) -> None:
    image = write_file(disk.mount / "images" / "volume.img", MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    inside = disk.mount / "inside"
    inside.mkdir()
    subprocess.run(["mount", "-o", "loop", image, inside], check=True)
    try:
        freed = delete_files(host, DeleteFiles(root=str(image.parent), files=listed(image)), max_bytes=PLENTY)
    finally:
        subprocess.run(["umount", inside], check=True)

    assert "kernel: loop" in reasons(freed)["volume.img"]
    assert image.exists()


def test_a_file_on_a_filesystem_mounted_meanwhile_stays(host: Host, other_disk: LoopFilesystem, logs: Path) -> None:
    folder = logs / "deep"
    files = listed(write_file(folder / "a.1", MIB))
    write_file(other_disk.mount / "a.1", MIB)
    subprocess.run(["mount", "--bind", other_disk.mount, folder], check=True)
    try:
        freed = delete_files(host, DeleteFiles(root=str(logs), files=files), max_bytes=PLENTY)
    finally:
        subprocess.run(["umount", folder], check=True)

    assert reasons(freed) == {"a.1": "another file has this name now"}
    assert (other_disk.mount / "a.1").exists()
    assert (folder / "a.1").exists()


def test_what_lies_outside_the_directory_of_the_rule_stays(host: Host, disk: LoopFilesystem, logs: Path) -> None:
    outside = write_file(disk.mount / "logs-of-others" / "a.1", MIB)
    (hidden,) = listed(outside)
    sneaky = hidden.model_copy(update={"path": f"{logs}/../logs-of-others/a.1"})

    freed = delete_files(host, DeleteFiles(root=str(logs), files=(hidden, sneaky)), max_bytes=PLENTY)

    assert [item.reason for item in freed.items] == [
        "it lies outside the directory of its rule",
        "not a plain absolute path",
    ]
    assert outside.exists()


def test_a_hard_link_frees_nothing_until_the_last_name_goes(host: Host, logs: Path) -> None:
    one = write_file(logs / "one", MIB)
    two = logs / "two"
    two.hardlink_to(one)
    files = listed(one, two)

    freed = delete_files(host, DeleteFiles(root=str(logs), files=files), max_bytes=MIB)

    assert [item.freed_bytes for item in freed.items] == [0, MIB]
    assert freed.measured_bytes == MIB


def test_it_stops_before_it_frees_more_than_was_approved(host: Host, logs: Path) -> None:
    files = listed(*[write_file(logs / f"a.{n}", MIB) for n in range(4)])

    freed = delete_files(host, DeleteFiles(root=str(logs), files=files), max_bytes=2 * MIB + 100)

    assert freed.freed_bytes == 2 * MIB
    assert names(logs) == ["a.2", "a.3"]
    assert reasons(freed)["a.2"] == "the approved number of bytes is reached"


def test_it_works_without_a_free_byte(host: Host, disk: LoopFilesystem, logs: Path) -> None:
    old = write_file(logs / "a.1", MIB)
    disk.fill()
    assert os.statvfs(disk.mount).f_bavail == 0

    freed = delete_files(host, DeleteFiles(root=str(logs), files=listed(old)), max_bytes=PLENTY)

    assert freed.measured_bytes == MIB


def test_it_works_without_a_free_inode(host: Host) -> None:
    with LoopFilesystem(inodes=64) as small:
        crowd = [small.mount / f"session.{n}" for n in range(os.statvfs(small.mount).f_ffree)]
        for session in crowd:
            session.touch()
        with pytest.raises(OSError, match="No space left"):
            (small.mount / "one more").touch()
        delete_files(host, DeleteFiles(root=str(small.mount), files=listed(*crowd)), max_bytes=0)

        assert names(small.mount) == []


@pytest.mark.parametrize("close", [lambda disk: disk.remount("ro"), LoopFilesystem.damage], ids=["mounted so", "error"])
def test_a_read_only_filesystem_is_an_error_of_its_own(
    host: Host, disk: LoopFilesystem, logs: Path, close: Callable[[LoopFilesystem], None]
) -> None:
    files = listed(write_file(logs / "a.1", MIB))
    close(disk)

    with pytest.raises(ReadOnlyFilesystemError, match="mounted read-only"):
        delete_files(host, DeleteFiles(root=str(logs), files=files), max_bytes=PLENTY)

    assert names(logs) == ["a.1"]


def test_an_immutable_file_is_skipped_with_the_systems_words(host: Host, logs: Path) -> None:
    fixed = write_file(logs / "fixed", MIB)
    subprocess.run(["chattr", "+i", fixed], check=True)
    try:
        freed = delete_files(host, DeleteFiles(root=str(logs), files=listed(fixed)), max_bytes=PLENTY)
    finally:
        subprocess.run(["chattr", "-i", fixed], check=True)

    assert reasons(freed) == {"fixed": "Operation not permitted"}
