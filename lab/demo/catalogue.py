"""The demo's catalogue, and how its alert is posted where there is no Alertmanager."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import httpx

from lab.demo.patients import Patient
from nightshift.catalogue.catalogue import Catalogue
from nightshift.settings import Settings, default_runbooks

SYSTEM = "shop"
ALERT = "DiskSpaceLow"


def write_catalogue(folder: Path, patient: Patient) -> None:
    """The five systems as they are shipped, and the demo's own."""
    for file in default_runbooks().glob("*.yaml"):
        (folder / file.name).write_text(file.read_text())
    system = {
        "id": SYSTEM,
        "display": "Shop",
        "title": "The demo's own system: one host that sells nothing",
        "mode": "propose",
        "severities": {
            "critical": {"acknowledge": "5m", "notify": ["on-call"]},
            "warning": {"acknowledge": "30m", "notify": ["on-call"]},
            "info": {},
        },
        # A JSON line per page, on the screen of nobody: the demo shows what is paged from the ledger.
        "channels": {"on-call": {"kind": "apprise", "title": "#shop-on-call", "url": {"env": "SHOP_PAGE_URL"}}},
        "connections": {"web1": patient.connection},
        "runbooks": {
            ALERT: {
                "summary": "a filesystem of a shop host is nearly full",
                "severity": "critical",
                "flow": "disk-space-reclaim",
                "target": {
                    "host": {"label": "instance", "default": "web1"},
                    "filesystem": {"label": "mountpoint", "default": patient.mount},
                },
                "policy": patient.policy,
            }
        },
    }
    # JSON is YAML.
    (folder / f"{SYSTEM}.yaml").write_text(json.dumps(system, indent=2) + "\n")
    Catalogue.load(folder)


def post_as_alertmanager(settings: Settings, token: str, labels: dict[str, str]) -> None:
    """The body that Alertmanager would send, for machines without its package."""
    now = datetime.now(UTC).isoformat()
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {},
        "startsAt": now,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16],
    }
    body = {
        "version": "4",
        "groupKey": "{}:{}",
        "status": "firing",
        "receiver": "nightshift",
        "groupLabels": {},
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "",
        "truncatedAlerts": 0,
        "alerts": [alert],
    }
    answer = httpx.post(f"{settings.gateway_url}/alerts", json=body, headers={"Authorization": f"Bearer {token}"})
    answer.raise_for_status()
