"""Notices that an approval waits: written with it, once, and called off with it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Row

from lab.notebook import TARGET, line, plan
from nightshift.remediation.decisions import Decision
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.approvals import Notice
from nightshift.remediation.ledger.asked_plans import Before
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.models import Outcome, Plan, Severity

FIRST, SECOND = plan(line("one")), plan(line("two"))


def write(approval: Row[Any], before: Before | None) -> tuple[str, str]:
    return f"approval {approval.id}", before.status if before else "asked for the first time"


NOTICE = Notice(("chat", "pager"), write)


@pytest.fixture
def incident(ledger: Ledger) -> int:
    trouble = Trouble("shop", "HighDiskUsage", "disk", TARGET, Severity.WARNING, "disk is full")
    with ledger.engine.begin() as connection:
        return ledger.incidents.open(connection, trouble)[0]


def ask(ledger: Ledger, incident: int, shown: Plan, seconds: float = 60) -> int:
    return int(ledger.approvals.ask(incident, shown, uuid4(), seconds, notice=NOTICE).id)


def waiting(ledger: Ledger, incident: int) -> list[tuple[str, str]]:
    rows = ledger.deliveries.of(incident)
    return [(row.subject, row.channel) for row in rows if row.withdrawn_at is None and row.delivered_at is None]


def test_who_asks_at_once_and_again_tells_each_channel_once(ledger: Ledger, incident: int) -> None:
    with ThreadPoolExecutor(8) as threads:
        asked = set(threads.map(lambda _: ask(ledger, incident, FIRST), range(16)))

    (approval,) = asked
    assert waiting(ledger, incident) == [(f"approval {approval}", "chat"), (f"approval {approval}", "pager")]


def test_another_plan_calls_the_old_notice_off_and_tells_what_it_replaces(ledger: Ledger, incident: int) -> None:
    ask(ledger, incident, FIRST)
    second = ask(ledger, incident, SECOND)

    assert {subject for subject, _ in waiting(ledger, incident)} == {f"approval {second}"}
    assert {row.body for row in ledger.deliveries.of(incident) if not row.withdrawn_at} == {"superseded"}


def _decided(ledger: Ledger, incident: int, *, approve: bool) -> None:
    assert ledger.approvals.decide(incident, FIRST.digest, Decision("ada", "test", approve)) is None


def _expired(ledger: Ledger, incident: int) -> None:
    assert ledger.approvals.expire() == [incident]


def _ended(ledger: Ledger, incident: int) -> None:
    with ledger.engine.begin() as connection:
        assert ledger.incidents.end(connection, incident, Outcome.ESCALATED, "r")


@pytest.mark.parametrize(
    ("end", "seconds"),
    [
        (lambda ledger, incident: _decided(ledger, incident, approve=True), 60),
        (lambda ledger, incident: _decided(ledger, incident, approve=False), 60),
        (_expired, -1),
        (_ended, 60),
    ],
)
def test_what_needs_no_answer_any_more_is_not_told(
    ledger: Ledger, incident: int, end: Callable[[Ledger, int], None], seconds: float
) -> None:
    ask(ledger, incident, FIRST, seconds)

    end(ledger, incident)

    assert waiting(ledger, incident) == []
    assert ledger.deliveries.take(10, 60) == []


def test_an_approval_is_told_also_when_somebody_took_the_incident_over(ledger: Ledger, incident: int) -> None:
    ask(ledger, incident, FIRST)

    assert ledger.incidents.acknowledge(incident, "ada")

    assert len(waiting(ledger, incident)) == 2


def test_nothing_is_told_of_an_approval_whose_transaction_failed(ledger: Ledger, incident: int) -> None:
    def fail(_approval: Row[Any], _before: Before | None) -> tuple[str, str]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        ledger.approvals.ask(incident, FIRST, uuid4(), 60, notice=Notice(("chat",), fail))

    assert ledger.approvals.of(incident) == []
    assert ledger.deliveries.of(incident) == []
