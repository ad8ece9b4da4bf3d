"""Low risk that is done unless somebody denies: only if people were told, nothing is doubtful and nobody says no."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Row, text

from lab.notebook import TARGET, Notebook, line, plan
from nightshift.remediation.breaker import BreakerRule
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.decisions import Decision
from nightshift.remediation.execution import Execution, Status
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.approvals import Notice
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.ledger.switches import Scope
from nightshift.remediation.models import Mode, Outcome, Plan, Risk, Severity
from nightshift.remediation.permission import Limits

RUNBOOK = "HighDiskUsage"
SHOWN = plan(line("one"))
NO = Decision("eve", "test", approve=False)
NOTICE = Notice(("chat",), lambda approval, _before: (f"approval {approval.id}", "body"))


class Shop:
    """One incident whose plan is carried out unless somebody denies."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger, self.notebook = ledger, Notebook(folder / "notebook")
        trouble = Trouble("shop", RUNBOOK, "disk", TARGET, Severity.WARNING, "disk is full")
        with ledger.engine.begin() as connection:
            self.incident, _ = ledger.incidents.open(connection, trouble)
        claim = ledger.incidents.claim(self.incident, 1, uuid4(), 30)
        assert claim is not None
        self.claim: Claim = claim
        self.asked: list[Plan] = []

    def ask(self, *, shown: Plan = SHOWN, told: bool = True) -> Row[Any]:
        """It waits since ten minutes, which is as long as it waits."""
        approvals = self.ledger.approvals
        approval = approvals.ask(self.incident, shown, uuid4(), 600, unless_denied=True, notice=NOTICE)
        if told:
            (message,) = self.ledger.deliveries.take(10, 60)
            self.ledger.deliveries.delivered(message.id)
        self.pass_time(601)
        return approval

    def pass_time(self, seconds: float) -> None:
        back = text(
            "update approval set requested_at = requested_at - make_interval(secs => :s),"
            " expires_at = expires_at - make_interval(secs => :s)"
        )
        told = text("update delivery set delivered_at = delivered_at - make_interval(secs => :s)")
        with self.ledger.engine.begin() as connection:
            connection.execute(back, {"s": seconds})
            connection.execute(told, {"s": seconds})

    def status(self) -> str:
        return str(self.ledger.approvals.of(self.incident)[-1].status)

    def carry_out(self, shown: Plan = SHOWN, *, breaker: BreakerRule | None = None) -> Execution:
        with ClaimKeeper(self.ledger, self.claim, 30) as keeper:
            kinds, limits = self.notebook.kinds, Limits(breaker=breaker)
            gate = Gate(self.ledger, keeper, RUNBOOK, kinds, {}, Mode.PROPOSE, self.asked.append, limits)
            return gate.carry_out(shown, enough=lambda: False)


@pytest.fixture
def shop(ledger: Ledger, tmp_path: Path) -> Iterator[Shop]:
    yield Shop(ledger, tmp_path)
    assert ledger.journal.first_broken_link() is None


def test_without_a_no_it_is_done_and_recorded_as_decided_by_nobody(shop: Shop) -> None:
    shop.ask()

    assert shop.ledger.approvals.expire() == [shop.incident]
    execution = shop.carry_out()

    assert [result.status for result in execution.results] == [Status.DONE]
    assert shop.notebook.lines == ["one"]
    assert shop.asked == []
    (decided,) = [row.entry for row in shop.ledger.journal.of(shop.incident) if row.kind is Kind.DECIDED]
    assert (decided["approve"], decided["unless_denied"], "person" in decided) == (True, True, False)
    report = report_of(shop.ledger, shop.incident)
    assert "unless somebody denies" in report
    assert "nobody denied it in time: **approved** by nobody" in report


def test_before_the_time_is_over_nothing_is_done(shop: Shop) -> None:
    shop.ledger.approvals.ask(shop.incident, SHOWN, uuid4(), 600, unless_denied=True, notice=NOTICE)

    assert shop.ledger.approvals.expire() == []
    shop.carry_out()

    assert shop.notebook.lines == []


def test_a_no_in_time_stops_it(shop: Shop) -> None:
    shop.ask()
    shop.pass_time(-60)

    assert shop.ledger.approvals.decide(shop.incident, SHOWN.digest, NO) is None
    shop.pass_time(60)

    assert shop.ledger.approvals.expire() == []
    assert shop.carry_out().ended is Outcome.NOT_APPROVED
    assert shop.notebook.lines == []


def test_a_no_that_comes_too_late_is_told_so(shop: Shop) -> None:
    shop.ask()

    late = shop.ledger.approvals.decide(shop.incident, SHOWN.digest, NO)
    shop.ledger.approvals.expire()
    later = shop.ledger.approvals.decide(shop.incident, SHOWN.digest, NO)

    assert str(late) == "The time to deny this plan has run out."
    assert "Nobody denied this plan in time, so it is carried out; `nightshift stop`" in str(later)


def _untold(shop: Shop) -> None:
    shop.ask(told=False)


def _told_late(shop: Shop) -> None:
    shop.ask()
    with shop.ledger.engine.begin() as connection:
        connection.execute(text("update delivery set delivered_at = clock_timestamp() - interval '4 minutes'"))


@pytest.mark.parametrize("ask", [_untold, _told_late])
def test_silence_of_people_who_were_not_told_in_time_is_a_no(shop: Shop, ask: Callable[[Shop], None]) -> None:
    ask(shop)

    shop.ledger.approvals.expire()

    assert shop.status() == "expired"
    assert shop.carry_out().ended is Outcome.NOT_APPROVED
    assert shop.notebook.lines == []
    assert "no channel took the notice in time" in report_of(shop.ledger, shop.incident)


def test_a_stop_holds_it_back_after_the_time_is_over(shop: Shop) -> None:
    shop.ask()
    shop.ledger.approvals.expire()
    shop.ledger.switches.stop(Scope(system="shop"), reason="no changes tonight", author="ada", seconds=None)

    assert shop.carry_out().ended is Outcome.ESCALATED
    assert shop.notebook.lines == []


def test_what_became_doubtful_meanwhile_takes_a_yes_that_somebody_says(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.ask()
    shop.ledger.approvals.expire()
    monkeypatch.setattr("nightshift.remediation.permission.why_doubted", lambda _last: "It did not help before.")

    shop.carry_out(breaker=BreakerRule())

    (asked,) = shop.asked
    assert "It did not help before." in asked.actions[0].reason
    assert shop.notebook.lines == []


def test_silence_about_low_risk_is_no_yes_to_more(shop: Shop) -> None:
    high = plan(line("one", risk=Risk.HIGH))
    shop.ask(shown=high)
    shop.ledger.approvals.expire()

    shop.carry_out(high)

    assert shop.asked == [high]
    assert shop.notebook.lines == []


def test_a_no_and_the_end_of_the_time_cannot_both_count(shop: Shop) -> None:
    for _ in range(10):
        shop.ask()
        barrier = Barrier(3)

        def deny(barrier: Barrier = barrier) -> bool:
            barrier.wait()
            return shop.ledger.approvals.decide(shop.incident, SHOWN.digest, NO) is None

        def expire(barrier: Barrier = barrier) -> list[int]:
            barrier.wait()
            return shop.ledger.approvals.expire()

        with ThreadPoolExecutor(3) as threads:
            denied, *expired = threads.submit(deny), threads.submit(expire), threads.submit(expire)
            ended = [number for one in expired for number in one.result()]
            assert (denied.result(), ended) in ((True, []), (False, [shop.incident]))
        assert shop.status() == ("denied" if denied.result() else "approved")
