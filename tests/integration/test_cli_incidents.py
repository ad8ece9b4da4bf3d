"""Incidents and reports on the command line: what is listed, shown and followed, and that hostile text stays text."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Action, Alert, Outcome, Plan, Quantity, Refusal, Risk, Severity, Target

Command = Callable[..., Any]
TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/data"))
HOSTILE = "\x1b[31m[red]x[/red] [link=http://evil]y[/link] :bomb: \x9b2J\u202e **b** {{ 7*7 }} $(id)"


def opened(ledger: Ledger, title: str = "a disk is nearly full", mount: str = "/data") -> int:
    target = Target(system="shop", path=("host", "web1", "filesystem", mount))
    trouble = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", target, Severity.WARNING, title)
    with ledger.engine.begin() as connection:
        return ledger.incidents.open(connection, trouble)[0]


def claimed(ledger: Ledger, incident: int) -> Claim:
    claim = ledger.incidents.claim(incident, 1, uuid4(), 30)
    assert claim is not None
    return claim


def plan(title: str = "Delete old logs") -> Plan:
    action = Action(
        kind="delete_files",
        target=TARGET,
        title=title,
        reason="older than 7 days",
        risk=Risk.LOW,
        bound=Quantity(amount=100, unit="bytes"),
        undo="cannot be undone",
    )
    refusal = Refusal(what="/data/db", reason="it is not allowed", lifted_by="mounts")
    return Plan(goal="Free space", target=TARGET, actions=(action,), refusals=(refusal,))


def with_hostile_alert(ledger: Ledger, incident: int) -> None:
    alert = Alert(
        source="alertmanager",
        fingerprint="f" * 16,
        status="firing",
        labels={"alertname": "HighDiskUsage", "evil": HOSTILE},
        annotations={"summary": HOSTILE},
        starts_at=datetime.now(UTC),
    )
    ledger.inbox.accept([alert])
    with ledger.engine.begin() as connection:
        (row,) = ledger.inbox.new(connection, 1)
        ledger.inbox.taken_in(connection, row, note="Opened.", incident_id=incident)


def planned(ledger: Ledger, incident: int, made: Plan) -> None:
    entry = {"digest": made.digest, "plan": made.model_dump(mode="json")}
    ledger.journal.record(incident, Kind.PLANNED, entry)


def test_the_list_shows_the_newest_first_and_can_be_narrowed(nightshift: Command, ledger: Ledger) -> None:
    first, second = opened(ledger), opened(ledger, mount="/")
    ledger.incidents.finish(claimed(ledger, first), Outcome.RESOLVED, "It fits again.")

    everything = nightshift("incidents", "list", "--json").json
    assert [incident["id"] for incident in everything] == [second, first]
    assert [incident["id"] for incident in nightshift("incidents", "list", "--live", "--json").json] == [second]
    assert [incident["id"] for incident in nightshift("incidents", "list", "--limit", "1", "--json").json] == [second]
    assert nightshift("incidents", "list", "--system", "other", "--json").json == []
    assert everything[1] | {"opened_at": "", "ended_at": "", "flow_run_url": ""} == {
        "id": first,
        "cause": None,
        "cause_rule": None,
        "under_cause_since": None,
        "system": "shop",
        "alert": "HighDiskUsage",
        "flow": "disk-space-reclaim",
        "target": "shop/host/web1/filesystem/%2Fdata",
        "target_label": "web1 /data",
        "severity": "warning",
        "title": "a disk is nearly full",
        "status": "ended",
        "outcome": "resolved",
        "reason": "It fits again.",
        "attempt": 1,
        "options": {},
        "opened_at": "",
        "ended_at": "",
        "acknowledged_by": None,
        "acknowledged_at": None,
        "flow_run_url": "",
    }


def test_the_list_for_people_names_state_and_target(nightshift: Command, ledger: Ledger) -> None:
    opened(ledger)

    answer = nightshift("incidents", "list")

    assert answer.code == 0
    assert "open" in answer.out
    assert "web1 /data" in answer.out


def test_an_incident_is_shown_with_what_it_waits_for_and_its_page_in_the_prefect_ui(
    nightshift: Command, ledger: Ledger
) -> None:
    incident = opened(ledger)
    claim = claimed(ledger, incident)
    planned(ledger, incident, plan())
    ledger.approvals.ask(incident, plan(), claim.flow_run_id, 600)
    ledger.incidents.move(claim, "waiting")

    shown = nightshift("incidents", "show", str(incident))
    details = nightshift("incidents", "show", str(incident), "--json").json

    assert f"nightshift approve {incident}" in shown.out
    assert f"http://127.0.0.1:1/runs/flow-run/{claim.flow_run_id}" in shown.out
    assert "Delete old logs" in shown.out
    assert "it is not allowed" in shown.out
    assert details["plan"]["digest"] == plan().digest == details["approval"]["digest"]
    assert details["waits_for"].startswith("an approval until")


@pytest.mark.parametrize("number", ["999", "0", "-1", "99999999999999999999999"])
@pytest.mark.parametrize("command", ["incidents show", "incidents follow", "incidents acknowledge", "report"])
def test_an_incident_that_is_not_there_is_said_so(nightshift: Command, command: str, number: str) -> None:
    answer = nightshift(*command.split(), "--", number)

    assert answer.code == 1
    assert f"There is no incident {number}." in answer.err
    assert "nightshift incidents list" in answer.err


def test_a_number_that_is_none_is_wrong_usage(nightshift: Command) -> None:
    assert nightshift("incidents", "show", "seven").code == 2


def test_hostile_text_is_shown_and_does_nothing(nightshift: Command, ledger: Ledger) -> None:
    incident = opened(ledger, title=f"alert {HOSTILE}")
    with_hostile_alert(ledger, incident)
    planned(ledger, incident, plan(HOSTILE))
    ledger.incidents.finish(claimed(ledger, incident), Outcome.ESCALATED, HOSTILE)

    commands = (["incidents", "list"], ["incidents", "show", "1"], ["incidents", "follow", "1"], ["report", "1"])
    for command in commands:
        answer = nightshift(*command)
        assert answer.code == 0, answer.err
        printed = answer.out + answer.err
        assert not {"\x1b", "\x9b", "\u202e"} & set(printed)
        assert "💣" not in printed
    assert "[red]x[/red]" in nightshift("incidents", "follow", "1").out


def test_json_is_ascii_and_keeps_hostile_text_as_it_was(nightshift: Command, ledger: Ledger) -> None:
    incident = opened(ledger)
    with_hostile_alert(ledger, incident)

    answer = nightshift("incidents", "show", str(incident), "--json")

    assert answer.out.isascii()
    assert "\x1b" not in answer.out
    assert answer.json["alerts"][0]["labels"]["evil"] == HOSTILE
    assert answer.json["alerts"][0]["annotations"]["summary"] == HOSTILE


def test_following_shows_rows_as_they_come_until_the_end(nightshift: Command, ledger: Ledger) -> None:
    incident = opened(ledger)

    def live() -> None:
        time.sleep(0.7)
        claim = claimed(ledger, incident)
        planned(ledger, incident, plan())
        time.sleep(0.7)
        ledger.incidents.finish(claim, Outcome.RESOLVED, "It fits again.", [("warning", "subject", "body")])

    thread = threading.Thread(target=live)
    thread.start()
    answer = nightshift("incidents", "follow")  # the newest live one
    thread.join()

    assert answer.code == 0
    lines = answer.out.splitlines()
    assert "incident opened" in lines[0]
    assert any("planned 1 action" in line for line in lines)
    assert any("ended as resolved: It fits again." in line for line in lines)
    assert "paged warning" in lines[-1]


def test_following_as_json_is_one_object_per_line(nightshift: Command, ledger: Ledger) -> None:
    incident = opened(ledger)
    ledger.incidents.finish(claimed(ledger, incident), Outcome.RESOLVED, "ok")

    answer = nightshift("incidents", "follow", str(incident), "--json")

    assert [json.loads(line)["kind"] for line in answer.out.splitlines()] == ["opened", "claimed", "ended"]


def test_following_without_a_live_incident_says_so(nightshift: Command) -> None:
    answer = nightshift("incidents", "follow")

    assert answer.code == 1
    assert "No incident is in progress." in answer.err


@pytest.mark.usefixtures("settings_of_test")
def test_ctrl_c_ends_the_looking_and_not_the_incident(ledger: Ledger) -> None:
    incident = opened(ledger)
    command = [sys.executable, "-c", "from nightshift.gateway.cli import main; main()", "incidents", "follow"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=20)
    finally:
        process.kill()

    assert "incident opened" in first
    assert process.returncode == 130
    assert "Traceback" not in complaint
    assert f"incident {incident} goes on without you" in complaint
    row = ledger.incidents.get(incident)
    assert row is not None
    assert row.status == "open"


def test_the_first_to_acknowledge_has_it(nightshift: Command, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = opened(ledger)
    monkeypatch.setenv("USER", "mallory")  # anyone can set it, so it counts for nothing

    first = nightshift("incidents", "acknowledge", str(incident))
    again = nightshift("incidents", "acknowledge", str(incident))
    monkeypatch.setenv("SUDO_USER", "nobody")
    other = nightshift("incidents", "acknowledge", str(incident))

    row = ledger.incidents.get(incident)
    assert row is not None
    assert row.acknowledged_by == "root"
    assert (first.code, again.code, other.code) == (0, 0, 1)
    assert "was taken by root" in other.err


def test_a_report_goes_into_a_pipe_as_markdown_and_into_programs_with_its_journal(
    nightshift: Command, ledger: Ledger
) -> None:
    incident = opened(ledger)
    planned(ledger, incident, plan())
    ledger.incidents.finish(claimed(ledger, incident), Outcome.RESOLVED, "It fits again.")

    text = nightshift("report", str(incident)).out
    content = nightshift("report", str(incident), "--json").json

    assert text.startswith("# ✅ Resolved: a disk is nearly full\n")
    assert text == nightshift("report", str(incident), "--markdown").out == content["markdown"]
    assert content["incident"]["outcome"] == "resolved"
    assert [row["kind"] for row in content["journal"]] == ["opened", "planned", "claimed", "ended"]


def test_a_ledger_that_is_away_is_said_so_with_a_remedy(nightshift: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_DATABASE_URL", "postgresql://ada:secret-word@127.0.0.1:1/x")

    answer = nightshift("incidents", "list")

    assert answer.code == 1
    assert "The ledger does not answer" in answer.err
    assert "nightshift status" in answer.err
    assert "secret-word" not in answer.err + answer.out
