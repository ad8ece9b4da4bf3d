"""A deleted file that a program still holds gives its space back without the program ending."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.files import write_file
from lab.loop_filesystem import LoopFilesystem
from lab.programs import Program
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.disk import diagnose_disk_space
from nightshift.remediation.clients.host_probe.disk_changes import observe_release, release_deleted_file
from nightshift.remediation.disk_space.arguments import ReleaseDeletedFile
from nightshift.remediation.disk_space.diagnosis import DeletedOpenFile
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.errors import TargetChangedError

MIB = 1024 * 1024
PLENTY = 1 << 40
HOLDER = """
import os, sys
file = open({path!r}, "ab", buffering=0)
print("open", flush=True)
for line in sys.stdin:
    file.write(line.encode())
    print(os.fstat(file.fileno()).st_size, flush=True)
"""


@pytest.fixture
def deleted(logs: Path, program: Program) -> tuple[Path, subprocess.Popen[str]]:
    """A log of 4 MiB that was deleted under its writer."""
    path = write_file(logs / "app.log", 4 * MIB)
    holder = program(HOLDER.format(path=str(path)))
    path.unlink()
    return path, holder


def found_on(host: Host, disk: LoopFilesystem) -> DeletedOpenFile:
    (file,) = diagnose_disk_space(host, str(disk.mount), DiskSpacePolicy(), interval=0).deleted_open
    return file


def test_it_is_found_with_the_program_that_holds_it(
    host: Host, disk: LoopFilesystem, deleted: tuple[Path, subprocess.Popen[str]]
) -> None:
    path, holder = deleted
    file = found_on(host, disk)

    assert file.path == str(path)
    assert file.allocated == 4 * MIB
    assert file.process.pid == holder.pid
    assert "python" in file.process.command


def test_its_space_comes_back_and_the_program_goes_on(
    host: Host, disk: LoopFilesystem, deleted: tuple[Path, subprocess.Popen[str]]
) -> None:
    _, holder = deleted
    file = found_on(host, disk)
    arguments = ReleaseDeletedFile.of(file)
    assert observe_release(host, arguments, allocated=file.allocated) is Observation.NOT_DONE

    freed = release_deleted_file(host, arguments, max_bytes=PLENTY)

    assert freed.freed_bytes == freed.measured_bytes == 4 * MIB
    assert observe_release(host, arguments, allocated=file.allocated) is Observation.DONE
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("x\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "2\n"


@pytest.mark.usefixtures("deleted")
def test_another_process_of_the_same_pid_is_left_alone(host: Host, disk: LoopFilesystem) -> None:
    arguments = ReleaseDeletedFile.of(found_on(host, disk))
    reused = arguments.model_copy(update={"started": arguments.started - 1})

    assert release_deleted_file(host, reused, max_bytes=PLENTY).freed_bytes == 0
    assert found_on(host, disk).allocated == 4 * MIB


@pytest.mark.usefixtures("deleted")
def test_another_file_at_the_same_descriptor_is_left_alone(host: Host, disk: LoopFilesystem) -> None:
    arguments = ReleaseDeletedFile.of(found_on(host, disk))
    other = arguments.model_copy(update={"inode": arguments.inode + 1})

    assert release_deleted_file(host, other, max_bytes=PLENTY).freed_bytes == 0
    assert found_on(host, disk).allocated == 4 * MIB


def test_a_file_that_got_a_name_again_is_left_alone(
    host: Host, disk: LoopFilesystem, deleted: tuple[Path, subprocess.Popen[str]]
) -> None:
    path, holder = deleted
    file = found_on(host, disk)
    named = write_file(path.parent / "named", MIB)
    status = named.stat()
    holding_named = ReleaseDeletedFile.of(file).model_copy(update={"inode": status.st_ino, "pid": os.getpid()})
    with named.open("ab") as held:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        mine = holding_named.model_copy(update={"started": ticks, "descriptor": held.fileno()})
        with pytest.raises(TargetChangedError, match="has a name again"):
            release_deleted_file(host, mine, max_bytes=PLENTY)

    assert holder.poll() is None
    assert named.stat().st_size == MIB


def test_a_file_mapped_into_memory_is_left_alone(
    host: Host, disk: LoopFilesystem, logs: Path, program: Program
) -> None:
    path = write_file(logs / "cache", MIB)
    source = f"import mmap; f = open({str(path)!r}, 'r+b'); m = mmap.mmap(f.fileno(), 0); print(1, flush=True)"
    holder = program(source + "; input(); print(m[4096], flush=True)")
    path.unlink()

    with pytest.raises(TargetChangedError, match="mapped into its memory"):
        release_deleted_file(host, ReleaseDeletedFile.of(found_on(host, disk)), max_bytes=PLENTY)

    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline().strip().isdigit()


@pytest.mark.usefixtures("deleted")
def test_one_that_grew_beyond_the_bound_is_left_alone(host: Host, disk: LoopFilesystem) -> None:
    with pytest.raises(TargetChangedError, match="grew beyond the approved"):
        release_deleted_file(host, ReleaseDeletedFile.of(found_on(host, disk)), max_bytes=MIB)

    assert found_on(host, disk).allocated == 4 * MIB


def test_a_program_that_ended_took_the_file_with_it(
    host: Host, disk: LoopFilesystem, deleted: tuple[Path, subprocess.Popen[str]]
) -> None:
    _, holder = deleted
    file = found_on(host, disk)
    holder.kill()
    holder.wait()

    assert release_deleted_file(host, ReleaseDeletedFile.of(file), max_bytes=PLENTY).freed_bytes == 0
    assert observe_release(host, ReleaseDeletedFile.of(file), allocated=file.allocated) is Observation.DONE
