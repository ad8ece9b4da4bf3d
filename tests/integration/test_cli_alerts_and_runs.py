"""Alerts and runs by hand: they take the same way as those of Alertmanager, through a real gateway."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lab.alertmanager import AlertmanagerProcess
from lab.gateway_process import TOKEN, GatewayProcess
from lab.prefect_double import PrefectDouble
from nightshift.gateway.cli.alert_sending import FiredAlert
from nightshift.remediation.ledger import Ledger

Command = Callable[..., Any]
DISK = ("HighDiskUsage", "--system", "shop", "--label", "instance=web1:9100", "--label", "mountpoint=/data")


@pytest.fixture
def prefect() -> Iterator[PrefectDouble]:
    with PrefectDouble() as double:
        yield double


@pytest.fixture
def gateway(
    nightshift: Command,  # noqa: ARG001 - first the settings of the test, then the gateway's
    database_url: str,
    runbooks: Path,
    prefect: PrefectDouble,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[GatewayProcess]:
    with GatewayProcess(database_url=database_url, prefect_api_url=prefect.url, runbooks=runbooks) as gateway:
        monkeypatch.setenv("NIGHTSHIFT_GATEWAY_PORT", str(gateway.port))
        monkeypatch.setenv("NIGHTSHIFT_WEBHOOK_TOKEN", TOKEN)
        yield gateway


@pytest.mark.usefixtures("gateway")
def test_a_fired_alert_opens_the_incident_that_is_printed(nightshift: Command, ledger: Ledger) -> None:
    answer = nightshift("alert", "fire", *DISK, "--annotation", "summary=it is full", "--wait", "20")

    assert answer.code == 0, answer.err
    (incident,) = ledger.incidents.list()
    assert f"Opened incident {incident.id}." in answer.out
    assert f"nightshift incidents follow {incident.id}" in answer.out
    (alert,) = ledger.inbox.of(incident.id)
    assert alert.source == "command-line"
    assert alert.status == "firing"
    assert alert.annotations == {"summary": "it is full"}
    assert alert.labels == {
        "alertname": "HighDiskUsage",
        "system": "shop",
        "severity": "warning",
        "instance": "web1:9100",
        "mountpoint": "/data",
    }


@pytest.mark.usefixtures("gateway")
def test_the_same_alert_resolved_is_the_same_alert(nightshift: Command, ledger: Ledger) -> None:
    fired = nightshift("alert", "fire", *DISK, "--json", "--wait", "20").json
    resolved = nightshift("alert", "fire", *DISK, "--resolved", "--json", "--wait", "20").json

    assert resolved["incident"] == fired["incident"]
    (alert,) = ledger.inbox.of(fired["incident"])
    assert (alert.status, alert.fingerprint) == ("resolved", fired["fingerprint"])
    assert alert.ends_at is not None


@pytest.mark.usefixtures("gateway")
def test_an_alert_that_never_fired_cannot_be_resolved(nightshift: Command, ledger: Ledger) -> None:
    answer = nightshift("alert", "fire", *DISK, "--resolved")

    assert answer.code == 1
    assert "there is none to resolve" in answer.err
    assert ledger.incidents.list() == []


@pytest.mark.usefixtures("gateway")
def test_severity_and_labels_of_the_person_count(nightshift: Command, ledger: Ledger) -> None:
    answer = nightshift("alert", "fire", *DISK, "--severity", "critical", "--json", "--wait", "20").json

    row = ledger.incidents.get(answer["incident"])
    assert row is not None
    assert row.severity == "critical"


@pytest.mark.usefixtures("gateway")
def test_an_alert_that_nobody_knows_pages(nightshift: Command, ledger: Ledger) -> None:
    answer = nightshift("alert", "fire", "Nonsense\x1b[31m", "--system", "shop", "--wait", "20")

    (incident,) = ledger.incidents.list()
    assert incident.outcome == "escalated"
    assert f"Incident {incident.id} went to a person." in answer.out
    assert "\x1b" not in answer.out
    assert ledger.deliveries.undelivered() == 1


def test_through_a_real_alertmanager_it_is_the_same_alert(
    nightshift: Command, ledger: Ledger, gateway: GatewayProcess
) -> None:
    with AlertmanagerProcess(f"{gateway.url}/alerts", TOKEN) as alertmanager:
        to = ("--alertmanager", alertmanager.url, "--wait", "60", "--json")
        fired = nightshift("alert", "fire", *DISK, *to).json

    (alert,) = ledger.inbox.of(fired["incident"])
    assert alert.source == "alertmanager"
    assert alert.fingerprint == fired["fingerprint"]  # as Alertmanager itself computed it


def test_the_body_is_what_alertmanager_sends(payload: dict[str, Any]) -> None:
    """Its fields, and its fingerprint of the same labels."""
    theirs = payload["alerts"][0]
    ours = FiredAlert(theirs["labels"], theirs["annotations"]).webhook(datetime.now(UTC), None)

    assert set(ours) == set(payload)
    assert set(ours["alerts"][0]) == set(theirs)
    assert ours["alerts"][0]["fingerprint"] == theirs["fingerprint"]
    assert ours["alerts"][0]["endsAt"] == theirs["endsAt"]


@pytest.fixture
def payload(nightshift: Command) -> dict[str, Any]:  # noqa: ARG001 - settings of the test
    """A body that a real Alertmanager delivered."""
    bodies: list[dict[str, Any]] = []
    arrived = threading.Event()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            arrived.set()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with AlertmanagerProcess(f"http://127.0.0.1:{server.server_port}/", TOKEN) as alertmanager:
            alertmanager.fire({"alertname": "Größe", "b": "2", "a": "x=y"}, {"summary": "s"})
            assert arrived.wait(30)
        server.shutdown()
    return bodies[0]


def test_without_a_gateway_the_remedy_is_told(nightshift: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_WEBHOOK_TOKEN", "t")
    monkeypatch.setenv("NIGHTSHIFT_GATEWAY_PORT", "1")

    answer = nightshift("alert", "fire", *DISK)

    assert answer.code == 1
    assert "does not answer" in answer.err
    assert "nightshift up" in answer.err


@pytest.mark.usefixtures("gateway")
def test_a_wrong_token_is_told_and_not_shown(nightshift: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_WEBHOOK_TOKEN", "not-the-token")

    answer = nightshift("alert", "fire", *DISK)

    assert answer.code == 1
    assert "does not take the webhook token" in answer.err
    assert "not-the-token" not in answer.err + answer.out


@pytest.mark.usefixtures("gateway")
def test_an_alert_that_the_gateway_refuses_is_refused_with_its_reason(nightshift: Command) -> None:
    answer = nightshift("alert", "fire", *DISK, "--label", f"long={'x' * 5000}")

    assert answer.code == 1
    assert "a label is longer than" in answer.err


@pytest.mark.parametrize("label", ["novalue", "=x", "instance=other"])
def test_labels_that_are_none_are_wrong_usage(nightshift: Command, label: str) -> None:
    answer = nightshift("alert", "fire", *DISK, "--label", label)

    assert answer.code == 2


@pytest.mark.usefixtures("gateway")
def test_a_run_by_hand_is_an_incident_that_the_gateway_dispatches(
    nightshift: Command, ledger: Ledger, prefect: PrefectDouble
) -> None:
    opened = nightshift(
        "run", "disk-space-reclaim", "--system", "shop", "--target", "web1:/data", "--dry-run", "--json"
    )

    row = ledger.incidents.get(opened.json["id"])
    assert row is not None
    assert row.target == "shop/host/web1/filesystem/%2Fdata"
    assert row.options == {"dry_run": True, "by": "command line, login root", "requester": "root"}
    give_up_at = time.monotonic() + 20
    while not prefect.made and time.monotonic() < give_up_at:
        time.sleep(0.05)
    (run,) = prefect.made.values()
    assert run["parameters"]["incident"] == row.id


def test_a_second_run_joins_the_first_and_a_dry_run_never_joins_a_real_one(nightshift: Command, ledger: Ledger) -> None:
    arguments = ("run", "disk-space-reclaim", "--system", "shop", "--target", "web1:/data")
    first = nightshift(*arguments, "--json").json
    second = nightshift(*arguments, "--json").json
    dry = nightshift(*arguments, "--dry-run")

    assert (first["is_new"], second["is_new"]) == (True, False)
    assert second["id"] == first["id"]
    assert dry.code == 1
    assert "it is no dry run" in dry.err
    assert len(ledger.incidents.list()) == 1


@pytest.mark.parametrize(
    ("flow", "system", "target", "complaint"),
    [
        ("no-flow", "shop", "web1:/data", "has no runbook with the flow"),
        ("disk-space-reclaim", "shopp", "web1:/data", "There is no system"),
        ("disk-space-reclaim", "shop", "web9:/data", "has no host"),
        ("disk-space-reclaim", "shop", "web1:../etc", "is no mount point"),
        ("disk-space-reclaim", "shop", "web1", "is no target of this flow"),
        ("disk-space-reclaim", "shop", "\x1b[31m:/", "has no host"),
    ],
)
def test_what_the_catalogue_does_not_know_is_not_run(
    nightshift: Command, ledger: Ledger, flow: str, system: str, target: str, complaint: str
) -> None:
    answer = nightshift("run", flow, "--system", system, "--target", target)

    assert answer.code == 1
    assert complaint in answer.err
    assert "\x1b" not in answer.err
    assert ledger.incidents.list() == []
