"""Choosing an alternative: exactly one result, a fresh quorum, and nothing done beyond what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID, uuid4

import pytest

from lab.notebook import TARGET, line, plan
from nightshift.catalogue.deciding import decide
from nightshift.catalogue.models import System
from nightshift.remediation.alternatives import alternatives_of
from nightshift.remediation.decisions import Decision, NotTaken, Why
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.approvals import form_key
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Outcome, Risk, Severity

RUN = UUID(int=7)
SHOWN = plan(line("low"), line("medium", risk=Risk.MEDIUM), line("high", risk=Risk.HIGH)).model_copy(
    update={"separable": True}
)
LOW, MEDIUM = (one.plan for one in alternatives_of(SHOWN))
SYSTEM = System.model_validate(
    {
        "id": "shop",
        "title": "A shop",
        "display": "Shop",
        "severities": {"critical": {"notify": ["chat"]}, "warning": {}, "info": {}},
        "channels": {"chat": {"kind": "slack", "title": "#shop", "url": {"env": "A"}}},
        "roles": {"on-call": {"title": "on-call", "people": ["ada", "bob", "eve"]}},
        "approval": {"identity": "login", "roles": ["on-call"], "medium": {"quorum": 2}},
        "runbooks": {"HighDiskUsage": {"summary": "a disk is full", "severity": "warning"}},
    }
)


@pytest.fixture
def incident(ledger: Ledger) -> int:
    trouble = Trouble("shop", "HighDiskUsage", "disk", TARGET, Severity.WARNING, "disk is full")
    with ledger.engine.begin() as connection:
        opened, _ = ledger.incidents.open(connection, trouble)
    claim = ledger.incidents.claim(opened, 1, RUN, 30)
    assert claim is not None
    ledger.approvals.ask(opened, SHOWN, RUN, 600)
    ledger.incidents.move(claim, "waiting")
    return opened


def say(
    ledger: Ledger,
    incident: int,
    person: str,
    alternative: int | None = None,
    *,
    approve: bool = True,
    of: str = "",
    in_form: bool = False,
) -> Why | None:
    decision = Decision(person, "test", approve, in_form=in_form, alternative=alternative)
    runbook = SYSTEM.runbooks["HighDiskUsage"]
    refused: NotTaken | None = decide(ledger, SYSTEM, runbook, incident, of or SHOWN.digest, decision)
    return refused.why if refused else None


def stand(ledger: Ledger, incident: int) -> Sequence[tuple[str, str]]:
    return [(row.digest, row.status) for row in ledger.approvals.of(incident)]


def test_choosing_replaces_what_was_asked_and_is_the_first_yes(ledger: Ledger, incident: int) -> None:
    assert say(ledger, incident, "ada", 1) is None

    assert stand(ledger, incident) == [(SHOWN.digest, "superseded"), (LOW.digest, "approved")]
    assert ledger.approvals.approved_plans(incident) == [LOW]
    assert ledger.approvals.chosen(incident) == LOW
    assert [row.digest for row in ledger.approvals.replaced()] == [SHOWN.digest], "the waiting run has to be told"
    assert "an alternative that ada chose" in report_of(ledger, incident)
    assert ledger.journal.first_broken_link() is None


def test_it_takes_the_quorum_of_the_chosen_plan_and_who_said_yes_before_counts_no_more(
    ledger: Ledger, incident: int
) -> None:
    assert say(ledger, incident, "ada", 2) is None
    assert stand(ledger, incident)[-1] == (MEDIUM.digest, "open")
    assert say(ledger, incident, "ada", of=MEDIUM.digest) is Why.SAID_ALREADY
    assert ledger.approvals.approved_plans(incident) == []
    told = ledger.deliveries.of(incident)
    assert [(row.channel, "nightshift approve" in row.body) for row in told] == [("chat", True)]

    assert say(ledger, incident, "bob", of=MEDIUM.digest) is None

    assert ledger.approvals.approved_plans(incident) == [MEDIUM]


@pytest.mark.parametrize(
    ("person", "alternative", "approve", "why"),
    [
        ("ada", 3, True, Why.NO_ALTERNATIVE),
        ("ada", 1, False, Why.NO_ALTERNATIVE),
        ("mallory", 1, True, Why.WRONG_ROLE),
    ],
)
def test_what_is_not_offered_or_not_theirs_is_refused(
    ledger: Ledger, incident: int, person: str, alternative: int, approve: bool, why: Why
) -> None:
    assert say(ledger, incident, person, alternative, approve=approve) is why
    assert stand(ledger, incident) == [(SHOWN.digest, "open")]


def test_a_number_that_is_not_offered_uses_the_form_up_so_that_the_run_asks_again(
    ledger: Ledger, incident: int
) -> None:
    (before,) = ledger.approvals.of(incident)

    assert say(ledger, incident, "ada", 9, in_form=True) is Why.NO_ALTERNATIVE

    (after,) = ledger.approvals.of(incident)
    assert form_key(after) != form_key(before)
    assert "There is no such alternative" in str(ledger.approvals.last_refusal(after))


def test_a_run_that_read_the_choice_in_its_form_is_not_told_again(ledger: Ledger, incident: int) -> None:
    assert say(ledger, incident, "ada", 2, in_form=True) is None

    assert ledger.approvals.replaced() == []


def test_who_comes_after_a_choice_is_told_that_the_plan_was_replaced(ledger: Ledger, incident: int) -> None:
    say(ledger, incident, "ada", 2)

    assert say(ledger, incident, "bob") is Why.REPLACED
    assert say(ledger, incident, "eve", 1) is Why.REPLACED
    assert say(ledger, incident, "bob", approve=False) is Why.REPLACED


def test_of_choices_and_a_no_at_once_exactly_one_counts(ledger: Ledger) -> None:
    for _ in range(8):
        trouble = Trouble("shop", "HighDiskUsage", "disk", TARGET, Severity.WARNING, f"disk {uuid4()}")
        with ledger.engine.begin() as connection:
            number, _ = ledger.incidents.open(connection, trouble)
        ledger.approvals.ask(number, SHOWN, RUN, 600)
        barrier = Barrier(4)

        def at_once(what: tuple[str, int | None, bool], number: int = number, barrier: Barrier = barrier) -> bool:
            barrier.wait()
            return say(ledger, number, what[0], what[1], approve=what[2]) is None

        with ThreadPoolExecutor(4) as threads:
            answers = [("ada", 1, True), ("bob", 2, True), ("eve", None, False), ("ada", None, True)]
            taken = list(threads.map(at_once, answers))

        assert taken.count(True) == 1
        ends = {
            0: [(SHOWN.digest, "superseded"), (LOW.digest, "approved")],
            1: [(SHOWN.digest, "superseded"), (MEDIUM.digest, "open")],
            2: [(SHOWN.digest, "denied")],
            3: [(SHOWN.digest, "approved")],
        }
        assert stand(ledger, number) == ends[taken.index(True)]
        with ledger.engine.begin() as connection:
            ledger.incidents.end(connection, number, Outcome.ESCALATED, "r")
