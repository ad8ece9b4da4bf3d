"""Silences in a real Alertmanager: the alerts of an incident, each by all its labels, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lab.alertmanager import AlertmanagerProcess
from nightshift.catalogue import Catalogue
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Alert

Command = Callable[..., Any]
NOBODY = "http://127.0.0.1:9/alerts"


def _alerts(alertmanager: AlertmanagerProcess) -> dict[str, str]:
    """Mount point, with its device where it names one, and state of each alert."""
    answer = httpx.get(f"{alertmanager.url}/api/v2/alerts", trust_env=False, timeout=10)
    place = ("mountpoint", "device")
    return {
        " ".join(one["labels"][name] for name in place if name in one["labels"]): one["status"]["state"]
        for one in answer.json()
    }


@pytest.mark.hazard("cryptofunk.general.silence", "test_watcher.general.silence")
def test_the_alerts_of_an_incident_are_silenced_and_no_others(
    nightshift: Command, ledger: Ledger, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = 'x", alertname=~".*'
    disk = {"alertname": "HighDiskUsage", "job": "shop", "instance": "web1:9100", "note": hostile}
    with AlertmanagerProcess(NOBODY, "token") as alertmanager:
        monkeypatch.setenv("NIGHTSHIFT_ALERTMANAGERS", json.dumps({"am": alertmanager.url}))
        for mount in ("/data", "/other"):
            alertmanager.fire({**disk, "mountpoint": mount})
        held = httpx.get(f"{alertmanager.url}/api/v2/alerts", trust_env=False, timeout=10).json()
        alertmanager.fire({**disk, "mountpoint": "/data", "device": "sdb"})
        (ours,) = [one for one in held if one["labels"]["mountpoint"] == "/data"]
        ledger.inbox.accept(
            [
                Alert(
                    source="am",
                    fingerprint=ours["fingerprint"],
                    status="firing",
                    labels=ours["labels"],
                    starts_at=ours["startsAt"],
                )
            ]
        )
        take_in(ledger, catalogue, Metrics(ledger))
        (incident,) = ledger.incidents.list()

        said = nightshift("silence", str(incident.id), "--for", "2h", "--reason", "the disk is being replaced")

        assert said.code == 0, said.err
        assert said.out == f"1 alert of incident {incident.id} silenced.\n"
        assert _alerts(alertmanager) == {"/data": "suppressed", "/other": "active", "/data sdb": "active"}
        (silence,) = httpx.get(f"{alertmanager.url}/api/v2/silences", trust_env=False, timeout=10).json()
        assert silence["comment"] == f"the disk is being replaced (incident {incident.id})"
        assert {one["name"]: one["value"] for one in silence["matchers"]} == {
            **disk,
            "mountpoint": "/data",
            "device": "",
        }
        assert all(one["isEqual"] and not one["isRegex"] for one in silence["matchers"])
    (written,) = [row for row in ledger.journal.of(incident.id) if row.kind is Kind.SILENCED]
    assert (written.entry["silences"], written.entry["seconds"]) == ([silence["id"]], 7200)
    assert "silenced 1 alert for 2h: the disk is being replaced" in report_of(ledger, incident.id)


def test_nothing_is_silenced_without_an_alert_that_fires_or_a_known_alertmanager(
    nightshift: Command, ledger: Ledger, catalogue: Catalogue
) -> None:
    labels = {"alertname": "HighDiskUsage", "job": "shop", "instance": "web1:9100", "mountpoint": "/data"}
    begun = "2026-11-22T03:00:00+00:00"
    alert = {"source": "nobody", "fingerprint": "a", "status": "firing", "labels": labels, "starts_at": begun}
    ledger.inbox.accept([Alert.model_validate(alert)])
    take_in(ledger, catalogue, Metrics(ledger))
    (incident,) = ledger.incidents.list()
    arguments = ("silence", str(incident.id), "--for", "2h", "--reason", "why")

    assert "come from nobody, which is no known Alertmanager" in nightshift(*arguments).err
    ledger.inbox.accept([Alert.model_validate({**alert, "status": "resolved"})])
    assert "None of its alerts fires" in nightshift(*arguments).err
    assert nightshift("silence", "999", "--for", "2h", "--reason", "why").code == 1
    assert nightshift("silence", str(incident.id), "--for", "60d", "--reason", "why").code == 2
