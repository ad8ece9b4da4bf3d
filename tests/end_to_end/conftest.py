"""One installation for all end-to-end tests: the real command line, server, worker, gateway, Alertmanager and host."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.alertmanager import AlertmanagerProcess
from lab.installation import Installation
from lab.patient_host import MIB, PatientHost
from lab.ports import free_port
from lab.sinks import HttpSink

SYSTEM = "shop"
MOUNTS = tuple(f"/data{number}" for number in range(1, 16))
"""One small filesystem per test that needs one, so that tests neither see nor wait for each other."""
SMALL_MOUNTS = tuple(f"/{what}{number}" for what in ("kill", "trouble", "cut") for number in range(1, 33))
"""Filesystems of 16 MiB, for tests with many of them."""
ALERTS = ("DiskAsks", "DiskAlone", "DiskTwin", "DiskHurries", "DiskActs")
"""The same runbook: in mode propose, twice in mode auto, with an approval that expires at once, and with one that is
given unless somebody denies."""


def policy(mounts: tuple[str, ...] = (*MOUNTS, *SMALL_MOUNTS)) -> dict[str, Any]:
    """Rotated logs and backups on every mount; fast enough for a test."""
    return {
        "target_used_percent": 60,
        "alert_used_percent": 80,
        "watch": "3s",
        "refill_horizon": "5s",
        "scan_seconds": "10s",
        "rotated_logs": [{"directory": f"{m}/log", "patterns": ["*.log.[0-9]*"], "older_than": "7d"} for m in mounts],
        "backups": [
            {"directory": f"{m}/backups", "patterns": ["*.dump"], "older_than": "14d", "keep_newest_verified": 2}
            for m in mounts
        ],
    }


def runbook(mode: str, *, expires: str = "1h") -> dict[str, Any]:
    return {
        "summary": "a filesystem is nearly full",
        "severity": "critical",
        "flow": "disk-space-reclaim",
        "mode": mode,
        "approval": {"expires_after": expires},
        "target": {"host": {"label": "instance"}, "filesystem": {"label": "mountpoint"}},
        "policy": policy(),
    }


@pytest.fixture(scope="package")
def patient() -> Iterator[PatientHost]:
    """The host that all alerts are about."""
    with PatientHost(dict.fromkeys(MOUNTS, 48 * MIB) | dict.fromkeys(SMALL_MOUNTS, 16 * MIB)) as host:
        logins_in_trouble(host)
        yield host


def logins_in_trouble(host: PatientHost) -> None:
    """Root by other names: for whom every command hangs, and for whom everything speaks German."""
    with host.path("/etc/passwd").open("a") as users, host.path("/etc/ssh/patient_config").open("a") as settings:
        for login, setting in (("hangs", "ForceCommand sleep 3600"), ("german", "SetEnv LC_ALL=de_DE.UTF-8")):
            users.write(f"{login}:*:0:0::/root:/bin/sh\n")
            settings.write(f"Match User {login}\n{setting}\n")
    host.run("systemctl", "restart", "ssh")
    host.wait_for_ssh()


def write_catalogue(folder: Path, patient: PatientHost, **changes: Any) -> None:
    """The shop's catalogue: the patient as ``web1``, and hosts that cannot be reached for different reasons."""
    web1 = patient.connection().model_dump(mode="json", exclude_none=True)
    other_key = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "other")], check=True, capture_output=True
    )
    assert other_key.returncode == 0
    other_host_key = " ".join((folder / "other.pub").read_text().split()[:2])
    system = {
        "id": SYSTEM,
        "display": "Shop",
        "title": "the end-to-end tests' system",
        "severities": {"critical": {"notify": ["oncall"]}, "warning": {"notify": ["oncall"]}, "info": {}},
        "channels": {"oncall": {"kind": "slack", "title": "#oncall", "url": {"env": "SHOP_ONCALL_URL"}}},
        "connections": {
            "web1": web1,
            "new-key": {**web1, "host_key": other_host_key},
            "wrong-key": {**web1, "private_key": {"file": str(folder / "other")}},
            "down": {**web1, "port": free_port()},
            "hangs": {**web1, "user": "hangs"},
            "german": {**web1, "user": "german"},
        },
        "runbooks": {
            "DiskAsks": runbook("propose"),
            "DiskAlone": runbook("auto"),
            "DiskTwin": runbook("auto"),
            "DiskHurries": runbook("propose", expires="2s"),
            "DiskActs": {**runbook("propose"), "approval": {"low": {"unless_denied_within": "20s"}}},
            "NobodyKnows": {"summary": "no flow answers this", "severity": "warning"},
        },
        **changes,
    }
    (folder / f"{SYSTEM}.yaml").write_text(json.dumps(system))


@pytest.fixture(scope="package")
def oncall() -> Iterator[HttpSink]:
    """Where the shop's messages to people arrive."""
    with HttpSink() as sink:
        yield sink


@pytest.fixture(scope="package")
def installation(
    patient: PatientHost, oncall: HttpSink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Up before the first test, down after the last; only what it started itself is ended."""
    faults = str(tmp_path_factory.mktemp("faults"))
    channels = {"SHOP_ONCALL_URL": oncall.slack_url, "NIGHTSHIFT_PAGE_URL": oncall.apprise_url}
    settings = {"NIGHTSHIFT_CLAIM_SECONDS": "10", "NIGHTSHIFT_FAULTS": faults, **channels}
    with Installation(prefix="nightshift-e2e-", **settings) as installation:
        write_catalogue(installation.catalogue, patient)
        installation.up()
        yield installation


@pytest.fixture(scope="package")
def alertmanager(installation: Installation) -> Iterator[AlertmanagerProcess]:
    """A real Alertmanager that delivers to the gateway."""
    token = installation.settings.webhook_token
    assert token is not None
    with AlertmanagerProcess(f"{installation.settings.gateway_url}/alerts", token.get_secret_value()) as running:
        yield running
