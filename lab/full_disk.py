"""A filesystem of a patient host with too much on it, and what was on it before, seen past the product."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab import troubles
from lab.patient_host import PatientHost

_KIB = 1024


@dataclass(frozen=True)
class Seen:
    """What makes a file the same file with the same content."""

    inode: int
    size: int
    content: str


class FullDisk:
    """Old rotated logs and old backups, neither enough alone, and ballast; made and remembered at once.

    It suits a filesystem of 16 MiB, a target of 60 % and a policy that takes both sorts.
    """

    def __init__(self, host: PatientHost, mount: str, *, percent: float = 84, log_size: int = 900 * _KIB) -> None:
        self.host = host
        self.mount = mount
        self.logs = troubles.old_rotated_logs(host, f"{mount}/log/shop.log", count=3, size=log_size)
        self.backups = troubles.backups(host, f"{mount}/backups", size=600 * _KIB)
        troubles.fill_to(host, mount, percent)
        self.before = self.seen()

    @classmethod
    def as_it_is(cls, host: PatientHost, mount: str) -> Self:
        """A filesystem filled in another way, remembered only."""
        disk = cls.__new__(cls)
        disk.host, disk.mount, disk.logs, disk.backups = host, mount, [], troubles.Backups()
        disk.before = disk.seen()
        return disk

    def seen(self) -> dict[str, Seen]:
        """Every file that is there now, by its path on the host."""
        root = self.host.path(self.mount)
        return {
            self.mount + str(Path(folder, name))[len(str(root)) :]: look(Path(folder, name))
            for folder, _, names in os.walk(root)
            for name in names
        }

    @property
    def gone(self) -> set[str]:
        """What was there and is not any more."""
        return set(self.before) - set(self.seen())

    @property
    def spoiled(self) -> set[str]:
        """What is there but not as it was, and what is new."""
        now = self.seen()
        return {path for path, seen in now.items() if self.before.get(path) != seen}

    @property
    def used_percent(self) -> float:
        """As ``df`` counts it."""
        return troubles.used_percent(self.host, self.mount)


def look(path: Path) -> Seen:
    """A file as it is now."""
    status = path.lstat()
    return Seen(status.st_ino, status.st_size, hashlib.sha256(path.read_bytes()).hexdigest())
