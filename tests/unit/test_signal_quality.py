"""What rejected signals mean, and who is told: by share of decided signals, by what dominates, by the market."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.remediation.models import Plan, Target
from nightshift.remediation.signals.facts import Market, Results, SignalDiagnosis, Tally
from nightshift.remediation.signals.findings import evidence_markdown, findings_of
from nightshift.remediation.signals.policy import SignalQualityPolicy
from nightshift.remediation.signals.review import dominant, is_high, is_severe, may_be_the_market, plan_review

TARGET = Target(system="trading_signals", path=("database", "main"))
GAUGE = {"prometheus": "prometheus", "series": "volatility", "above": 30}
POLICY = SignalQualityPolicy.model_validate({"market": {"volatility": GAUGE, "trend": {**GAUGE, "above": 25}}})


def tally(rejected: int, approved: int = 0, undecided: int = 0, name: str = "x") -> Tally:
    return Tally(name=name, signals=rejected + approved + undecided, rejected=rejected, approved=approved)


def seen(*hours: Tally, **changes: Any) -> SignalDiagnosis:
    calm = {"market": Market(volatility=10, trend=40), "counter_complaint": "not declared"}
    return SignalDiagnosis.model_validate({"last_hour": hours[0], "hours": hours, **calm, **changes})


def words(plan: Plan) -> str:
    return "\n".join([plan.goal, *(f"{one.title} {one.detail} {one.reason}" for one in plan.proposals)])


BAD, WORSE, FINE = tally(15, 5), tally(17, 3), tally(3, 17)
WILD = Market(volatility=45, trend=10)


@pytest.mark.parametrize(
    ("diagnosis", "high"),
    [
        (seen(BAD), True),
        (seen(FINE), False),
        (seen(tally(14, 6)), False),  # 70 % is the limit itself
        (seen(tally(9)), None),  # nine decided signals say nothing
        (seen(tally(9), counted_percent=75), True),  # the counter does
        (seen(FINE, counted_percent=75), True),  # both must be fine
        (seen(tally(15, 5, undecided=900)), True),  # those without a decision are no part of the share
    ],
)
def test_a_share_is_of_decided_signals_and_of_enough_of_them(diagnosis: SignalDiagnosis, high: bool | None) -> None:
    assert is_high(diagnosis, POLICY) is high


def test_nothing_is_reported_when_few_are_rejected_and_nothing_is_ever_changed() -> None:
    plan = plan_review(TARGET, seen(FINE), POLICY)

    assert plan.goal.startswith("Nothing to do: of 20 decided signals in the last hour 15 % rejected")
    assert (plan.actions, plan.proposals) == ((), ())


def test_what_cannot_be_told_goes_to_a_person() -> None:
    plan = plan_review(TARGET, seen(tally(2, 1)), POLICY)

    assert "Too few decided signals to tell" in words(plan)
    assert plan.proposals


def test_who_is_told_depends_on_how_much_and_how_long() -> None:
    team = words(plan_review(TARGET, seen(BAD, FINE), POLICY))
    severe = words(plan_review(TARGET, seen(WORSE, WORSE), POLICY))
    systematic = words(plan_review(TARGET, seen(*[BAD] * 6), POLICY))

    assert "Report to the product and trading team" in team
    assert "more than one hour" not in team
    assert "above 80 % for more than one hour" in severe
    assert "engineering manager" not in severe
    assert "the product and trading team, and the engineering manager" in systematic
    assert "6 of the last 6 hours were bad" in systematic


def test_one_severe_hour_is_not_more_than_one() -> None:
    assert not is_severe(seen(WORSE, FINE), POLICY)
    assert not is_severe(seen(WORSE), POLICY)


@pytest.mark.hazard("trading_signals.HighApprovalRejectionRate.d1")
def test_the_source_or_instrument_that_has_most_rejections_is_named_with_its_numbers() -> None:
    sources = (tally(14, 1, 2, name="rsi_v2"), tally(1, 4, name="ma"))
    pairs = tuple(tally(3, 1, name=f"pair {number}") for number in range(5))
    text = words(plan_review(TARGET, seen(BAD, sources=sources, instruments=pairs), POLICY))

    assert "Review the entry criteria of the source rsi\\x5fv2" in text or "the source rsi_v2" in text
    assert "14 rejected, 1 approved, 2 undecided of 17 signals" in text
    assert "pair" not in text


def test_the_only_source_does_not_dominate() -> None:
    assert dominant((tally(15, 5),), POLICY) is None
    assert dominant(None, POLICY) is None
    assert dominant((), POLICY) is None


@pytest.mark.parametrize(
    ("diagnosis", "waits"),
    [
        (seen(BAD, market=WILD), True),
        (seen(BAD), False),
        (seen(FINE, market=WILD), False),
        (seen(BAD, market=Market(complaint="no answer")), False),
        (seen(BAD, market=None), False),
        (seen(WORSE, WORSE, market=WILD), False),
        (seen(*[BAD] * 6, market=WILD), False),
        (seen(BAD, market=WILD, instruments=(tally(14, name="a"), tally(1, name="b"))), False),
    ],
)
def test_a_volatile_market_is_watched_only_when_it_explains_it(diagnosis: SignalDiagnosis, waits: bool) -> None:
    assert may_be_the_market(diagnosis, POLICY) is waits


def test_a_volatile_market_is_noted_with_its_numbers() -> None:
    text = words(plan_review(TARGET, seen(BAD, market=WILD, results=Results(closed=20, won=13)), POLICY))

    assert "volatile: volatility 45, volatile from 30; ranging: strength 10, a trend from 25" in text
    assert "65 % of 20 approved and closed signals of the last day won" in text


def test_what_is_not_known_is_said() -> None:
    diagnosis = seen(BAD, market=Market(complaint="prometheus did not answer"), results_complaint="no table")
    text = "\n".join(f"{one.title} {one.detail}" for one in findings_of(diagnosis, POLICY))

    assert "prometheus did not answer" in text
    assert "not known: no table" in text
    assert "not measured: not declared" in text


@given(st.text(max_size=60))
def test_names_of_signals_cannot_break_a_table(name: str) -> None:
    evidence = evidence_markdown(seen(BAD, instruments=(tally(3, 1, name=name),)))

    assert all(line.count("|") == 7 for line in evidence.splitlines() if line)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_a_plan_never_has_an_action(rejected: int, approved: int, undecided: int) -> None:
    assert plan_review(TARGET, seen(tally(rejected, approved, undecided)), POLICY).actions == ()


@pytest.mark.parametrize("wrong", [{"severe_percent": 60}, {"rejected_percent": 0}, {"watch": "9d"}, {"least": 0}])
def test_limits_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SignalQualityPolicy.model_validate(wrong)
