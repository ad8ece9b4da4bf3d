"""A change for a time goes back by an incident of its own: once, at its time, and nobody has to say so again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from lab.notebook import TARGET, Notebook, line, plan
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.decisions import Decision
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.undo_request import UndoRequest
from nightshift.remediation.models import Mode, Outcome, Plan, Severity, UndoWhen
from nightshift.remediation.undo_of_incident import Undoing

RUNBOOK = "DeepSeekAPIDown"
TROUBLE = Trouble("shop", RUNBOOK, "external-dependency-failure", TARGET, Severity.WARNING, "calls fail")


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "notebook")


def opened(ledger: Ledger) -> int:
    with ledger.engine.begin() as connection:
        return ledger.incidents.open(connection, TROUBLE)[0]


def due(ledger: Ledger) -> list[int]:
    with ledger.engine.begin() as connection:
        return ledger.ways_back.open_due(connection)


@contextmanager
def working(ledger: Ledger, incident: int, notebook: Notebook, asked: list[Plan], mode: Mode) -> Iterator[Gate]:
    """The incident in hand; who is asked says yes. It ends with the context."""

    def ask(shown: Plan) -> None:
        asked.append(shown)
        ledger.approvals.ask(incident, shown, uuid4(), 60)
        assert ledger.approvals.decide(incident, shown.digest, Decision("ann", "test", True)) is None

    claim = ledger.incidents.claim(incident, 1, uuid4(), 30)
    assert claim is not None
    with ClaimKeeper(ledger, claim, 30) as keeper:
        yield Gate(ledger, keeper, RUNBOOK, notebook.kinds, {}, mode, ask)
        assert ledger.incidents.finish(claim, Outcome.ESCALATED, "the provider is still away")


def for_a_time(seconds: float) -> Plan:
    action = line("on", undo_when=UndoWhen.BY_HAND)
    return plan(action.model_copy(update={"arguments": {**action.arguments, "back_at": time.time() + seconds}}))


def take_back(ledger: Ledger, incident: int, notebook: Notebook, asked: list[Plan], mode: Mode) -> str:
    row = ledger.incidents.get(incident)
    assert row is not None
    request = UndoRequest.of(row.options)
    assert request is not None
    with working(ledger, incident, notebook, asked, mode) as gate:
        done, words = Undoing(ledger, incident, gate).of(request.incident, request.actions, lambda _plan: None)
    assert done, words
    return words


def test_who_approved_a_change_for_a_time_has_approved_its_way_back(ledger: Ledger, notebook: Notebook) -> None:
    asked: list[Plan] = []
    first = opened(ledger)
    with working(ledger, first, notebook, asked, Mode.PROPOSE) as gate:
        gate.carry_out(for_a_time(0.5), enough=lambda: False)
    assert due(ledger) == [], "its time is not over"
    assert notebook.lines == ["on"]
    time.sleep(0.5)

    (second,) = due(ledger)

    assert due(ledger) == [], "once"
    assert take_back(ledger, second, notebook, asked, Mode.PROPOSE) == "Taken back: Erase on, line 1."
    assert notebook.lines == []
    assert len(asked) == 1, "nobody is woken up for what was approved before"
    assert due(ledger) == []


def test_the_way_back_waits_for_the_end_of_the_same_trouble(ledger: Ledger, notebook: Notebook) -> None:
    with working(ledger, opened(ledger), notebook, [], Mode.AUTO) as gate:
        gate.carry_out(for_a_time(0.2), enough=lambda: False)
    again = opened(ledger)
    time.sleep(0.2)
    assert due(ledger) == []

    with ledger.engine.begin() as connection:
        ledger.incidents.end(connection, again, Outcome.EXPECTED, "nothing to do")

    assert len(due(ledger)) == 1


def test_what_nobody_approved_needs_a_yes_where_only_people_may_say_it(ledger: Ledger, notebook: Notebook) -> None:
    with working(ledger, opened(ledger), notebook, [], Mode.AUTO) as gate:
        gate.carry_out(for_a_time(0.2), enough=lambda: False)
    time.sleep(0.2)
    (second,) = due(ledger)
    asked: list[Plan] = []

    take_back(ledger, second, notebook, asked, Mode.PROPOSE)

    assert len(asked) == 1
    assert notebook.lines == []


def test_what_a_person_took_back_already_is_not_due_any_more(ledger: Ledger, notebook: Notebook) -> None:
    first = opened(ledger)
    with working(ledger, first, notebook, [], Mode.AUTO) as gate:
        execution = gate.carry_out(for_a_time(0.2), enough=lambda: False)
    ids = [str(result.action.id_in(first)) for result in execution.results]
    ledger.journal.record(first, Kind.UNDOING, {"incident": first, "actions": ids, "author": "ann", "reason": "back"})
    time.sleep(0.2)

    assert due(ledger) == []
