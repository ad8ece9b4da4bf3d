"""What the bench repairs: a real host with many small full filesystems, and the catalogue that says what may go."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import troubles
from lab.full_disk import Seen, look
from lab.patient_host import MIB, PatientHost
from lab.sinks import HttpSink
from lab.witness import WRITTEN_AFTERWARDS, Witness, directories_below

SYSTEM, HOST = "shop", "web1"
LOGS, BACKUPS = "LogsPileUp", "BackupsPileUp"
"""Two troubles of each filesystem, and so two repairs that want the same target at the same time."""
FIRING = (LOGS, LOGS, LOGS, BACKUPS, BACKUPS)
"""The alerts of one filesystem: the same trouble comes from several replicas."""
SIZE = 16 * MIB
TARGET_PERCENT = {LOGS: 68, BACKUPS: 48}
_FULL_PERCENT = 92
_DAY = 86400.0


@dataclass
class Filesystem:
    """One small filesystem: logs and backups that may go, and everything that must stay."""

    host: PatientHost
    mount: str
    may_go: set[str] = field(default_factory=set)
    before: dict[str, Seen] = field(default_factory=dict)

    def fill(self) -> None:
        """About 92 % used: a quarter by old logs, half by old backups; names that a shell would trip over stay."""
        self.may_go |= set(troubles.old_rotated_logs(self.host, f"{self.mount}/log/shop.log", count=4, size=MIB))
        for number in range(10):
            is_old = number > 1
            path = f"{self.mount}/backups/shop-{number}.dump"
            made = self._backup(path, MIB if is_old else 64 * 1024, age=(20 + number if is_old else number + 1) * _DAY)
            self.may_go |= made if is_old else set()
        self._write(f"{self.mount}/log/shop.log", b"in use\n")
        self._write(f"{self.mount}/log/$(touch hit).log", b"a name\n", age=30 * _DAY)
        self._write(f"{self.mount}/log/other.log.1", b"of another program, and young\n")
        troubles.fill_to(self.host, self.mount, _FULL_PERCENT)
        self.before = self.files()

    def files(self) -> dict[str, Seen]:
        """Every file that is there now."""
        root = self.host.path(self.mount)
        return {
            self.mount + str(Path(folder, name))[len(str(root)) :]: look(Path(folder, name))
            for folder, _, names in os.walk(root)
            for name in names
        }

    @property
    def used_percent(self) -> float:
        """As ``df`` counts it."""
        return troubles.used_percent(self.host, self.mount)

    def _backup(self, path: str, size: int, *, age: float) -> set[str]:
        content = b"PGDMP" + os.urandom(size - 5)
        self._write(path, content, age=age)
        proof = f"{hashlib.sha256(content).hexdigest()}  {Path(path).name}\n"
        self._write(f"{path}.sha256", proof.encode(), age=age)
        return {path, f"{path}.sha256"}

    def _write(self, path: str, content: bytes, *, age: float = 0) -> None:
        place = self.host.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        moment = time.time() - age
        os.utime(place, (moment, moment))


def is_replaced(path: str) -> bool:
    """Whether something else writes a file of this name again: logs and dumps, not their checksums."""
    return not path.endswith(".sha256")


def witness_of(filesystems: list[Filesystem]) -> Witness:
    """Watches everything on them."""
    places: dict[str, Path] = {}
    for filesystem in filesystems:
        places |= dict(directories_below(filesystem.host.path(filesystem.mount), filesystem.mount))
    return Witness(places, is_replaced)


def is_written_afterwards(seen: Seen) -> bool:
    """Whether this is what the witness put there."""
    return seen.content == hashlib.sha256(WRITTEN_AFTERWARDS).hexdigest()


def write_catalogue(folder: Path, host: PatientHost, oncall: HttpSink) -> None:
    """One system, both troubles in mode ``auto``; the limits of a day do not fit a bench, and are raised."""
    several = {"per": "system", "at_most": 100_000, "within": "1h"}
    system = {
        "id": SYSTEM,
        "display": "Shop",
        "title": "the bench's system",
        "mode": "auto",
        "severities": {"critical": {"notify": ["oncall"]}, "warning": {"notify": ["oncall"]}, "info": {}},
        "channels": {"oncall": {"kind": "slack", "title": "#oncall", "url": {"file": str(_kept(folder, oncall))}}},
        "connections": {HOST: host.connection().model_dump(mode="json", exclude_none=True)},
        "budgets": [several],
        "cooldown": "0s",
        "runbooks": {name: _runbook(name, host) for name in (LOGS, BACKUPS)},
    }
    (folder / f"{SYSTEM}.yaml").write_text(json.dumps(system))


def labels(mount: str, trouble: str, replica: int) -> dict[str, str]:
    """The labels of one alert."""
    names = {"alertname": trouble, "system": SYSTEM, "instance": HOST, "mountpoint": mount}
    return {**names, "replica": f"prometheus-{replica}"}


def _kept(folder: Path, oncall: HttpSink) -> Path:
    """A file of the channel's URL: a supervisor's environment is bare."""
    place = folder.parent / "oncall-url"
    place.write_text(oncall.slack_url)
    return place


def _runbook(name: str, host: PatientHost) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "target_used_percent": TARGET_PERCENT[name],
        "alert_used_percent": TARGET_PERCENT[name] + 4,
        "watch": "3s",
        "refill_horizon": "5s",
        "scan_seconds": "10s",
    }
    if name == LOGS:
        directories = [f"{mount}/log" for mount in host.filesystems]
        rule: dict[str, Any] = {"patterns": ["shop.log.[0-9]*"], "older_than": "7d"}
        policy["rotated_logs"] = [{"directory": directory, **rule} for directory in directories]
    else:
        directories = [f"{mount}/backups" for mount in host.filesystems]
        rule = {"patterns": ["*.dump"], "older_than": "14d", "keep_newest_verified": 2}
        policy["backups"] = [{"directory": directory, **rule} for directory in directories]
    return {
        "summary": "a filesystem is nearly full",
        "severity": "critical",
        "flow": "disk-space-reclaim",
        "target": {"host": {"label": "instance"}, "filesystem": {"label": "mountpoint"}},
        "policy": policy,
    }
