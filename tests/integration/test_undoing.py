"""What did not help is taken back: through the gate, last first, once, whatever is killed meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from lab.notebook import TARGET, Notebook, line, plan
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.decisions import Decision
from nightshift.remediation.errors import CommandFailedError, CommandTimeoutError
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.switches import Scope
from nightshift.remediation.models import Action, Mode, Plan, Severity, UndoWhen
from nightshift.remediation.undo_of_incident import Undoing

RUNBOOK = "HighDiskUsage"
FAILED = {"healthy": False, "inconclusive": False, "reason": "It is as full as before."}
INCONCLUSIVE = FAILED | {"inconclusive": True, "reason": "Prometheus did not answer."}


def undoable(*texts: str) -> Plan:
    return plan(*(line(text, undo_when=UndoWhen.INEFFECTIVE) for text in texts))


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "notebook")


@pytest.fixture
def incident(ledger: Ledger) -> int:
    trouble = Trouble("shop", RUNBOOK, "disk", TARGET, Severity.WARNING, "disk is full")
    with ledger.engine.begin() as connection:
        return ledger.incidents.open(connection, trouble)[0]


Ask = Callable[[Plan], None]


def never_asked(_plan: Plan) -> None:
    pytest.fail("nobody was to be asked")


@contextmanager
def working(
    ledger: Ledger, incident: int, notebook: Notebook, mode: Mode = Mode.AUTO, ask: Ask = never_asked, attempt: int = 1
) -> Iterator[Gate]:
    claim = ledger.incidents.claim(incident, attempt, uuid4(), 30)
    assert claim is not None
    with ClaimKeeper(ledger, claim, 30) as keeper:
        yield Gate(ledger, keeper, RUNBOOK, notebook.kinds, {}, mode, ask)


def fail(gate: Gate, ledger: Ledger, incident: int, judged: dict[str, Any] = FAILED) -> str:
    """What follows a verification that was not passed, in words."""
    ledger.journal.record(incident, Kind.JUDGED, judged)
    return " ".join(Undoing(ledger, incident, gate).after_failure(TARGET, judged))


def test_what_did_not_help_is_taken_back_the_last_first(ledger: Ledger, notebook: Notebook, incident: int) -> None:
    with working(ledger, incident, notebook) as gate:
        gate.carry_out(undoable("one", "two"), enough=lambda: False)
        words = fail(gate, ledger, incident)

    assert notebook.lines == []
    assert notebook.erased.read_text().split() == ["two", "one"]
    rows = [row for row in ledger.journal.of(incident) if row.action_id is not None]
    assert [row.kind for row in rows[4:]] == [Kind.INTENT, Kind.DONE, Kind.INTENT, Kind.DONE]
    assert len({row.action_id for row in rows}) == 4, "an undo is an action with an id of its own"
    assert words == "Taken back: Erase two, line 2, Erase one, line 1."


def test_what_did_not_announce_its_undo_stays_and_a_person_gets_the_command(
    ledger: Ledger, notebook: Notebook, incident: int
) -> None:
    with working(ledger, incident, notebook) as gate:
        gate.carry_out(plan(line("one", undo_when=UndoWhen.BY_HAND)), enough=lambda: False)
        words = fail(gate, ledger, incident)

    assert notebook.lines == ["one"]
    assert words == f"Done and kept: Write one. To take it back: nightshift undo {incident}"


def test_what_could_not_be_measured_is_not_undone(ledger: Ledger, notebook: Notebook, incident: int) -> None:
    with working(ledger, incident, notebook) as gate:
        gate.carry_out(undoable("one"), enough=lambda: False)
        words = fail(gate, ledger, incident, INCONCLUSIVE)

    assert notebook.lines == ["one"]
    assert f"nightshift undo {incident}" in words


def test_after_a_failure_nothing_new_is_done(ledger: Ledger, notebook: Notebook, incident: int) -> None:
    with working(ledger, incident, notebook) as gate:
        gate.carry_out(undoable("one"), enough=lambda: False)
        fail(gate, ledger, incident)
        execution = gate.carry_out(undoable("one", "three"), enough=lambda: False)

    assert notebook.lines == []
    assert execution.reason == "The repair did not help; nothing more is done."


def approving(ledger: Ledger, incident: int, asked: list[Plan]) -> Ask:
    def ask(shown: Plan) -> None:
        asked.append(shown)
        ledger.approvals.ask(incident, shown, uuid4(), 60)
        assert ledger.approvals.decide(incident, shown.digest, Decision("ann", "test", True)) is None

    return ask


def test_who_approved_a_plan_that_shows_its_undo_is_not_asked_again(
    ledger: Ledger, notebook: Notebook, incident: int
) -> None:
    asked: list[Plan] = []
    with working(ledger, incident, notebook, Mode.PROPOSE, approving(ledger, incident, asked)) as gate:
        gate.carry_out(undoable("one"), enough=lambda: False)
        fail(gate, ledger, incident)

    assert notebook.lines == []
    assert [[action.kind for action in shown.actions] for shown in asked] == [["write_line"]]


def test_an_undo_that_nobody_was_shown_needs_an_approval(ledger: Ledger, notebook: Notebook, incident: int) -> None:
    with working(ledger, incident, notebook, Mode.AUTO) as gate:
        gate.carry_out(undoable("one"), enough=lambda: False)
        ledger.modes.set(Mode.PROPOSE, "shop", RUNBOOK, reason="careful now", author="ann")
        asked: list[Plan] = []
        gate.ask = asked.append
        words = fail(gate, ledger, incident)

    assert notebook.lines == ["one"]
    assert [[action.title for action in shown.actions] for shown in asked] == [["Erase one, line 1"]]
    assert "Not undone: Nobody answered." in words


def test_a_stop_holds_an_undo_back_too(ledger: Ledger, notebook: Notebook, incident: int) -> None:
    with working(ledger, incident, notebook) as gate:
        gate.carry_out(undoable("one"), enough=lambda: False)
        ledger.switches.stop(Scope(), reason="hands off", author="ann", seconds=60)
        words = fail(gate, ledger, incident)

    assert notebook.lines == ["one"]
    assert "Undoing was refused: Erase one, line 1: Stopped by ann" in words


def test_an_undo_that_fails_ends_the_undoing_and_is_told(ledger: Ledger, notebook: Notebook, incident: int) -> None:
    def fail_to_erase(action: Action) -> None:
        if action.kind == "erase_line":
            raise CommandFailedError("The pen is dry.")

    with working(ledger, incident, notebook) as gate:
        gate.carry_out(undoable("one", "two"), enough=lambda: False)
        notebook.fail_before = fail_to_erase
        words = fail(gate, ledger, incident)

    assert notebook.lines == ["one", "two"], "what was done before it stays as it is"
    assert "Undoing failed: Erase two, line 2: The pen is dry." in words
    assert "Taken back" not in words


def test_a_lost_answer_of_an_undo_is_settled_by_looking(ledger: Ledger, notebook: Notebook, incident: int) -> None:
    def lose_the_answer(action: Action) -> None:
        if action.kind == "erase_line":
            raise CommandTimeoutError

    with working(ledger, incident, notebook) as gate:
        gate.carry_out(undoable("one", "two"), enough=lambda: False)
        notebook.fail = lose_the_answer
        words = fail(gate, ledger, incident)

    assert notebook.lines == []
    assert words == "Taken back: Erase two, line 2, Erase one, line 1."


_DIES = """
import sys
from pathlib import Path
from uuid import uuid4
from lab.notebook import TARGET, Notebook, line, plan
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Mode, UndoWhen
from nightshift.remediation.undo_of_incident import Undoing
import os

