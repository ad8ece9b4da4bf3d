"""What the demo repairs: a host of its own where that is possible, else a folder on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import troubles
from lab.folders import temporary_folder
from lab.patient_host import MIB, PatientHost, missing_parts

DAY = 86400.0
_WRITER = """
import sys, time
log = open(sys.argv[1], "ab", buffering=0)
line = b"2026-01-01T00:00:00Z shop ERROR cannot reach the price feed, trying again\\n"
while True:
    log.write(line * 200)
    time.sleep(0.1)
"""


@dataclass
class Patient:
    """A filesystem in trouble, and how Nightshift reaches and may treat it."""

    connection: dict[str, Any]
    mount: str
    policy: dict[str, Any]
    troubles: list[str]
    """What was done to it, for people."""
    left_out: list[str] = field(default_factory=list)
    """What a host of its own would have had besides."""

    def usage(self) -> os.statvfs_result:
        """The filesystem, seen past the product."""
        return os.statvfs(self.seen_from_here)

    seen_from_here: Path = Path("/")


def patient() -> AbstractContextManager[Patient]:
    """The best patient this machine can have."""
    missing = missing_parts()
    return _folder(missing) if missing else _host()


@contextmanager
def _host() -> Iterator[Patient]:
    """Systemd as pid 1, sshd, journald, and a small /var that is 94 % full for seven different reasons."""
    with PatientHost({"/var": 256 * MIB, "/archive": 64 * MIB}, name="web1") as host:
        log = "/var/log/shop/shop.log"
        troubles.old_rotated_logs(host, log, count=8, size=3 * MIB)
        troubles.runaway_log(host, log, size=36 * MIB, bytes_per_second=64 * 1024)
        troubles.deleted_open_file(host, "/var/log/shop/worker.log", size=20 * MIB)
        troubles.fill_journal(host, 32 * MIB)
        troubles.package_cache(host, count=8)
        troubles.core_dumps(host)
        troubles.backups(host, "/var/backups/shop", size=3 * MIB)
        troubles.fill_to(host, "/var", 94, name="shop.db")
        yield Patient(
            connection=host.connection().model_dump(mode="json", exclude_none=True),
            mount="/var",
            policy={
                "target_used_percent": 27,
                "alert_used_percent": 85,
                "watch": "10s",
                "refill_horizon": "5m",
                "package_cache": True,
                "journal": {"keep": "8MiB"},
                "rotated_logs": [
                    {"directory": "/var/log/shop", "patterns": ["shop.log.[0-9]*"], "older_than": "7d"},
                ],
                "core_dumps": [
                    {"directory": "/var/lib/systemd/coredump", "patterns": ["core.*"], "older_than": "7d"},
                ],
                "live_logs": [
                    {
                        "directory": "/var/log/shop",
                        "patterns": ["shop.log"],
                        "larger_than": "16MiB",
                        "keep_tail": "1MiB",
                        "save_to": "/archive",
                    }
                ],
                "release_deleted_files": ["worker.log"],
                "backups": [
                    {
                        "directory": "/var/backups/shop",
                        "patterns": ["*.dump"],
                        "older_than": "14d",
                        "keep_newest_verified": 3,
                    }
                ],
            },
            troubles=[
                "8 rotated logs, 8 to 15 days old",
                "a runaway log of 36 MiB that a service keeps writing (shop.service)",
                "a deleted log of 20 MiB that a service still holds open (worker.service)",
                "a journal of 32 MiB and more",
                "16 MiB of downloaded packages",
                "3 core dumps of 4 MiB",
                "8 backups, old and new, one of them damaged, the newest not verified",
            ],
            seen_from_here=host.path("/var"),
        )


@contextmanager
def _folder(missing: list[str]) -> Iterator[Patient]:
    """A folder of this machine through the local shell, its ceiling just below what the filesystem has in use."""
    folder = temporary_folder("nightshift-demo-patient-")
    writer = None
    try:
        used_before = _used_percent(folder)
        for number in range(1, 9):
            _old_file(folder / f"log/shop.log.{number}", 56 * MIB, (7 + number) * DAY)
        for days in (0, 1, 2, 3, 20, 30):
            backup = folder / f"backups/shop-{days:02d}-days-old.dump"
            _old_file(backup, 8 * MIB, days * DAY + 60)
            digest = hashlib.sha256(backup.read_bytes()).hexdigest()
            if days:
                Path(f"{backup}.sha256").write_text(f"{digest}  {backup.name}\n")
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(folder / "log/shop.log")])
        used = _used_percent(folder)
        yield Patient(
            connection={"type": "local"},
            mount=_mount_of(folder),
            policy={
                # Room for what the installation itself writes meanwhile, and others on this machine.
                "target_used_percent": round(used_before + 0.65 * (used - used_before), 4),
                "alert_used_percent": round(used_before + 0.8 * (used - used_before), 4),
                "target_used_inodes_percent": 99,
                "watch": "10s",
                "refill_horizon": "0s",
                "scan_seconds": "10s",
                "rotated_logs": [
                    {"directory": f"{folder}/log", "patterns": ["shop.log.[0-9]*"], "older_than": "7d"},
                ],
                "backups": [
                    {
                        "directory": f"{folder}/backups",
                        "patterns": ["*.dump"],
                        "older_than": "14d",
                        "keep_newest_verified": 3,
                    }
                ],
            },
            troubles=[
                f"8 rotated logs, 8 to 15 days old, in {folder}",
                "a log that a program keeps writing",
                "6 backups, old and new, the newest not verified",
                f"the ceiling of {_mount_of(folder)} set between its use before and after",
            ],
            left_out=[f"a host of its own with systemd, sshd and journald (needs {', '.join(missing)})"],
            seen_from_here=folder,
        )
    finally:
        if writer is not None:
            writer.kill()
            writer.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _old_file(path: Path, size: int, age: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(os.urandom(MIB) * (size // MIB))
        os.fsync(file.fileno())  # or its blocks are counted anew once they are on disk, and the plan with them
    then = time.time() - age
    os.utime(path, (then, then))


def _used_percent(path: Path) -> float:
    usage = os.statvfs(path)
    used = usage.f_blocks - usage.f_bfree
    return 100 * used / (used + usage.f_bavail)


def _mount_of(path: Path) -> str:
    while not path.is_mount():
        path = path.parent
    return str(path)
