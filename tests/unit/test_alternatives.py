"""Smaller plans that an approver may choose: made of the same actions, and never more than they chose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lab.notebook import line, plan
from nightshift.remediation.alternatives import alternatives_of, limited_to
from nightshift.remediation.models import Plan, Quantity, Risk

LOW, MEDIUM, HIGH = line("low"), line("medium", risk=Risk.MEDIUM), line("high", risk=Risk.HIGH)


def separable(*actions: object) -> Plan:
    return plan(*actions).model_copy(update={"separable": True})  # type: ignore[arg-type]


def test_for_each_lower_risk_there_is_one_the_smallest_first() -> None:
    offered = alternatives_of(separable(LOW, MEDIUM, HIGH))

    assert [one.plan.actions for one in offered] == [(LOW,), (LOW, MEDIUM)]
    assert [one.title.split(".")[0] for one in offered] == [
        "only low risk: 1 of 3 actions",
        "up to medium risk: 2 of 3 actions",
    ]


def test_it_says_how_much_less_it_brings() -> None:
    big = MEDIUM.model_copy(update={"gain": Quantity(amount=3072, unit="bytes")})
    small = LOW.model_copy(update={"gain": Quantity(amount=1024, unit="bytes")})

    (only,) = alternatives_of(separable(small, big))

    assert only.plan.expected == "It brings about 1.0 KiB of the 4.0 KiB that the whole plan brings."


def test_the_same_smaller_plan_is_offered_once_and_nothing_is_no_choice() -> None:
    assert len(alternatives_of(separable(LOW, HIGH))) == 1
    assert alternatives_of(separable(HIGH)) == ()
    assert alternatives_of(separable(LOW)) == ()


def test_a_plan_that_makes_sense_only_as_a_whole_has_none() -> None:
    assert alternatives_of(plan(LOW, MEDIUM)) == ()


def test_what_was_not_chosen_is_refused_also_where_it_has_grown() -> None:
    grown = line("low", bound=11)

    left = limited_to(separable(LOW, MEDIUM), plan(LOW))

    assert left.actions == (LOW,)
    assert [refusal.what for refusal in left.refusals] == ["Write medium"]
    assert limited_to(separable(grown), plan(LOW)).actions == ()


@given(st.lists(st.builds(line, st.sampled_from("abcdef"), risk=st.sampled_from(list(Risk))), max_size=8))
def test_every_alternative_stays_within_the_plan_and_is_smaller(actions: list[object]) -> None:
    whole = separable(*actions)

    for one in alternatives_of(whole):
        assert one.plan.actions
        assert one.plan.within(whole)
        assert one.plan.risk.rank < whole.risk.rank
        assert one.plan.digest != whole.digest
        assert limited_to(whole, one.plan).within(one.plan)
