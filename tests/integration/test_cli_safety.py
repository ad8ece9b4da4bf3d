"""Stops, modes, breakers and the record on the command line, on a real ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from lab.notebook import line
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.guard_facts import Stop
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.switches import stops_of
from nightshift.remediation.models import Mode, Outcome, Severity, Target

Command = Callable[..., Any]
TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/data"))
OTHER = Target(system="shop", path=("host", "web2", "filesystem", "/data"))
HOSTILE = "\x1b[31m[red]x[/red] :bomb: \u202e $(id)"


def stopping(ledger: Ledger, runbook: str = "HighDiskUsage", target: Target = TARGET) -> str | None:
    with ledger.reading() as connection:
        row = connection.execute(stops_of(runbook, target.system, target.key)).first()
    return None if row is None else str(Stop(row.id, row.author, row.reason, row.until))


def kinds(ledger: Ledger, database_url: str) -> list[str]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select kind from journal where incident_id is null order by sequence").fetchall()
    assert ledger.journal.first_broken_link() is None
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ("arguments", "here", "elsewhere"),
    [
        ((), True, True),
        (("--system", "shop"), True, True),
        (("--runbook", "HighDiskUsage"), True, True),
        (("--system", "shop", "--runbook", "QueueBacklog"), False, False),
        (("--target", "shop/host/web1"), True, False),
        (("--target", "shop/host/web1/filesystem/%2Fdata", "--runbook", "HighDiskUsage"), True, False),
    ],
)
def test_a_stop_covers_what_was_named_until_it_is_lifted(
    nightshift: Command, ledger: Ledger, arguments: tuple[str, ...], here: bool, elsewhere: bool
) -> None:
    stopped = nightshift("stop", *arguments, "--reason", "maintenance")

    assert stopped.code == 0, stopped.err
    assert (stopping(ledger) is not None, stopping(ledger, target=OTHER) is not None) == (here, elsewhere)
    assert nightshift("start", "1").code == 0
    assert stopping(ledger) is None
    assert stopping(ledger, target=OTHER) is None


def test_a_stop_for_a_time_says_when_it_ends(nightshift: Command, ledger: Ledger) -> None:
    nightshift("stop", "--reason", "lunch", "--for", "1h30m")

    stop = nightshift("stops", "--json").json["stops"][0]

    left = datetime.fromisoformat(stop["until"]) - datetime.now(UTC)
    assert timedelta(minutes=89) < left <= timedelta(minutes=90)
    assert stop["reason"] == "lunch"
    assert "Stopped by" in (stopping(ledger) or "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--system", "shpo"), "There is no system 'shpo'"),
        (("--runbook", "HighDiskUsag"), "HighDiskUsage"),
        (("--system", "shop", "--target", "other/host/web1"), "There is no system 'other'"),
        (("--target", "shop/host/web9"), "shop has no host 'web9'"),
        (("--target", "web1"), "is no target"),
        (("--target", "shop/host/web1/filesystem"), "is no target"),
        (("--target", "shop/host/a b"), "A slash in a name is %2F"),
    ],
)
def test_a_stop_of_something_that_does_not_exist_is_refused(
    nightshift: Command, ledger: Ledger, arguments: tuple[str, ...], said: str
) -> None:
    answer = nightshift("stop", *arguments, "--reason", "r")

    assert (answer.code, said in answer.err) == (1, True), answer.err
    assert list(ledger.switches.in_force()) == []


@pytest.mark.parametrize(
    "arguments", [("--reason", " "), (), ("--reason", "r", "--for", "soon"), ("--reason", "r", "--for", "0")]
)
def test_a_stop_needs_a_reason_and_a_time_that_can_be(
    nightshift: Command, ledger: Ledger, arguments: tuple[str, ...]
) -> None:
    assert nightshift("stop", *arguments).code == 2
    assert list(ledger.switches.in_force()) == []


def test_everything_can_be_stopped_while_the_catalogue_is_broken(
    nightshift: Command, ledger: Ledger, runbooks: Path
) -> None:
    (runbooks / "shop.yaml").write_text("nonsense: [")

    assert nightshift("stop", "--system", "shop", "--reason", "r").code == 0

    assert stopping(ledger) is not None
    assert nightshift("stops", "--json").json["freezes"] is None


def test_start_lifts_one_or_all_and_tells_which(nightshift: Command, ledger: Ledger, database_url: str) -> None:
    for _ in range(3):
        nightshift("stop", "--reason", "r")

    assert nightshift("start", "9").code == 1
    assert nightshift("start").code == 2
    assert nightshift("start", "2", "--all").code == 2
    assert "Still in force: 2" in nightshift("start", "2").out
    assert "Lifted: 1, 3." in nightshift("start", "--all").out
    assert "No stop is in force." in nightshift("start", "--all").out
    assert nightshift("start", "1").code == 1
    assert kinds(ledger, database_url) == ["stopped"] * 3 + ["started"] * 3


def test_text_of_people_is_shown_and_does_nothing(nightshift: Command) -> None:
    nightshift("stop", "--reason", HOSTILE)

    shown = nightshift("stops").out

    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert ":bomb:" in shown
    assert nightshift("stops", "--json").json["stops"][0]["reason"] == HOSTILE


def with_freeze(folder: Path, **freeze: object) -> None:
    file = folder / "shop.yaml"
    file.write_text(file.read_text() + f"freezes: [{json.dumps(freeze)}]\n")


def test_a_freeze_in_force_and_the_next_one_are_shown(nightshift: Command, runbooks: Path) -> None:
    begun = datetime.now(UTC) - timedelta(minutes=1)
    cron = f"{begun.minute} {begun.hour} * * *"
    with_freeze(runbooks, cron=cron, duration="1h", reason="Month's end.", runbooks=["HighDiskUsage"])

    freezes = nightshift("stops", "--json").json["freezes"]

    assert [(freeze["system"], freeze["in_force"]) for freeze in freezes] == [("shop", True), ("shop", False)]
    assert freezes[0]["runbooks"] == ["HighDiskUsage"]
    start = datetime.fromisoformat(freezes[1]["start"])
    assert start - datetime.fromisoformat(freezes[0]["start"]) == timedelta(days=1)
    shown = nightshift("stops").out
    assert "system shop, runbook HighDiskUsage" in shown
    assert "Next freeze of shop:" in shown


@pytest.mark.parametrize(
    ("written", "mistake"),
    [
        ("freezes: [{cron: '0 18 * *', duration: 1h, reason: r}]", "five fields"),
        ("freezes: [{cron: '0 18 * * 5', duration: 1h, reason: r, runbooks: [HighDiskUsag]}]", "Write 'HighDiskUsage'"),
        ("budgets: [{kind: delete_file, at_most: 3, within: 1h}]", "Write 'delete_files'"),
        ("budgets: [{kind: delete_files, at_most: 3 many words, within: 1h}]", "write a number of actions"),
        ("budgets: [{at_most: 3, within: 0}]", "greater than 0"),
        ("breaker: {after: 0}", "greater than or equal to 1"),
    ],
)
def test_a_limit_that_would_limit_nothing_is_a_mistake_with_its_place(
    nightshift: Command, runbooks: Path, written: str, mistake: str
) -> None:
    file = runbooks / "shop.yaml"
    number = len(file.read_text().splitlines()) + 1
    file.write_text(f"{file.read_text()}{written}\n")

    answer = nightshift("runbooks", "check")

    assert answer.code == 1
    assert mistake in answer.out
    assert f"shop.yaml:{number}:" in answer.out


def test_a_mode_is_set_shown_and_reset(nightshift: Command, ledger: Ledger, database_url: str) -> None:
    assert (
        nightshift("mode", "set", "auto", "--system", "shop", "--runbook", "HighDiskUsage", "--reason", "trust").code
        == 0
    )
    assert nightshift("mode", "set", "observe", "--system", "shop", "--reason", "quiet").code == 0

    listed = nightshift("mode", "list", "--json").json
    assert [(mode["runbook"], mode["mode"], mode["catalogue_mode"]) for mode in listed] == [
        ("HighDiskUsage", "auto", "propose"),
        (None, "observe", "propose"),
    ]
    shown = nightshift("runbooks", "show", "HighDiskUsage").out
    assert "auto: everything that its policy allows by itself" in shown
    assert "trust. The catalogue says propose." in shown
    assert "trust" in nightshift("runbooks", "show", "HighDiskUsage", "--json").json["mode_set"]
    assert [entry["mode"] for entry in nightshift("runbooks", "list", "--answered", "--json").json] == ["auto"]

    assert nightshift("mode", "reset", "--system", "shop", "--runbook", "HighDiskUsage").code == 0
    assert nightshift("runbooks", "show", "HighDiskUsage", "--json").json["mode"] == "observe"
    assert nightshift("mode", "reset", "--system", "shop").code == 0
    assert nightshift("mode", "reset", "--system", "shop").code == 1
    assert nightshift("runbooks", "show", "HighDiskUsage", "--json").json["mode_set"] is None
    assert kinds(ledger, database_url) == ["mode_set", "mode_set", "mode_reset", "mode_reset"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("auto", "--system", "nope", "--reason", "r"), 1),
        (("auto", "--system", "shop", "--runbook", "Nope", "--reason", "r"), 1),
        (("rush", "--system", "shop", "--reason", "r"), 2),
        (("auto", "--system", "shop"), 2),
        (("auto", "--reason", "r"), 2),
    ],
)
def test_a_mode_of_nothing_or_without_a_reason_is_not_set(
    nightshift: Command, ledger: Ledger, arguments: tuple[str, ...], code: int
) -> None:
    assert nightshift("mode", "set", *arguments).code == code
    assert list(ledger.modes.in_force()) == []


def test_runbooks_are_shown_without_a_ledger(nightshift: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTSHIFT_DATABASE_URL")
    assert nightshift("runbooks", "show", "HighDiskUsage").code == 0

    monkeypatch.setenv("NIGHTSHIFT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    answer = nightshift("runbooks", "list", "--json")
    assert answer.json
    assert "a mode that was set at run time is not shown" in answer.err


def without_help(ledger: Ledger, number: int) -> None:
    """An incident that changed something and was escalated."""
    trouble = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", TARGET, Severity.WARNING, "trouble")
    with ledger.engine.begin() as connection:
        incident = ledger.incidents.open(connection, trouble)[0]
    claim = ledger.incidents.claim(incident, 1, uuid4(), 30)
    assert claim is not None
    action = line(str(number), target=TARGET)
    entry = {"action": action.model_dump(mode="json"), "target": TARGET.key}
    ledger.journal.record(incident, Kind.INTENT, entry, action_id=action.id_in(incident))
    assert ledger.incidents.finish(claim, Outcome.ESCALATED, "still full")


def test_breakers_are_listed_and_armed_again(nightshift: Command, ledger: Ledger, database_url: str) -> None:
    for number in range(2):
        without_help(ledger, number)
    arguments = ("shop", "HighDiskUsage", TARGET.key, "--reason", "a new disk")
    assert [entry["open"] for entry in nightshift("breaker", "list", "--json").json] == [False]

    without_help(ledger, 3)

    (entry,) = nightshift("breaker", "list", "--json").json
    assert (entry["open"], entry["target"], len(entry["without_help"])) == (True, TARGET.key, 3)
    assert "3 of 3" in nightshift("breaker", "list").out
    incident = str(entry["without_help"][0]["incident"])
    assert "open, nothing more is done there" in nightshift("incidents", "show", incident).out
    assert (
        f"nightshift breaker rearm shop HighDiskUsage {TARGET.key}"
        in (nightshift("incidents", "show", incident, "--json").json["breaker"])
    )
    assert "closed again" in nightshift("breaker", "rearm", *arguments).out
    assert nightshift("breaker", "list", "--json").json == []
    assert "was not open" in nightshift("breaker", "rearm", *arguments).out
    assert kinds(ledger, database_url) == ["rearmed", "rearmed"]


@pytest.mark.parametrize(
    "arguments",
    [("nope", "HighDiskUsage", "shop/host/web1"), ("shop", "Nope", "shop/host/web1"), ("shop", "HighDiskUsage", "x")],
)
def test_a_breaker_of_nothing_cannot_be_armed(nightshift: Command, ledger: Ledger, arguments: tuple[str, ...]) -> None:
    assert nightshift("breaker", "rearm", *arguments, "--reason", "r").code == 1
    assert ledger.journal.head()[0] == 0


def test_the_record_is_verified_and_a_change_is_told_with_its_place(
    nightshift: Command, ledger: Ledger, database_url: str
) -> None:
    assert nightshift("audit", "verify", "--json").json["rows"] == 0
    for number in range(3):
        ledger.modes.set(Mode.AUTO, "shop", f"R{number}", reason="r", author="ann")
    whole = nightshift("audit", "verify", "--json").json
    assert (whole["holds"], whole["rows"], whole["head"]) == (True, *ledger.journal.head())

    with psycopg.connect(database_url, autocommit=True) as superuser:
        superuser.execute("alter table journal disable trigger all")
        superuser.execute("update journal set entry = '{}' where sequence = 2")

    answer = nightshift("audit", "verify")
    assert answer.code == 1
    assert "row 2 does not fit" in answer.err
    in_json = nightshift("audit", "verify", "--json")
    assert in_json.code == 1
    assert json.loads(in_json.out)["first_broken_row"] == 2
