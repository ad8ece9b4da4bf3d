"""The host that tests and the demo break: it looks like a machine, and leaves nothing behind however it ends."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import troubles
from lab.patient_host import MIB, CannotStartError, PatientHost

_OWNER = """
import sys, time
from lab.patient_host import PatientHost
with PatientHost() as host:
    host.run("sh", "-c", "setsid sleep 4731 >/dev/null 2>&1 &")
    print(host.folder, host.cgroup, flush=True)
    time.sleep(100)
"""


@pytest.fixture
def server() -> Iterator[PatientHost]:
    """A host with a partition for /var, to be broken."""
    with PatientHost({"/var": 160 * MIB, "/data": 64 * MIB}, name="server") as host:
        yield host


def _traces(host_folder: Path, cgroup: Path) -> list[str]:
    """What is left of a host on this machine."""
    name = host_folder.name
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    loops = [str(file) for file in files if name in file.read_text()]
    places = [str(place) for place in (host_folder, cgroup) if place.exists()]
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line]
    keepers = subprocess.run(["pgrep", "-a", "-f", name], capture_output=True, text=True, check=False).stdout
    return [*loops, *places, *mounts, *keepers.splitlines()]


def test_it_looks_like_a_machine_of_its_own(server: PatientHost) -> None:
    assert server.run("hostname").stdout == "server\n"
    assert server.run("cat", "/proc/1/comm").stdout == "systemd\n"
    assert server.run("systemctl", "is-system-running", "--wait").stdout == "running\n"
    assert server.run("stat", "-f", "-c", "%T", "/var", "/data").stdout == "ext2/ext3\n" * 2
    assert server.run("journalctl", "--header", "-q").stdout.startswith("File path: /var/log/journal/")


def test_it_starts_in_a_few_seconds_and_twice_at_the_same_time(patient_host: PatientHost) -> None:
    begun = time.monotonic()
    with PatientHost() as second:
        assert time.monotonic() - begun < 10
        assert second.port != patient_host.port
        second.path("/data/mine").touch()

        assert not patient_host.path("/data/mine").exists()


def test_the_machine_is_neither_seen_nor_touched(server: PatientHost, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the machine")
    etc, units = Path("/etc/hostname").read_bytes(), sorted(Path("/etc/systemd/system").iterdir())

    server.run("sh", "-c", "echo changed >/etc/hostname; touch /usr/share/patient /etc/systemd/system/patient")

    assert server.run("ls", str(tmp_path), check=False).returncode != 0
    assert server.run("ls", "-A", "/home").stdout == ""
    assert Path("/etc/hostname").read_bytes() == etc
    assert sorted(Path("/etc/systemd/system").iterdir()) == units
    assert not Path("/usr/share/patient").exists()
    assert server.run("sh", "-c", "echo 1 >/proc/sys/vm/drop_caches", check=False).returncode != 0


def test_nothing_is_left_behind_by_a_host_in_trouble() -> None:
    with PatientHost({"/var": 64 * MIB, "/data": 16 * MIB}) as host:
        troubles.runaway_log(host, "/data/shop.log")
        troubles.deleted_open_file(host, "/var/log/worker.log", size=MIB)
        troubles.damaged(host, "/var")
        assert len(host.loop_devices) == 2
        assert len(_traces(host.folder, host.cgroup)) > 4

    assert _traces(host.folder, host.cgroup) == []
    host.stop()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind_however_its_owner_ends(end: signal.Signals) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", _OWNER], cwd=root, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder, cgroup = map(Path, owner.stdout.readline().split())
        assert _traces(folder, cgroup)
        owner.send_signal(end)

    until = time.monotonic() + 10
    while left := _traces(folder, cgroup):
        assert time.monotonic() < until, left
        time.sleep(0.05)


def test_nothing_is_left_behind_after_it_was_switched_off(server: PatientHost) -> None:
    server.run("systemctl", "poweroff", "--force", "--force", check=False)
    server.stop()

    assert _traces(server.folder, server.cgroup) == []


def test_a_host_that_cannot_start_says_why_and_leaves_nothing() -> None:
    host = PatientHost({"/data": 1})

    with pytest.raises(CannotStartError, match="mkfs"), host:
        pytest.fail("it started")

    assert _traces(host.folder, host.cgroup) == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda program: None if "sshd" in program else which(program))

    with pytest.raises(CannotStartError, match="package openssh-server"), PatientHost():
        pytest.fail("it started")


def test_a_user_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(CannotStartError, match="root"), PatientHost():
        pytest.fail("it started")


class TestTroubles:
    def test_rotated_logs_are_old_and_take_real_space(self, server: PatientHost) -> None:
        before = troubles.used_percent(server, "/data")

        paths = troubles.old_rotated_logs(server, count=3, size=2 * MIB)

        ages = [time.time() - server.path(path).stat().st_mtime for path in paths]
        assert [round(age / troubles.DAY) for age in ages] == [8, 9, 10]
        assert troubles.used_percent(server, "/data") > before + 8

    def test_a_runaway_log_grows_by_a_service(self, server: PatientHost) -> None:
        unit = troubles.runaway_log(server, "/data/shop.log", size=MIB, bytes_per_second=100_000)
        log = server.path("/data/shop.log")
        first = log.stat().st_size
        assert first > 0.9 * MIB
        time.sleep(1)
        assert 20_000 < log.stat().st_size - first < 500_000

        server.run("systemctl", "stop", unit)
        size = log.stat().st_size
        time.sleep(0.3)
        assert log.stat().st_size == size

    def test_a_deleted_log_keeps_its_space_until_its_service_ends(self, server: PatientHost) -> None:
        unit = troubles.deleted_open_file(server, "/data/worker.log", size=8 * MIB)
        assert not server.path("/data/worker.log").exists()
        held = troubles.used_percent(server, "/data")

        server.run("systemctl", "stop", unit)

        assert troubles.used_percent(server, "/data") < held - 10

    def test_a_full_journal_can_be_vacuumed(self, server: PatientHost) -> None:
        archived = troubles.fill_journal(server, 24 * MIB)
        before = troubles.used_percent(server, "/var")
        assert archived >= 24 * MIB

        server.run("journalctl", "--vacuum-size=1M")

        assert troubles.used_percent(server, "/var") < before - 10

    def test_a_package_cache_is_emptied_by_apt(self, server: PatientHost) -> None:
        paths = troubles.package_cache(server, count=3, size=MIB)
        assert all(server.path(path).stat().st_size == MIB for path in paths)

        server.run("apt-get", "clean")

        assert not any(server.path(path).exists() for path in paths)

    def test_core_dumps_lie_where_systemd_keeps_them(self, server: PatientHost) -> None:
        path, *_ = troubles.core_dumps(server, count=2, size=MIB)

        assert server.path(path).parent == server.path("/var/lib/systemd/coredump")
        assert time.time() - server.path(path).stat().st_mtime > 9 * troubles.DAY

    def test_backups_are_proven_wrong_and_unproven(self, server: PatientHost) -> None:
        made = troubles.backups(server)

        good = [server.run("sh", "-c", 'cd /data/backups && sha256sum -c "$0.sha256"', Path(p).name, check=False)
                for p in [*made.verified, *made.wrong]]  # fmt: skip
        assert [checked.returncode for checked in good] == [0] * 6 + [1]
        newest = max(server.path("/data/backups").glob("*.dump"), key=lambda path: path.stat().st_mtime)
        assert [newest.name] == [Path(path).name for path in made.unproven]
        assert not newest.with_name(f"{newest.name}.sha256").exists()
        content = server.path(made.verified[0]).read_bytes()
        assert hashlib.sha256(content).hexdigest() in server.path(f"{made.verified[0]}.sha256").read_text()

    @pytest.mark.parametrize("percent", [50, 86, 97])
    def test_a_filesystem_is_filled_to_a_given_usage(self, server: PatientHost, percent: int) -> None:
        troubles.fill_to(server, "/data", percent)

        line = server.run("df", "--output=pcent", "/data").stdout.split()[-1]
        assert percent <= int(line.rstrip("%")) <= percent + 1

    def test_a_full_filesystem_has_no_block_left(self, server: PatientHost) -> None:
        troubles.fill_to(server, "/data", 100)

        assert "No space left" in server.run("cp", "/etc/hostname", "/data/x", check=False).stderr

    def test_inodes_run_out_with_bytes_to_spare(self, server: PatientHost) -> None:
        troubles.many_small_files(server, "/data/sessions", percent=96)

        assert server.run("df", "--output=ipcent", "/data").stdout.split()[-1] == "96%"
        assert troubles.used_percent(server, "/data") < 20

    def test_a_read_only_filesystem_can_be_made_writable_again(self, server: PatientHost) -> None:
        troubles.read_only(server, "/data")
        assert "Read-only" in server.run("touch", "/data/x", check=False).stderr

        troubles.writable(server, "/data")
        server.run("touch", "/data/x")
