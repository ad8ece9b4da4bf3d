"""Approvals: one answer per question, and silence is a no."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

from sqlalchemy import text

from nightshift.remediation.decisions import Decision, NotTaken
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Action, Plan, Quantity, Risk, Severity, Target

TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/data"))
YES = Decision("ada", "command line, login ada", approve=True, comment="go")
NO = Decision("bob", "command line, login bob", approve=False)


def said(refused: NotTaken | None) -> str | None:
    return None if refused is None else refused.text


def plan(amount: int = 100) -> Plan:
    action = Action(
        kind="delete_files",
        target=TARGET,
        title="Delete old logs",
        reason="old",
        risk=Risk.LOW,
        bound=Quantity(amount=amount, unit="bytes"),
        undo="cannot be undone",
        arguments={"amount": amount},
    )
    return Plan(goal="space", target=TARGET, actions=(action,))


def asked(ledger: Ledger, seconds: float = 60) -> tuple[int, UUID, Claim]:
    """An incident whose run has asked and waits."""
    trouble = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", TARGET, Severity.WARNING, "t")
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, trouble)
    run = uuid4()
    claim = ledger.incidents.claim(incident, 1, run, 30)
    assert claim is not None
    ledger.approvals.ask(incident, plan(), run, seconds)
    ledger.incidents.move(claim, "waiting")
    return incident, run, claim


def test_of_decisions_made_at_once_the_first_counts_and_the_others_are_told(ledger: Ledger) -> None:
    incident, _, _ = asked(ledger)
    barrier = threading.Barrier(10)

    def decide(number: int) -> str | None:
        barrier.wait()
        return said(ledger.approvals.decide(incident, plan().digest, YES if number % 2 else NO))

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(decide, range(10)))

    (row,) = ledger.approvals.of(incident)
    decided = [entry.entry for entry in ledger.journal.of(incident) if entry.kind is Kind.DECIDED]
    assert answers.count(None) == 1
    assert set(answers) - {None} == {f"This plan was {row.status} already."}
    assert [entry["approve"] for entry in decided] == [row.status == "approved"]


def test_a_decision_and_the_end_of_the_time_cannot_both_count(ledger: Ledger) -> None:
    for _ in range(10):
        incident, _, claim = asked(ledger)
        with ledger.engine.begin() as connection:
            # So close to the end that either may come first.
            connection.execute(text("update approval set expires_at = clock_timestamp() where status = 'open'"))
        barrier = threading.Barrier(2)

        def decide(incident: int = incident, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return ledger.approvals.decide(incident, plan().digest, YES) is None

        def expire(barrier: threading.Barrier = barrier) -> list[int]:
            barrier.wait()
            return ledger.approvals.expire()

        with ThreadPoolExecutor(2) as threads:
            decided, expired = threads.submit(decide), threads.submit(expire)
            assert decided.result() != (incident in expired.result())
        ledger.incidents.claim(incident, 1, claim.flow_run_id, 30)
        with ledger.engine.begin() as connection:
            connection.execute(text("update incident set status='ended', outcome='expected', ended_at=now()"))


def test_silence_becomes_a_no_that_the_waiting_run_is_told(ledger: Ledger) -> None:
    incident, run, _ = asked(ledger, seconds=-1)

    assert said(ledger.approvals.decide(incident, plan().digest, YES)) == "The time to approve this plan has run out."
    assert ledger.approvals.expire() == [incident]
    assert ledger.approvals.expire() == []

    (row,) = ledger.approvals.undelivered()
    assert (row.status, row.flow_run_id) == ("expired", run)
    assert ledger.journal.of(incident)[-1].entry["expired"] is True


def test_an_approval_does_not_carry_over_to_another_plan(ledger: Ledger) -> None:
    incident, run, _ = asked(ledger)
    changed = plan(200)

    ledger.approvals.ask(incident, changed, run, 60)

    superseded = "This plan was replaced: the target has changed since, or the incident has ended."
    assert said(ledger.approvals.decide(incident, plan().digest, YES)) == superseded
    assert ledger.approvals.decide(incident, changed.digest, YES) is None
    assert ledger.approvals.approved_plans(incident) == [changed]


def test_asking_again_for_the_same_plan_keeps_the_question_and_its_time(ledger: Ledger) -> None:
    incident, _, _ = asked(ledger)
    (before,) = ledger.approvals.of(incident)
    next_run = uuid4()

    again = ledger.approvals.ask(incident, plan(), next_run, 3600)

    assert (again.id, again.expires_at, again.flow_run_id) == (before.id, before.expires_at, next_run)
    assert [row.kind for row in ledger.journal.of(incident)].count(Kind.ASKED) == 1


def test_a_plan_nobody_asked_about_cannot_be_decided(ledger: Ledger) -> None:
    incident, _, _ = asked(ledger)

    answer = said(ledger.approvals.decide(incident, plan(7).digest, YES))

    assert answer == f"Incident {incident} never asked for an approval of this plan."


def test_a_decision_is_told_to_the_run_that_waits_and_not_to_one_that_died(ledger: Ledger) -> None:
    incident, _, _ = asked(ledger)
    ledger.approvals.decide(incident, plan().digest, NO)
    assert len(ledger.approvals.undelivered()) == 1
    row = ledger.incidents.get(incident)
    assert row is not None
    with ledger.engine.begin() as connection:
        ledger.incidents.try_again(connection, row, "crashed", 0)
    second = ledger.incidents.claim(incident, 2, uuid4(), 30)
    assert second is not None
    ledger.incidents.move(second, "waiting")

    assert ledger.approvals.undelivered() == []


def test_a_run_that_asks_again_is_not_told_the_answer_to_its_first_question(ledger: Ledger) -> None:
    """It was answered in the Prefect form, went on, and waits with another plan now."""
    incident, run, _ = asked(ledger)
    ledger.approvals.decide(incident, plan().digest, YES)

    ledger.approvals.ask(incident, plan(200), run, 60)

    assert ledger.approvals.undelivered() == []
