"""Incidents: one per trouble, one run at a time, ended once, whoever comes at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar
from uuid import uuid4

import pytest
from sqlalchemy import text, update

from nightshift.remediation.ledger import Ledger, schema
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Outcome, Severity, Target
from nightshift.remediation.pace import START

T = TypeVar("T")
TROUBLE = Trouble(
    system="shop",
    runbook="HighDiskUsage",
    flow="disk-space-reclaim",
    target=Target(system="shop", path=("host", "web1", "filesystem", "/data")),
    severity=Severity.WARNING,
    title="A disk of the shop is nearly full",
)


def at_once(count: int, call: Callable[[int], T]) -> list[T]:
    """The results of calls that all start at the same moment."""
    barrier = threading.Barrier(count)

    def run(number: int) -> T:
        barrier.wait()
        return call(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def opened(ledger: Ledger, trouble: Trouble = TROUBLE) -> tuple[int, bool]:
    with ledger.engine.begin() as connection:
        return ledger.incidents.open(connection, trouble)


def sent(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        for incident in ledger.dispatching.take(connection, 10):
            ledger.dispatching.sent(connection, [incident])


def let_pass(ledger: Ledger, column: str) -> None:
    """Make a moment of all incidents lie in the past."""
    with ledger.engine.begin() as connection:
        connection.execute(update(schema.incident).values({column: text("now() - interval '1 second'")}))


def kinds(ledger: Ledger, incident_id: int) -> list[Kind]:
    return [row.kind for row in ledger.journal.of(incident_id)]


def test_the_same_trouble_opened_by_many_at_once_is_one_incident(ledger: Ledger) -> None:
    results = at_once(12, lambda _: opened(ledger))

    assert len({incident for incident, _ in results}) == 1
    assert [is_new for _, is_new in results].count(True) == 1
    assert kinds(ledger, results[0][0]) == [Kind.OPENED]


def test_after_the_end_the_same_trouble_is_a_new_incident(ledger: Ledger) -> None:
    first, _ = opened(ledger)
    with ledger.engine.begin() as connection:
        assert ledger.incidents.end(connection, first, Outcome.RESOLVED, "gone")

    second, is_new = opened(ledger)

    assert is_new
    assert second != first


def test_opening_goes_on_working_after_the_driver_prepared_its_statements(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        for number in range(30):
            target = Target(system="shop", path=("host", f"web{number}"))
            with connection.begin():
                _, is_new = ledger.incidents.open(connection, replace(TROUBLE, target=target))
            assert is_new


def test_of_many_runs_one_gets_the_claim(ledger: Ledger) -> None:
    incident, _ = opened(ledger)

    claims = at_once(12, lambda _: ledger.incidents.claim(incident, 1, uuid4(), 30))

    assert len([claim for claim in claims if claim is not None]) == 1
    assert kinds(ledger, incident).count(Kind.CLAIMED) == 1


def test_a_run_that_starts_late_still_finds_its_claim_free(ledger: Ledger) -> None:
    incident, _ = opened(ledger)
    for _ in range(3):
        let_pass(ledger, "next_dispatch_at")
        sent(ledger)
    row = ledger.incidents.get(incident)
    assert row is not None
    assert row.sends == 3

    assert ledger.incidents.claim(incident, 1, uuid4(), 30) is not None


def test_sends_pause_longer_up_to_a_minute_and_never_stop(ledger: Ledger) -> None:
    incident, _ = opened(ledger)
    pauses = []
    for _ in range(7):
        let_pass(ledger, "next_dispatch_at")
        sent(ledger)
        with ledger.engine.begin() as connection:
            query = "select extract(epoch from next_dispatch_at - clock_timestamp()) from incident"
            pauses.append(round(float(connection.execute(text(query)).scalar_one()), -1))

    assert pauses == [20, 40, 60, 60, 60, 60, 60]
    assert ledger.incidents.get(incident).attempt == 1  # type: ignore[union-attr]


def test_the_most_urgent_and_then_the_oldest_incident_is_dispatched_first(ledger: Ledger) -> None:
    def trouble(name: str, severity: Severity) -> Trouble:
        return Trouble("shop", "X", "f", Target(system="shop", path=("host", name)), severity, name)

    for name, severity in [("a", Severity.INFO), ("b", Severity.CRITICAL), ("c", Severity.WARNING)]:
        opened(ledger, trouble(name, severity))
    opened(ledger, trouble("d", Severity.CRITICAL))

    with ledger.engine.begin() as connection:
        assert [row.title for row in ledger.dispatching.take(connection, 10)] == ["b", "d", "c", "a"][:START]


def test_a_lost_run_can_neither_renew_nor_end_the_incident_after_the_next_one_took_over(ledger: Ledger) -> None:
    incident, _ = opened(ledger)
    first = ledger.incidents.claim(incident, 1, uuid4(), 30)
    assert first is not None
    let_pass(ledger, "claimed_until")
    with ledger.engine.begin() as connection:
        (row,) = ledger.incidents.lost(connection, 10)
        assert ledger.incidents.try_again(connection, row, "killed", 0)
    second = ledger.incidents.claim(incident, 2, uuid4(), 30)
    assert second is not None

    assert not ledger.incidents.renew(first, 30)
    assert not ledger.incidents.move(first, "verifying")
    assert not ledger.incidents.finish(first, Outcome.RESOLVED, "it thinks")
    assert ledger.incidents.finish(second, Outcome.RESOLVED, "seen")


def test_a_run_that_was_cut_off_cannot_renew_although_nobody_took_over_yet(ledger: Ledger) -> None:
    incident, _ = opened(ledger)
    claim = ledger.incidents.claim(incident, 1, uuid4(), 30)
    assert claim is not None
    let_pass(ledger, "claimed_until")

    assert not ledger.incidents.renew(claim, 30)


def test_two_gateways_that_both_see_a_lost_run_open_one_next_attempt(ledger: Ledger) -> None:
    incident, _ = opened(ledger)
    ledger.incidents.claim(incident, 1, uuid4(), 30)
    let_pass(ledger, "claimed_until")
    row = ledger.incidents.get(incident)
    assert row is not None

    def again(_: int) -> bool:
        with ledger.engine.begin() as connection:
            return ledger.incidents.try_again(connection, row, "killed", 0)

    assert at_once(8, again).count(True) == 1
    assert ledger.incidents.get(incident).attempt == 2  # type: ignore[union-attr]
    assert kinds(ledger, incident).count(Kind.LOST) == 1


def test_an_incident_ends_once(ledger: Ledger) -> None:
    incident, _ = opened(ledger)
    claim = ledger.incidents.claim(incident, 1, uuid4(), 30)
    assert claim is not None
    page = [("oncall", "It is broken", "Look.")]

    ends = at_once(8, lambda _: ledger.incidents.finish(claim, Outcome.ESCALATED, "cannot", page))

    assert ends.count(True) == 1
    assert kinds(ledger, incident).count(Kind.ENDED) == 1
    assert len(ledger.deliveries.of(incident)) == 1


def test_a_run_that_waits_gives_its_claim_back_and_takes_it_again_under_the_same_id(ledger: Ledger) -> None:
    incident, _ = opened(ledger)
    run = uuid4()
    claim = ledger.incidents.claim(incident, 1, run, 30)
    assert claim is not None
    assert ledger.incidents.move(claim, "waiting")

    assert ledger.incidents.claim(incident, 1, uuid4(), 30) is None
    again = ledger.incidents.claim(incident, 1, run, 30)

    assert isinstance(again, Claim)
    assert not ledger.incidents.renew(claim, 30)


def test_dispatch_and_intake_do_not_wait_for_each_other(ledger: Ledger) -> None:
    """One holds an incident and will write the journal, the other holds the journal and refers to the incident."""
    incident, _ = opened(ledger)
    other = Trouble("shop", "Other", None, TROUBLE.target, Severity.INFO, "other")
    with ledger.engine.begin() as dispatch:
        (row,) = ledger.dispatching.take(dispatch, 10)
        with ledger.engine.begin() as intake:
            intake.execute(text("set local statement_timeout = '5s'"))
            ledger.incidents.open(intake, other)
            ledger.journal.append(intake, incident, Kind.ALERT, {"status": "resolved"})
        ledger.dispatching.sent(dispatch, [row])

    assert kinds(ledger, incident) == [Kind.OPENED, Kind.ALERT, Kind.DISPATCHED]


def test_an_end_supersedes_the_question_that_is_still_open(ledger: Ledger) -> None:
    from nightshift.remediation.models import Plan

    incident, _ = opened(ledger)
    ledger.approvals.ask(incident, Plan(goal="g", target=TROUBLE.target), uuid4(), 60)

    with ledger.engine.begin() as connection:
        ledger.incidents.end(connection, incident, Outcome.ESCALATED, "by hand")

    assert [row.status for row in ledger.approvals.of(incident)] == ["superseded"]


@pytest.mark.parametrize("tries", [1, 2])
def test_a_message_is_taken_by_one_gateway_and_due_again_when_that_one_dies(ledger: Ledger, tries: int) -> None:
    incident, _ = opened(ledger)
    with ledger.engine.begin() as connection:
        ledger.deliveries.page(connection, incident, "oncall", "s", "b")

    for _ in range(tries):
        taken = at_once(6, lambda _: list(ledger.deliveries.take(10, 60)))
        assert sum(len(rows) for rows in taken) == 1
        with ledger.engine.begin() as connection:
            connection.execute(text("update delivery set due_at = now() - interval '1 second'"))

    (row,) = ledger.deliveries.take(10, 60)
    ledger.deliveries.delivered(row.id)
    assert ledger.deliveries.undelivered() == 0
    assert row.system == "shop"
