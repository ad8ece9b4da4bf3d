"""A host with many small full disks, the catalogue that says what may go, and who counts what really went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import troubles
from lab.full_disk import FullDisk, Seen
from lab.patient_host import MIB, PatientHost
from lab.witness import WRITTEN_AFTERWARDS, Witness, directories_below
from lab.witness import Seen as Happened
from nightshift.remediation.ledger.journal import Kind, Row

SYSTEM, HOST = "shop", "web1"
ALONE, TWIN, ASKS = "DiskAlone", "DiskTwin", "DiskAsks"
"""The same runbook: twice in mode auto, so that two repairs want one disk, and in mode propose."""
SIZE = 8 * MIB
TARGET_PERCENT = 50
_FULL_PERCENT = 84
_LOGS, _LOG_SIZE = 3, 800 * 1024


class Disk:
    """One small filesystem: logs of which each is needed to reach the goal, and what must stay."""

    def __init__(self, host: PatientHost, mount: str) -> None:
        self.host, self.mount = host, mount
        self.logs = troubles.old_rotated_logs(host, f"{mount}/log/shop.log", count=_LOGS, size=_LOG_SIZE)
        troubles.old_rotated_logs(host, f"{mount}/log/young.log", count=1, size=1024, age=0)
        troubles.old_rotated_logs(host, f"{mount}/other/shop.log", count=1, size=1024)
        troubles.fill_to(host, mount, _FULL_PERCENT)
        self.before = self.files()

    def files(self) -> dict[str, Seen]:
        """Every file that is there now."""
        return FullDisk.as_it_is(self.host, self.mount).before

    @property
    def used_percent(self) -> float:
        """As ``df`` counts it."""
        return troubles.used_percent(self.host, self.mount)

    def labels(self, alert: str) -> dict[str, str]:
        """Of an alert about it."""
        return {"alertname": alert, "system": SYSTEM, "instance": HOST, "mountpoint": self.mount}


def witness_of(disks: Sequence[Disk]) -> Witness:
    """Watches everything on them; what is deleted is followed by another file of its name."""
    places: dict[str, Path] = {}
    for disk in disks:
        places |= dict(directories_below(disk.host.path(disk.mount), disk.mount))
    return Witness(places, lambda _path: True)


def write_catalogue(folder: Path, host: PatientHost) -> None:
    """One system; the limits of a day do not fit a night in which so much is broken, and are raised."""
    system = {
        "id": SYSTEM,
        "display": "Shop",
        "title": "a shop whose services are killed",
        "severities": {"critical": {"notify": []}, "warning": {"notify": []}, "info": {}},
        "connections": {HOST: host.connection().model_dump(mode="json", exclude_none=True)},
        "budgets": [{"per": "system", "at_most": 100_000, "within": "1h"}],
        "cooldown": "0s",
        "runbooks": {ALONE: _runbook(host, "auto"), TWIN: _runbook(host, "auto"), ASKS: _runbook(host, "propose")},
    }
    (folder / f"{SYSTEM}.yaml").write_text(json.dumps(system))


def _runbook(host: PatientHost, mode: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"patterns": ["*.log.[0-9]*"], "older_than": "7d"}
    policy = {
        "target_used_percent": TARGET_PERCENT,
        "alert_used_percent": TARGET_PERCENT + 20,
        "watch": "3s",
        "refill_horizon": "5s",
        "scan_seconds": "10s",
        "rotated_logs": [{"directory": f"{mount}/log", **rule} for mount in host.filesystems],
    }
    return {
        "summary": "a filesystem is nearly full",
        "severity": "critical",
        "flow": "disk-space-reclaim",
        "mode": mode,
        "target": {"host": {"label": "instance"}, "filesystem": {"label": "mountpoint"}},
        "policy": policy,
    }


@dataclass(frozen=True)
class Count:
    """What the observer saw, in words; none is right."""

    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    outside_plan: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Everything that was wrong."""
        return (*self.lost, *self.doubled, *self.outside_plan)


def count(disk: Disk, happened: Happened, rows: Sequence[Row]) -> Count:
    """Compare what the kernel told of a disk with what was planned for it: each old log gone once, all else as it was.

    Args:
        disk: whose repairs have all ended.
        happened: to it, as the witness saw.
        rows: the journals of these repairs, for what they intended.
    """
    now, below = disk.files(), f"{disk.mount}/"
    deleted = {path: times for path, times in happened.deleted.items() if path.startswith(below)}
    planned = {file["path"] for files in _intended(rows) for file in files}
    lost = [f"{path} is still there" for path in disk.logs if path not in deleted]
    lost += [f"{disk.mount} is {disk.used_percent:.0f} % full"] * (disk.used_percent > TARGET_PERCENT + 0.5)
    doubled = [f"{path} was deleted {times} times" for path, times in deleted.items() if times > 1]
    doubled += [f"what came after {path} is gone" for path in deleted if path not in now]
    outside = [f"{path} was deleted, not planned" for path in deleted if path not in planned]
    outside += [f"{path} may not be deleted" for path in deleted if path not in disk.logs]
    outside += [f"{path} was changed" for path in happened.otherwise if path.startswith(below)]
    outside += [f"{path} is not as it was" for path, seen in now.items() if not _as_it_was(disk, path, seen, deleted)]
    outside += [f"{path} is gone, nobody saw it go" for path in disk.before.keys() - now.keys() - deleted.keys()]
    return Count(tuple(lost), tuple(doubled), (*outside, *_fences_in_disorder(rows)))


def _as_it_was(disk: Disk, path: str, seen: Seen, deleted: dict[str, int]) -> bool:
    if path in deleted:
        return disk.host.path(path).read_bytes() == WRITTEN_AFTERWARDS
    return disk.before.get(path) == seen


def _intended(rows: Sequence[Row]) -> list[list[dict[str, Any]]]:
    return [row.entry["action"]["arguments"]["files"] for row in rows if row.kind is Kind.INTENT]


def _fences_in_disorder(rows: Sequence[Row]) -> list[str]:
    fences = [row.fence for row in sorted(rows, key=lambda row: row.sequence) if row.fence is not None]
    return [] if fences == sorted(fences) else ["an older holder of the lease wrote after a newer one"]
