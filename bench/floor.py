"""The shop floor of the speed bench: many small real filesystems on this machine, and the catalogue about them.

Most are a tmpfs of one MiB on this machine, reached without SSH: what is measured is Nightshift and Prefect, and not
the network or another host. A few disks that are repaired belong to a patient host of their own, reached over SSH
(``lab/patient_host.py``): a repair wants to see that no program uses a file, and what one sees depends on the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab import troubles
from lab.folders import temporary_folder
from lab.patient_host import MIB, PatientHost
from nightshift.remediation.models import Target

SYSTEM, HOST, PATIENT = "shop", "web1", "web2"
WATCHED, REPAIRED, ASKED, EFFECT = "DiskFills", "DiskBursts", "DiskAsks", "OrdersFail"
"""Alerts of the catalogue: diagnosed and reported; repaired at once; asked about; and what comes of a full disk."""
_SIZE = 1024 * 1024
_LOGS, _LOG_SIZE = 4, 100 * 1024
_FULL = 0.92
_WEEKS = 30 * 86400.0
DISKS = tuple(f"/disk{number}" for number in range(6))
"""Of the patient."""
_DISK_SIZE, _DISK_LOGS, _DISK_PERCENT = 16 * MIB, 6, 90


class Floor:
    """Fresh full filesystems, one after the other, for one context. Leaving it unmounts and removes all.

    Raises (on entering): PermissionError: only root may mount.
    """

    def __init__(self, patient: PatientHost | None) -> None:
        self.folder = Path()
        self._patient = patient
        self._disks = iter(DISKS)
        self._mounts: list[Path] = []

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise PermissionError("The bench mounts small filesystems: run it as root.")
        self.folder = temporary_folder("nightshift-floor-")
        self.folder.chmod(0o755)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for mount in self._mounts:
            subprocess.run(["umount", "--lazy", str(mount)], check=False, capture_output=True)
            mount.rmdir()
        self.folder.rmdir()

    def mounts(self, count: int) -> list[str]:
        """So many new full filesystems, by their mount points."""
        return [self._new() for _ in range(count)]

    def disk(self) -> str:
        """A new full filesystem of the patient, by its mount point.

        Raises:
            LookupError: there is no patient, or all its disks are used up.
        """
        if self._patient is None:
            raise LookupError("there is no patient host on this machine, see above")
        mount = next(self._disks, None)
        if mount is None:
            raise LookupError("no disk of the patient is left")
        troubles.old_rotated_logs(self._patient, f"{mount}/log/shop.log", count=_DISK_LOGS, size=MIB)
        troubles.fill_to(self._patient, mount, _DISK_PERCENT)
        return mount

    def _new(self) -> str:
        mount = self.folder / f"data{len(self._mounts)}"
        mount.mkdir()
        self._mounts.append(mount)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "shop", str(mount)], check=True, timeout=30)
        (mount / "log").mkdir()
        for number in range(1, _LOGS + 1):
            log = mount / "log" / f"shop.log.{number}"
            log.write_bytes(b"2026-01-01T00:00:00Z shop INFO order accepted\n" * (_LOG_SIZE // 46))
            moment = time.time() - _WEEKS - number
            os.utime(log, (moment, moment))
        state = os.statvfs(mount)
        rest = int(state.f_blocks * state.f_frsize * _FULL) - (state.f_blocks - state.f_bfree) * state.f_frsize
        (mount / "orders.db").write_bytes(b"x" * rest)
        return str(mount)


def patient_host() -> PatientHost:
    """The host whose disks are repaired; to be entered."""
    return PatientHost(dict.fromkeys(DISKS, _DISK_SIZE))


def host_of(mount: str) -> str:
    """The host of a filesystem."""
    return PATIENT if mount in DISKS else HOST


def target(mount: str) -> Target:
    """A filesystem, as incidents name it."""
    return Target(system=SYSTEM, path=("host", host_of(mount), "filesystem", mount))


def labels(alert: str, mount: str, **more: str) -> dict[str, str]:
    """The labels of an alert about a filesystem."""
    return {"alertname": alert, "system": SYSTEM, "instance": host_of(mount), "mountpoint": mount, **more}


def write_catalogue(folder: Path, floor: Path, patient: PatientHost | None, oncall_url: str) -> None:
    """One system, and one rule: orders fail because the disk that they are on is full.

    A repair is watched for longer than the storm of its effects lasts. A cause that is over holds nothing for long, so
    that one part of the bench leaves nothing to the next.
    """
    url_file = folder.parent / "oncall-url"
    url_file.write_text(oncall_url)
    system = {
        "id": SYSTEM,
        "display": "Shop",
        "title": "the bench's system",
        "severities": {"critical": {"notify": ["oncall"]}, "warning": {"notify": ["oncall"]}, "info": {}},
        "channels": {"oncall": {"kind": "slack", "title": "#oncall", "url": {"file": str(url_file)}}},
        "connections": {
            HOST: {"type": "local"},
            PATIENT: patient.connection().model_dump(mode="json", exclude_none=True) if patient else {"type": "local"},
        },
        "runbooks": {
            WATCHED: _runbook(floor, "observe"),
            REPAIRED: _runbook(floor, "auto"),
            ASKED: _runbook(floor, "propose"),
            EFFECT: {"summary": "orders fail", "severity": "warning"},
        },
    }
    (folder / f"{SYSTEM}.yaml").write_text(json.dumps(system))
    cause = {
        "name": "disk-and-orders",
        "systems": [SYSTEM],
        "cause": {"alerts": [REPAIRED, ASKED]},
        "effects": [{"alerts": [EFFECT], "labels": {"mountpoint": "mountpoint"}}],
        "before": "15m",
        "wait_for_cause": "30s",
        "why": "no order can be written to a full disk",
    }
    (folder / "correlation.yaml").write_text(json.dumps({"settle": "1s", "hold": "1s", "causes": [cause]}))


def _runbook(floor: Path, mode: str) -> dict[str, Any]:
    rule = {"patterns": ["shop.log.[0-9]*"], "older_than": "7d"}
    logs = [{"directory": directory, **rule} for directory in (str(floor), *(f"{disk}/log" for disk in DISKS))]
    return {
        "summary": "a filesystem is nearly full",
        "severity": "critical",
        "flow": "disk-space-reclaim",
        "mode": mode,
        "target": {"host": {"label": "instance"}, "filesystem": {"label": "mountpoint"}},
        "policy": {
            "target_used_percent": 68,
            "alert_used_percent": 75,
            "watch": "12s",
            "refill_horizon": "5s",
            "scan_seconds": "10s",
            "rotated_logs": logs,
        },
    }
