"""Real troubles for a :class:`~lab.patient_host.PatientHost`: files of a real age, real services, a real journal.

Sizes are bytes, ages are seconds. Every file holds real blocks, none is sparse.
"""

from __future__ import annotations

import hashlib
import os
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

from lab.patient_host import MIB, PatientHost

DAY = 86400.0
_LINE = b'2026-01-01T00:00:00Z shop INFO order accepted id=%08d customer="Ada" amount=42.00 currency=EUR\n'
_READY = """
import os, socket
def ready():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
"""
"""Start of every service's program: it tells systemd when the trouble is there, so that starting it waits for that."""
_RUNAWAY = """
import sys, time
path, first, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
log = open(path, "ab", buffering=0)
line = b"2026-01-01T00:00:00Z shop ERROR cannot reach the price feed, trying again\\n"
log.write(line * (first // len(line)))
ready()
while True:
    time.sleep(0.1)
    try:
        log.write(line * max(1, rate // 10 // len(line)))
    except OSError:
        pass  # as logging libraries do: a full disk does not stop the program
"""
_HOLDER = """
import sys, time
path, size = sys.argv[1], int(sys.argv[2])
log = open(path, "ab", buffering=0)
left = size
while left > 0:
    left -= log.write(b"x" * min(left, 1 << 20))
os.unlink(path)
ready()
while True:
    time.sleep(3600)
"""
_JOURNAL_FEED = """
import os, socket, sys, base64
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.connect("/run/systemd/journal/socket")
left = int(sys.argv[1])
while left > 0:
    message = base64.b64encode(os.urandom(30000))  # random, since the journal compresses
    fields = b"PRIORITY=6\\nSYSLOG_IDENTIFIER=shop\\nMESSAGE=" + message + b"\\n"
    journal.send(fields)
    left -= 30000
"""
_JOURNAL_FILE = 8 * MIB
_JOURNAL_LIMITS = "[Journal]\nSystemMaxUse=8G\nSystemKeepFree=1M\nSystemMaxFileSize=8M\nRateLimitIntervalSec=0\n"
"""A journal that somebody allowed to grow."""


@dataclass
class Backups:
    """Paths of backups by what proves them, each list newest first."""

    verified: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)


def old_rotated_logs(
    host: PatientHost, log: str = "/data/log/shop.log", *, count: int = 6, size: int = 2 * MIB, age: float = 8 * DAY
) -> list[str]:
    """``shop.log.1`` … ``shop.log.6``, the newest of this age and each next a day older."""
    paths = [f"{log}.{number}" for number in range(1, count + 1)]
    for number, path in enumerate(paths):
        _write(host, path, _log_text(size), age=age + number * DAY)
    return paths


def runaway_log(
    host: PatientHost,
    path: str = "/data/log/shop.log",
    *,
    size: int = 4 * MIB,
    bytes_per_second: int = 256 * 1024,
    unit: str = "shop.service",
) -> str:
    """A service that keeps writing a log, already of this size; returns its unit."""
    return _start_service(host, unit, _RUNAWAY, path, str(size), str(bytes_per_second))


def deleted_open_file(
    host: PatientHost, path: str = "/data/log/worker.log", *, size: int = 8 * MIB, unit: str = "worker.service"
) -> str:
    """A service that holds a deleted log of this size open; returns its unit."""
    return _start_service(host, unit, _HOLDER, path, str(size))


