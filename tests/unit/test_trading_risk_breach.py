"""What is planned about a broken trading limit: evidence, at most a pause, and never an order or a resumption."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.models import Plan, Target
from nightshift.remediation.trading.facts import Loss, Position, Session, Signal, TradingDiagnosis
from nightshift.remediation.trading.findings import evidence_markdown, findings_of
from nightshift.remediation.trading.market import MarketLook, Move, findings_of_market
from nightshift.remediation.trading.planner import NOTHING_TO_DO, plan_trading
from nightshift.remediation.trading.policy import TradingRiskPolicy
from nightshift.remediation.trading.verification import judge_trading

TARGET = Target(system="cryptofunk", path=("database", "main", "portfolio", "main"))
POLICY = TradingRiskPolicy.model_validate(
    {
        "breach": "position",
        "largest_position": 1000,
        "exposure": 5000,
        "drawdown_percent": 10,
        "pause": {"api": "orchestrator", "pause": "/pause", "state": "/state"},
    }
)
BIG = Position(symbol="BTC/USDT", side="LONG", quantity=0.02, price=75_000, unrealized=-40)


def seen(**changes: Any) -> TradingDiagnosis:
    facts = {
        "portfolio": "main",
        "now": 0,
        "positions": (BIG,),
        "exposure": 1500,
        "largest": 1500,
        "above_limit": 2,
        "opened_last": 5,
        "paused": False,
    }
    return TradingDiagnosis.model_validate({**facts, **changes})


FINE = {"positions": (), "exposure": 0, "largest": 0, "above_limit": 0}
LOST = Session(id="s1", pnl=-900, drawdown_percent=12.5, roi_percent=-9)


def kinds(plan: Plan) -> list[str]:
    return [action.kind for action in plan.actions]


@pytest.mark.parametrize(
    ("diagnosis", "paused"),
    [
        (seen(), True),
        (seen(above_limit=1), False),
        (seen(paused=True), False),
        (seen(paused=None, pause_complaint="did not answer"), False),
        (seen(**FINE, session=LOST), True),
    ],
    ids=["repeatedly", "once", "paused already", "not known", "drawdown"],
)
def test_new_entries_are_paused_when_a_limit_is_broken_repeatedly_or_lost(
    diagnosis: TradingDiagnosis, paused: bool
) -> None:
    plan = plan_trading(TARGET, diagnosis, POLICY)

    assert kinds(plan) == (["pause_entries"] if paused else [])
    assert plan.proposals, "people decide in any case"


@pytest.mark.hazard("cryptofunk.PositionLimitExceeded.d2")
def test_below_all_limits_there_is_nothing_to_do() -> None:
    assert plan_trading(TARGET, seen(**FINE), POLICY).goal == NOTHING_TO_DO
    held = {**FINE, "exposure": 900, "largest": 900}
    assert plan_trading(TARGET, seen(**held), POLICY).goal == NOTHING_TO_DO
    lower = POLICY.model_copy(update={"largest_position": 500})  # the limits are those of the configuration
    assert plan_trading(TARGET, seen(**held), lower).goal != NOTHING_TO_DO


@pytest.mark.hazard("cryptofunk.PositionLimitExceeded.r1.1")
def test_a_reduction_is_proposed_with_its_quantity() -> None:
    proposal = plan_trading(TARGET, seen(), POLICY).proposals[0]

    assert proposal.title == "Reduce BTC/USDT by 0.00666667 of 0.02"
    assert "only a person" in proposal.reason


def test_without_a_declared_way_nothing_is_paused() -> None:
    plan = plan_trading(TARGET, seen(), POLICY.model_copy(update={"pause": None}))

    assert kinds(plan) == []
    assert plan.refusals[0].reason == "no way to do it is declared"


@pytest.mark.hazard("cryptofunk.MaxDrawdownExceeded.r1.1")
@pytest.mark.parametrize(
    ("losses", "title"),
    [
        ((Loss(symbol="BTC", trades=3, amount=800), Loss(symbol="ETH", trades=1, amount=100)), "Pause the strategy"),
        ((Loss(symbol="BTC", trades=3, amount=450), Loss(symbol="ETH", trades=4, amount=450)), "Keep trading paused"),
    ],
    ids=["one symbol", "the market"],
)
def test_after_a_loss_one_symbol_is_told_from_the_market(losses: tuple[Loss, ...], title: str) -> None:
    plan = plan_trading(TARGET, seen(**FINE, session=LOST, losses=losses), POLICY)

    titles = [proposal.title for proposal in plan.proposals]
    assert titles[0].startswith(title)
    assert titles[-1] == "Decide when trading is resumed"


def test_a_pause_does_not_solve_it() -> None:
    verdict = judge_trading([seen(paused=True), seen(paused=True)], POLICY)

    assert not verdict.healthy
    assert "the rest is a person's decision" in verdict.reason


def test_an_entry_in_spite_of_the_pause_is_told() -> None:
    verdict = judge_trading([seen(paused=True), seen(paused=True, opened_last=6)], POLICY)

    assert "although entries are paused" in verdict.reason


def test_it_is_solved_when_every_look_is_below_the_limits() -> None:
    assert judge_trading([seen(**FINE), seen(**FINE)], POLICY).healthy
    assert not judge_trading([seen(), seen(**FINE)], POLICY).healthy
    assert judge_trading([], POLICY).inconclusive


def test_what_agents_wrote_reaches_people_escaped() -> None:
    hostile = Signal(symbol="<b>", agent="`x`", signal="BUY", reasoning="<script>")
    diagnosis = seen(signals=(hostile,), positions=(BIG.model_copy(update={"symbol": "<b>|x"}),))

    page = evidence_markdown(diagnosis) + "".join(f"{one.title}{one.detail}" for one in findings_of(diagnosis, POLICY))

    assert "<" not in page
    assert "<" not in plan_trading(TARGET, diagnosis, POLICY).model_dump_json()


@pytest.mark.hazard(
    "cryptofunk.PositionLimitExceeded.r1.1",
    "cryptofunk.PositionLimitExceeded.r2.1",
    "cryptofunk.MaxDrawdownExceeded.r1.1",
)
@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(0, 9), st.sampled_from([True, False, None]), st.floats(0, 99))
def test_whatever_is_seen_at_most_new_entries_are_paused(
    exposure: float, largest: float, above: int, paused: bool | None, drawdown: float
) -> None:
    session = LOST.model_copy(update={"drawdown_percent": drawdown})
    changes = {"exposure": exposure, "largest": largest, "above_limit": above, "paused": paused, "session": session}

    plan = plan_trading(TARGET, seen(**changes), POLICY)

    assert kinds(plan) in ([], ["pause_entries"])
    assert not plan.actions or paused is False


def test_the_market_and_what_was_not_seen_of_it_are_told() -> None:
    calm = Move(symbol="ETH/USDT", changed_percent=0.4, range_percent=1.1, usual_percent=1.0)
    new = Move(symbol="NEW/USDT", changed_percent=9, range_percent=20)
    look = MarketLook(moves=(new, calm), lines=("ERROR limit",), unseen=("the market: no table",))

    market, log, unseen = findings_of_market(look)

    assert (market.title, market.troubling) == ("Market in the last hour: 0 of 2 symbols moved unusually far", False)
    assert market.detail == "NEW/USDT +9.0 %, range 20.0 %; ETH/USDT +0.4 %, range 1.1 %, usually 1.0 %"
    assert (log.detail, unseen.detail) == ("ERROR limit", "the market: no table")
