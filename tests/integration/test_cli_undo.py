"""``nightshift undo``: a person takes back what an incident did, and a worker does it through the gate."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nightshift.tasks.registered  # noqa: F401 - registers the action kinds
from lab import preloaded
from lab.prefect_server import PrefectServer
from lab.trading_database import OLD, TradingDatabase
from nightshift.remediation.actions import ACTION_KINDS, Effect
from nightshift.remediation.disk_space.arguments import ArchiveRows
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Action, Outcome, Quantity, Risk, Severity, Target, UndoWhen

TARGET = Target(system="shop", path=("database", "main", "claim", "postgres-pvc"))
CONNECTION = '  main: { type: postgres, url: { env: "TRADING_DATABASE_URL" } }\n'
RUNBOOK = """  DiskSpaceWarning:
    summary: the volume is nearly full
    severity: warning
    flow: database-volume-reclaim
    target: { database: { default: main }, claim: { default: postgres-pvc, among: [postgres-pvc] } }
    policy: { volume: database, size: { capacity: 1GiB } }
    approval: { high: { requester_may_approve: true } }
"""
_RUN = """
import sys
from nightshift.flows.undo_changes import undo_changes
state = undo_changes(
    "shop", "shop/database/main/claim/postgres-pvc", incident=int(sys.argv[1]), attempt=int(sys.argv[2]),
    return_state=True,
)
print("outcome:", state.name)
"""


@pytest.fixture
def archived(
    ledger: Ledger, trading_database: TradingDatabase, runbooks: Path, tmp_path: Path, settings_of_test: None
) -> int:
    """An incident that archived rows and did not help."""
    del settings_of_test
    file = runbooks / "shop.yaml"
    text = file.read_text().replace("runbooks:\n", RUNBOOKS, 1).replace("connections:\n", CONNECTIONS, 1)
    file.write_text(text)
    arguments = trading_database.arguments(tmp_path / "archive")
    action = Action(
        kind=ArchiveRows.KIND,
        target=TARGET,
        arguments=arguments.to_json(),
        title="Archive, then delete rows",
        reason="they are old",
        risk=Risk.HIGH,
        bound=Quantity(amount=OLD, unit="rows"),
        undo="insert them again",
        undo_when=UndoWhen.BY_HAND,
    )
    trouble = Trouble("shop", "DiskSpaceWarning", "database-volume-reclaim", TARGET, Severity.WARNING, "volume full")
    with ledger.engine.begin() as connection:
        incident = ledger.incidents.open(connection, trouble)[0]
    identity = action.id_in(incident)
    entry = {"action": action.model_dump(mode="json"), "target": action.target.key, "attempt": 1}
    ledger.journal.record(incident, Kind.INTENT, entry, action_id=identity)
    function: Callable[..., Effect] = getattr(ACTION_KINDS[action.kind].act, "fn")  # noqa: B009
    effect = function(action, {"main": trading_database.connection()})
    outcome = {"title": action.title, "summary": effect.summary, "effect": effect.model_dump(mode="json")}
    ledger.journal.record(incident, Kind.DONE, outcome, action_id=identity)
    with ledger.engine.begin() as connection:
        ledger.incidents.end(connection, incident, Outcome.ESCALATED, "it did not help")
    return incident


RUNBOOKS, CONNECTIONS = "runbooks:\n" + RUNBOOK, "connections:\n" + CONNECTION


def work(
    prefect: PrefectServer, incident: int, tmp_path: Path, attempt: int = 1, **environment: str
) -> tuple[int, str]:
    """What the worker does with the incident: its exit code, and what it said."""
    servers = {"PREFECT_API_URL": prefect.url, "PREFECT_HOME": str(tmp_path / "prefect")}
    everything = {**os.environ, **servers, **environment}
    return preloaded.run(_RUN, str(incident), str(attempt), environment=everything, seconds=120)


@pytest.mark.parametrize("point", [None, "after_intent"])
def test_archived_rows_are_put_back_once_whatever_is_killed_meanwhile(
    nightshift: Any,
    prefect: PrefectServer,
    ledger: Ledger,
    trading_database: TradingDatabase,
    archived: int,
    tmp_path: Path,
    point: str | None,
) -> None:
    assert len(trading_database.rows()) < OLD
    said = nightshift("undo", str(archived), "--reason", "the archive was a mistake", "--yes")
    assert said.code == 0, said.err
    undoing = ledger.incidents.list(limit=1)[0].id
    assert f"Opened incident {undoing}" in said.out
    again = nightshift("undo", str(archived), "--reason", "twice", "--yes")
    assert again.code == 1
    assert f"Incident {undoing} is in progress on the same target" in again.err

    if point is None:
        _, done = work(prefect, undoing, tmp_path)
    else:
        code, killed = work(prefect, undoing, tmp_path, NIGHTSHIFT_FAULT=f"{point}:{tmp_path / 'died'}", **SHORT)
        assert code == -9, killed
        ledger_forgets_the_dead_run(ledger)
        _, done = work(prefect, undoing, tmp_path, attempt=2)

    assert "outcome: Resolved" in done, done + report_of(ledger, undoing)
    assert sum(trading_database.rows().values()) == OLD + 20
    assert "Taken back: Insert" in report_of(ledger, undoing)
    assert f"asked to take back 1 action, in incident {undoing}" in report_of(ledger, archived)
    nothing_left = nightshift("undo", str(archived), "--reason", "once more", "--yes")
    assert "There is nothing that Nightshift can take back" in nothing_left.err
    assert ledger.journal.first_broken_link() is None


SHORT = {"NIGHTSHIFT_CLAIM_SECONDS": "2"}


def ledger_forgets_the_dead_run(ledger: Ledger) -> None:
    """As if the time of its claim and its lease were over: waiting for it would take ten minutes."""
    from sqlalchemy import text

    with ledger.engine.begin() as connection:
        past = "update incident set claimed_until = clock_timestamp() where claimed_until is not null"
        connection.execute(text(past))
        connection.execute(text("delete from lease"))
        time.sleep(0.1)
        (lost,) = ledger.incidents.lost(connection, 1)
        assert ledger.incidents.try_again(connection, lost, "its process died", 0)


def test_it_shows_the_command_and_needs_a_yes(nightshift: Any, ledger: Ledger, archived: int) -> None:
    report = report_of(ledger, archived)
    command = next(line for line in report.splitlines() if "To take it back" in line)
    action = command.split("`")[1].split()[-1]

    unsaid = nightshift("undo", str(archived), action, "--reason", "see")

    assert unsaid.code == 1
    assert "There is no terminal to ask on" in unsaid.err
    assert "rows of public.trading_sessions again" in " ".join(unsaid.out.split())
    assert len(ledger.incidents.list(limit=10)) == 1
    wrong = nightshift("undo", str(archived), "ffffffff", "--reason", "see", "--yes")
    assert "There is nothing that Nightshift can take back of that action" in wrong.err


def test_where_the_requester_may_not_approve_somebody_else_has_to(
    nightshift: Any, ledger: Ledger, archived: int, runbooks: Path
) -> None:
    """As everywhere for high risk, unless the catalogue says otherwise."""
    file = runbooks / "shop.yaml"
    file.write_text(file.read_text().replace("    approval: { high: { requester_may_approve: true } }\n", ""))

    said = nightshift("undo", str(archived), "--reason", "the archive was a mistake", "--yes")

    assert "Until it is approved nothing is done." in " ".join(said.out.split())
    undoing = ledger.incidents.list(limit=1)[0].id
    assert ledger.approvals.open_one(undoing) is not None
    assert ledger.approvals.approved_plans(undoing) == []


def test_what_is_in_progress_is_not_undone(nightshift: Any, ledger: Ledger, settings_of_test: None) -> None:
    del settings_of_test
    trouble = Trouble("shop", "HighDiskUsage", "disk", TARGET, Severity.WARNING, "full")
    with ledger.engine.begin() as connection:
        incident = ledger.incidents.open(connection, trouble)[0]

    assert "is still in progress" in nightshift("undo", str(incident), "--reason", "r", "--yes").err