def fill_journal(host: PatientHost, size: int = 32 * MIB) -> int:
    """A persistent journal with at least this much in archived files; returns the bytes they really take."""
    _write(host, "/etc/systemd/journald.conf.d/zz-unlimited.conf", _JOURNAL_LIMITS.encode())
    host.run("systemctl", "restart", "systemd-journald")
    for _ in range(2 * size // _JOURNAL_FILE + 4):
        if _archived(host) >= size:
            return _archived(host)
        host.run("python3", "-c", _JOURNAL_FEED, str(_JOURNAL_FILE))
        host.run("journalctl", "--sync")
    raise RuntimeError(f"The journal of {host.name} does not grow to {size:,} bytes.")


def package_cache(host: PatientHost, *, count: int = 8, size: int = 2 * MIB) -> list[str]:
    """Downloaded packages in apt's cache."""
    paths = [f"/var/cache/apt/archives/libshop{number}_1.{number}-1_amd64.deb" for number in range(count)]
    for path in paths:
        _write(host, path, b"!<arch>\n" + os.urandom(size - 8), age=20 * DAY)
    return paths


def core_dumps(host: PatientHost, *, count: int = 3, size: int = 4 * MIB, age: float = 10 * DAY) -> list[str]:
    """Core dumps where systemd-coredump keeps them, named as it names them."""
    boot = "0123456789abcdef0123456789abcdef"
    happened = int((time.time() - age) * 1_000_000)
    paths = [f"/var/lib/systemd/coredump/core.shop.0.{boot}.{4000 + n}.{happened}" for n in range(count)]
    for path in paths:
        _write(host, path, b"\x7fELF" + os.urandom(size - 4), age=age)
    return paths


def backups(host: PatientHost, directory: str = "/data/backups", *, size: int = MIB) -> Backups:
    """Daily and older dumps: the newest without a checksum, one with a wrong one, the others proven.

    Ages are 0, 1, 2, 3, 10, 20, 30 and 40 days; the one of 20 days is the wrong one.
    """
    made = Backups()
    for days in (0, 1, 2, 3, 10, 20, 30, 40):
        path = f"{directory}/shop-{days:02d}-days-old.dump"
        content = b"PGDMP" + os.urandom(size - 5)
        _write(host, path, content, age=days * DAY + 60)
        if days == 0:
            made.unproven.append(path)
            continue
        wrong = days == 20
        checksum = hashlib.sha256(b"something else" if wrong else content).hexdigest()
        _write(host, f"{path}.sha256", f"{checksum}  {Path(path).name}\n".encode(), age=days * DAY)
        (made.wrong if wrong else made.verified).append(path)
    return made


def fill_to(host: PatientHost, mount: str, percent: float, *, name: str = "ballast.bin") -> str:
    """Fill a filesystem to this usage, as ``df`` counts it, with one file; returns its path.

    100 leaves not a single block.
    """
    path = host.path(f"{mount}/{name}")
    with path.open("ab") as ballast:
        usage = os.statvfs(path)
        usable = usage.f_blocks - usage.f_bfree + usage.f_bavail
        missing = usable * percent / 100 - (usage.f_blocks - usage.f_bfree)
        if missing > 0:
            # Some blocks go to the file's own map; the rest comes below.
            os.posix_fallocate(ballast.fileno(), 0, max(1, int(missing * 0.99)) * usage.f_frsize)
        try:
            while used_percent(host, mount) < percent or percent >= 100:
                os.write(ballast.fileno(), b"\0" * usage.f_frsize)
        except OSError:
            if percent < 100:
                raise
    return f"{mount}/{name}"


def used_percent(host: PatientHost, mount: str) -> float:
    """Usage as ``df`` counts it, seen past the product."""
    usage = os.statvfs(host.path(mount))
    used = usage.f_blocks - usage.f_bfree
    return 100 * used / (used + usage.f_bavail)


def many_small_files(host: PatientHost, directory: str = "/data/sessions", *, percent: float = 95) -> int:
    """Use this share of the filesystem's inodes with empty files; returns how many there are."""
    folder = host.path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    usage = os.statvfs(folder)
    count = int(usage.f_files * percent / 100) - (usage.f_files - usage.f_ffree)
    for number in range(count):
        (folder / f"sess_{number:06d}").touch()
    return max(0, count)


def read_only(host: PatientHost, mount: str) -> None:
    """Remount read-only, as an administrator does."""
    host.run("mount", "-o", "remount,ro", mount)


def writable(host: PatientHost, mount: str) -> None:
    """The reverse of :func:`read_only`."""
    host.run("mount", "-o", "remount,rw", mount)


def damaged(host: PatientHost, mount: str) -> None:
    """Make the kernel find an error, upon which it lets nobody write any more; there is no way back."""
    host.run("sync", "-f", mount)  # what was written before is to be there still
    device = host.run("findmnt", "-n", "-o", "SOURCE", "--mountpoint", mount).stdout.strip()
    Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("made on purpose by a test")


def _start_service(host: PatientHost, unit: str, program: str, *arguments: str) -> str:
    path = f"/opt/{unit.removesuffix('.service')}.py"
    _write(host, path, (_READY + textwrap.dedent(program)).encode())
    host.path(arguments[0]).parent.mkdir(parents=True, exist_ok=True)
    command = " ".join(["/usr/bin/python3", path, *arguments])
    text = f"[Service]\nType=notify\nExecStart={command}\nRestart=on-failure\n"
    _write(host, f"/etc/systemd/system/{unit}", text.encode())
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", unit)
    return unit


def _archived(host: PatientHost) -> int:
    """Bytes on disk of archived journal files; their names hold an ``@``."""
    files = host.path("/var/log/journal").glob("*/*@*.journal")
    return sum(file.stat().st_blocks * 512 for file in files)


def _log_text(size: int) -> bytes:
    lines = b"".join(_LINE % number for number in range(size // len(_LINE % 0) + 1))
    return lines[:size]


def _write(host: PatientHost, path: str, content: bytes, *, age: float = 0) -> None:
    place = host.path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    if age:
        modified = time.time() - age
        os.utime(place, (modified, modified))