ledger = Ledger.connect(sys.argv[1])
incident = int(sys.argv[2])
claim = ledger.incidents.claim(incident, 1, uuid4(), 1)
fault = os.environ.pop("NIGHTSHIFT_FAULT")
with ClaimKeeper(ledger, claim, 1) as keeper:
    kinds = Notebook(Path(sys.argv[3])).kinds
    gate = Gate(ledger, keeper, "HighDiskUsage", kinds, {}, Mode.AUTO, lambda _: None, lease_margin=1)
    actions = [line(text, undo_when=UndoWhen.INEFFECTIVE) for text in ("one", "two")]
    gate.carry_out(plan(*actions), enough=lambda: False)
    os.environ["NIGHTSHIFT_FAULT"] = fault
    judged = {"healthy": False, "inconclusive": False, "reason": "no help"}
    ledger.journal.record(incident, Kind.JUDGED, judged)
    Undoing(ledger, incident, gate).after_failure(TARGET, judged)
"""


@pytest.mark.parametrize(
    "point", ["before_approval", "before_precondition", "before_intent", "after_intent", "after_act", "after_outcome"]
)
def test_killed_anywhere_while_undoing_the_next_attempt_undoes_the_rest_once(
    ledger: Ledger, database_url: str, incident: int, notebook: Notebook, tmp_path: Path, point: str
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", _DIES, database_url, str(incident), str(notebook.path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "NIGHTSHIFT_FAULT": f"{point}:{tmp_path / 'died'}"},
        check=False,
    )
    assert killed.returncode == -9, "the process was to die at the injection point"
    deadline = time.monotonic() + 10
    with ledger.engine.begin() as connection:
        while not (lost := ledger.incidents.lost(connection, 1)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert ledger.incidents.try_again(connection, lost[0], "its process died", 0)

    with working(ledger, incident, notebook, attempt=2) as gate:
        words = " ".join(Undoing(ledger, incident, gate).after_failure(TARGET, FAILED))

    assert notebook.lines == []
    assert notebook.erased.read_text().split() == ["two", "one"]
    assert words == "Taken back: Erase two, line 2, Erase one, line 1."
    assert ledger.journal.first_broken_link() is None
