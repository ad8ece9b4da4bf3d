"""The shop floor of the speed bench: many small real filesystems on this machine, and the catalogue about them.

A filesystem is a tmpfs of one MiB, nearly full of old rotated logs. The shop's host is this machine, reached without
SSH: what is measured is Nightshift and Prefect, and not the network or another host.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nightshift.remediation.models import Target

SYSTEM, HOST = "shop", "web1"
WATCHED, REPAIRED, ASKED, EFFECT = "DiskFills", "DiskBursts", "DiskAsks", "OrdersFail"
"""Alerts of the catalogue: diagnosed and reported; repaired at once; asked about; and what comes of a full disk."""
_SIZE = 1024 * 1024
_LOGS, _LOG_SIZE = 4, 100 * 1024
_FULL = 0.92
_WEEKS = 30 * 86400.0


class Floor:
    """Fresh full filesystems, one after the other, for one context. Leaving it unmounts and removes all.

    Raises (on entering): PermissionError: only root may mount.
    """

    def __init__(self) -> None:
        self.folder = Path()
        self._mounts: list[Path] = []

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise PermissionError("The bench mounts small filesystems: run it as root.")
        self.folder = Path(tempfile.mkdtemp(prefix="nightshift-floor-"))
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


def target(mount: str) -> Target:
    """A filesystem, as incidents name it."""
    return Target(system=SYSTEM, path=("host", HOST, "filesystem", mount))


def labels(alert: str, mount: str, **more: str) -> dict[str, str]:
    """The labels of an alert about a filesystem."""
    return {"alertname": alert, "system": SYSTEM, "instance": HOST, "mountpoint": mount, **more}


def write_catalogue(folder: Path, floor: Path, oncall_url: str) -> None:
    """One system, and one rule: orders fail because the disk that they are on is full."""
    url_file = folder.parent / "oncall-url"
    url_file.write_text(oncall_url)
    system = {
        "id": SYSTEM,
        "display": "Shop",
        "title": "the bench's system",
        "severities": {"critical": {"notify": ["oncall"]}, "warning": {"notify": ["oncall"]}, "info": {}},
        "channels": {"oncall": {"kind": "slack", "title": "#oncall", "url": {"file": str(url_file)}}},
        "connections": {HOST: {"type": "local"}},
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
    (folder / "correlation.yaml").write_text(json.dumps({"settle": "2m", "hold": "8h", "causes": [cause]}))


def _runbook(floor: Path, mode: str) -> dict[str, Any]:
    logs = {"directory": str(floor), "patterns": ["shop.log.[0-9]*"], "older_than": "7d"}
    return {
        "summary": "a filesystem is nearly full",
        "severity": "critical",
        "flow": "disk-space-reclaim",
        "mode": mode,
        "target": {"host": {"label": "instance"}, "filesystem": {"label": "mountpoint"}},
        "policy": {
            "target_used_percent": 68,
            "alert_used_percent": 75,
            "watch": "3s",
            "refill_horizon": "5s",
            "scan_seconds": "10s",
            "rotated_logs": [logs],
        },
    }
