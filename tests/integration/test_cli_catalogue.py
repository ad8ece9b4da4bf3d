"""Runbooks on the command line, and what the shell offers on TAB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nightshift.catalogue.schema import catalogue_schema
from nightshift.gateway.cli import runbook_commands
from nightshift.gateway.cli.opened import open_catalogue
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.models import Severity, Target
from nightshift.settings import default_runbooks

Command = Callable[..., Any]


@pytest.fixture
def five_systems(nightshift: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line with the catalogue that is shipped."""
    monkeypatch.setenv("NIGHTSHIFT_RUNBOOKS", str(default_runbooks()))
    return nightshift


def test_every_alert_of_every_system_is_listed(five_systems: Command) -> None:
    listed = five_systems("runbooks", "list", "--json").json

    assert len(listed) == 78
    assert {entry["system"] for entry in listed} == {
        "bybit_strategy_tester",
        "cryptofunk",
        "octollm",
        "test_watcher",
        "trading_signals",
    }
    assert {tuple(entry) for entry in listed} == {
        ("system", "alert", "summary", "severity", "flow", "planned_flow", "mode", "target")
    }


def test_the_list_can_be_narrowed_to_a_system_and_to_what_is_answered(
    nightshift: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_file = default_runbooks() / "test_watcher.yaml"
    end = "\n  TestWatcherHighErrorRate:\n    summary: errors\n    severity: critical\n    planned_flow: some-flow\n"
    whole = whole_file.read_text(encoding="utf-8").partition("\nrunbooks:\n")
    disk = whole[2][whole[2].index("  HighDiskUsage:") :].partition("\n\n")[0]
    (tmp_path / "test_watcher.yaml").write_text(f"{whole[0]}\nrunbooks:\n{disk}\n{end}", encoding="utf-8")
    monkeypatch.setenv("NIGHTSHIFT_RUNBOOKS", str(tmp_path))

    answered = nightshift("runbooks", "list", "--answered", "--system", "test_watcher", "--json").json

    assert [(entry["alert"], entry["flow"]) for entry in answered] == [("HighDiskUsage", "disk-space-reclaim")]
    table = nightshift("runbooks", "list", "--system", "test_watcher").out
    assert "a person is paged" in table
    assert nightshift("runbooks", "list", "--system", "nope").code == 1


def test_a_runbook_is_shown_in_plain_words(five_systems: Command) -> None:
    shown = five_systems("runbooks", "show", "HighDiskUsage").out

    for words in (
        "the flow disk-space-reclaim",
        "every change needs an approval",
        "without an answer for 4 hours the answer is no",
        "Stop as soon as usage is at or below this.",
        "directory /opt/test_watcher/backend/logs",
        "older than 1 day",
        "larger than 200.0 MiB",
        "When it is critical",
        "#alerts-critical, PagerDuty",
        "on-call engineer (PagerDuty schedule)",
    ):
        assert words in shown


def test_a_runbook_for_programs_has_policy_ladder_and_channels(five_systems: Command) -> None:
    content = five_systems("runbooks", "show", "HighDiskUsage", "--json").json

    assert content["policy"]["target_used_percent"] == 80
    assert content["approval"]["high"]["expires_after"] == 4 * 3600
    assert [step["after"] for step in content["ladder"]] == [0, 1800]
    assert content["channels"] == {"alerts-warning": {"kind": "slack", "title": "#alerts-warning"}}


def test_every_runbook_that_is_shipped_can_be_shown(five_systems: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    read = open_catalogue()
    monkeypatch.setattr(runbook_commands, "open_catalogue", lambda: read)  # most of a second each time, 78 times

    for entry in five_systems("runbooks", "list", "--json").json:
        shown = five_systems("runbooks", "show", entry["alert"], "--system", entry["system"])
        assert shown.code == 0, shown.err
        assert ("a person, who is paged at once" in shown.out) == (entry["flow"] is None)


def test_an_alert_of_several_systems_asks_for_the_system(five_systems: Command) -> None:
    answer = five_systems("runbooks", "show", "HighCPUUsage")

    assert answer.code == 1
    assert "bybit_strategy_tester, cryptofunk, test_watcher" in answer.err
    assert "--system" in answer.err


def test_a_misspelt_alert_gets_the_one_that_was_meant(five_systems: Command) -> None:
    answer = five_systems("runbooks", "show", "HighDiskUsge")

    assert answer.code == 1
    assert "Write 'HighDiskUsage'." in answer.err


def test_an_alert_that_resembles_none_is_only_said_to_be_missing(five_systems: Command) -> None:
    answer = five_systems("runbooks", "show", "\x1b[31mzzz")

    assert answer.code == 1
    assert "No system has a runbook" in answer.err
    assert "\x1b" not in answer.err


def test_a_catalogue_without_mistakes_passes_the_check(five_systems: Command) -> None:
    assert "No mistakes: 5 systems, 78 alerts" in five_systems("runbooks", "check").out


def test_all_mistakes_are_printed_with_file_and_line(nightshift: Command, runbooks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    text = (runbooks / "shop.yaml").read_text()
    (folder / "shop.yaml").write_text(text.replace("mode: propose", "mode: rush").replace("[warning]", "[nowhere]"))

    answer = nightshift("runbooks", "check", str(folder))
    mistakes = json.loads(nightshift("runbooks", "check", str(folder), "--json").out)["mistakes"]

    assert answer.code == 1
    lines = answer.out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{folder}/shop.yaml:5:")
    assert "nowhere" in lines[1]
    assert [(mistake["line"], mistake["where"]) for mistake in mistakes] == [
        (5, "mode"),
        (mistakes[1]["line"], "severities.warning.notify[0]"),
    ]
    assert nightshift("runbooks", "check").code == 0


def test_a_folder_that_is_not_there_is_a_mistake(nightshift: Command, tmp_path: Path) -> None:
    answer = nightshift("runbooks", "check", str(tmp_path / "nowhere"))

    assert answer.code == 1
    assert "there is no catalogue file in this folder" in answer.out


def test_the_schema_is_printed_as_it_is_kept(nightshift: Command) -> None:
    printed = nightshift("schema").out

    assert json.loads(printed) == catalogue_schema()
    assert printed == (default_runbooks() / "schema.json").read_text()


def offered(*words: str) -> list[str]:
    """What bash offers after these words; the last one is being typed."""
    environment = {
        **os.environ,
        "_NIGHTSHIFT_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("nightshift", *words)),
        "COMP_CWORD": str(len(words)),
    }
    program = str(Path(sys.executable).parent / "nightshift")
    answer = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
    assert answer.stderr == ""
    return answer.stdout.split()


@pytest.mark.usefixtures("settings_of_test")
def test_the_shell_offers_systems_alerts_and_flows_of_the_catalogue() -> None:
    assert offered("runbooks", "list", "--system", "s") == ["shop"]
    assert offered("runbooks", "show", "H") == ["HighDiskUsage"]
    assert offered("alert", "fire", "--system", "shop", "Q") == ["QueueBacklog"]
    assert offered("run", "disk") == ["disk-space-reclaim"]
    assert offered("run", "--system", "other", "disk") == []


@pytest.mark.usefixtures("settings_of_test")
def test_the_shell_offers_incidents_and_for_decisions_only_those_that_wait(ledger: Ledger) -> None:
    target = Target(system="shop", path=("alert", "x"))
    with ledger.engine.begin() as connection:
        trouble = Trouble("shop", "x", "disk-space-reclaim", target, Severity.INFO, "[red]\x1b[31mtitle")
        incident, _ = ledger.incidents.open(connection, trouble)

    assert offered("incidents", "show", "") == [str(incident)]
    assert offered("report", "") == [str(incident)]
    assert offered("approve", "") == []


@pytest.mark.usefixtures("settings_of_test")
def test_the_shell_offers_nothing_and_says_nothing_when_it_cannot_look(
    monkeypatch: pytest.MonkeyPatch, runbooks: Path
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_DATABASE_URL", "postgresql://x@127.0.0.1:1/x")
    (runbooks / "shop.yaml").write_text("nonsense: [")

    assert offered("incidents", "show", "") == []
    assert offered("runbooks", "show", "") == []


def test_help_needs_none_of_the_heavy_parts() -> None:
    heavy = {"prefect", "sqlalchemy", "paramiko", "psycopg", "httpx", "fastapi", "nightshift.catalogue"}
    script = "import sys, nightshift.gateway.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert heavy.isdisjoint(loaded)


def test_the_handbook_says_what_help_says(tmp_path: Path) -> None:
    """Renew it with ``make docs``."""
    written = tmp_path / "command-line.md"
    command = [sys.executable, "-m", "typer", "nightshift.gateway.cli", "utils", "docs", "--name", "nightshift"]
    command += ["--title", "The command line", "--output", str(written)]
    subprocess.run(command, check=True, capture_output=True)
    handbook = Path(__file__).parents[2] / "docs" / "command-line.md"

    assert handbook.read_text() == written.read_text()
