"""Who may approve what, how many it takes, and who counts as whom: rules without a database."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.catalogue.approval_rules import (
    ApprovalRule,
    Proof,
    Requirement,
    RiskRule,
    refusing,
    requirement,
    silent_yes_after,
)
from nightshift.remediation.decisions import Decision, NotTaken, Progress, Requester, Vouched, Why
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.models import Risk
from nightshift.remediation.people import Token, canonical, checked_name

PEOPLE = ("Ana Silva", "bo")


def rule(**changes: object) -> Requirement:
    values: dict[str, object] = {"expires_after": 60.0, "roles": (), "quorum": 1, "requester_may_approve": True}
    return Requirement(**{**values, "identity": Proof.AUTO, **changes})  # type: ignore[arg-type]


def why(
    needed: Requirement, decision: Decision, *, requester: str | None = None, takes: int = 1, enrolled: bool = False
) -> Why | None:
    refused: NotTaken | None = refusing(
        needed, decision, people=PEOPLE, requester=requester, needed=takes, anybody_enrolled=enrolled
    )
    return refused.why if refused else None


def says(person: str, vouched: Vouched, *, approve: bool = True) -> Decision:
    return Decision(person, "test", approve, vouched=vouched)


def test_silence_is_a_yes_only_for_low_risk_even_where_a_rule_says_it_for_all() -> None:
    everywhere = ApprovalRule(unless_denied_within=600)
    nearer = ApprovalRule(low=RiskRule(unless_denied_within=60))

    assert [requirement(risk, everywhere).unless_denied_within for risk in Risk] == [600, None, None]
    assert requirement(Risk.LOW, nearer, everywhere).unless_denied_within == 60
    assert requirement(Risk.LOW, ApprovalRule()).unless_denied_within is None


@pytest.mark.parametrize(
    ("case", "seconds"),
    [
        ({}, 60),
        ({"needed": 2}, None),
        ({"doubtful": True}, None),
        ({"requester": "ana"}, 60),
        ({"requester": "ana", "may": False}, None),
    ],
)
def test_somebody_has_to_say_yes_where_one_silence_is_not_enough(case: dict[str, Any], seconds: float | None) -> None:
    needed = rule(unless_denied_within=60.0, requester_may_approve=case.get("may", True))
    asked = {"needed": 1, "requester": None, "doubtful": False, **case}
    asked.pop("may", None)

    assert silent_yes_after(needed, **asked) == seconds


@pytest.mark.parametrize(
    "spelling", ["ana silva", " ANA  SILVA ", "Ana\u200b Silva", "\uff21na Silva", "Ana\u00a0Silva"]
)
def test_spellings_of_one_name_are_one_person(spelling: str) -> None:
    assert canonical(spelling) == canonical("Ana Silva") == "ana silva"


@given(st.text(max_size=40))
def test_a_canonical_name_stays_as_it_is(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\u200b", "x" * 101, "Ledger", " ledger "])
def test_what_is_no_name_enrols_nobody(name: str) -> None:
    with pytest.raises(ConfigurationError):
        checked_name(name)


def test_a_token_survives_its_text_form_and_hides_in_repr() -> None:
    token = Token.new()

    assert Token.parse(f" {token.text}\n") == token
    assert token.secret not in repr(token)
    assert Token.parse(token.text[:-1]) is None


def test_the_nearest_rule_that_says_something_counts_and_its_risk_before_it() -> None:
    system = ApprovalRule(roles=("ops",), quorum=1, high=RiskRule(quorum=2, roles=("lead",)))
    runbook = ApprovalRule(expires_after=60, medium=RiskRule(requester_may_approve=False))

    low, medium, high = (requirement(risk, runbook, system) for risk in Risk)

    assert (low.roles, low.quorum, low.expires_after, low.requester_may_approve) == (("ops",), 1, 60, True)
    assert (medium.roles, medium.requester_may_approve) == (("ops",), False)
    assert (high.roles, high.quorum, high.expires_after, high.requester_may_approve) == (("lead",), 2, 60, False)
    assert requirement(Risk.LOW, None, ApprovalRule()).expires_after == 4 * 3600


def test_what_takes_two_people_takes_them_whatever_the_catalogue_says_and_each_proves_who_they_are() -> None:
    lax = rule(unless_denied_within=60.0, identity=Proof.LOGIN)

    strict = lax.with_at_least(2)

    assert (strict.quorum, strict.unless_denied_within) == (2, None)
    assert why(strict, says("bo", Vouched.LOGIN), takes=2) is Why.NOT_PROVEN
    assert why(strict, says("bo", Vouched.TOKEN), takes=2, enrolled=True) is None
    assert rule(quorum=3).with_at_least(2).quorum == 3
    assert lax.with_at_least(1) == lax


@pytest.mark.parametrize(
    ("identity", "vouched", "enrolled", "counts"),
    [
        (Proof.AUTO, Vouched.LOGIN, False, True),
        (Proof.AUTO, Vouched.LOGIN, True, False),
        (Proof.TOKEN, Vouched.LOGIN, False, False),
        (Proof.LOGIN, Vouched.LOGIN, True, True),
        (Proof.AUTO, Vouched.TYPED, False, True),
        (Proof.AUTO, Vouched.TYPED, True, False),
        (Proof.LOGIN, Vouched.TYPED, True, False),
        (Proof.TOKEN, Vouched.TYPED, False, False),
        (Proof.TOKEN, Vouched.TOKEN, True, True),
        (Proof.TOKEN, Vouched.CODE, True, True),
    ],
)
def test_how_strongly_people_must_show_who_they_are(
    identity: Proof, vouched: Vouched, enrolled: bool, counts: bool
) -> None:
    assert (why(rule(identity=identity), says("bo", vouched), enrolled=enrolled) is None) == counts


def test_a_typed_name_counts_nowhere_where_names_matter() -> None:
    typed = says("bo", Vouched.TYPED)

    assert why(rule(roles=("ops",)), typed) is Why.NOT_PROVEN
    assert why(rule(quorum=2), typed, takes=2) is Why.NOT_PROVEN
    assert why(rule(requester_may_approve=False), typed, requester="ana silva") is Why.NOT_PROVEN
    assert why(rule(requester_may_approve=False), typed) is None  # an alert asked, so nobody is excluded


def test_only_people_of_the_roles_decide_however_they_are_spelled() -> None:
    assert why(rule(roles=("ops",)), says("ANA silva ", Vouched.TOKEN)) is None
    assert why(rule(roles=("ops",)), says("eve", Vouched.TOKEN)) is Why.WRONG_ROLE
    assert why(rule(roles=("ops",)), says("eve", Vouched.TOKEN, approve=False)) is Why.WRONG_ROLE


def test_who_asked_does_not_approve_but_may_say_no() -> None:
    strict = rule(requester_may_approve=False)

    assert why(strict, says("Bo", Vouched.TOKEN), requester="bo") is Why.REQUESTER
    assert why(strict, says("Bo", Vouched.TOKEN, approve=False), requester="bo") is None
    assert why(strict, says("Ana Silva", Vouched.TOKEN), requester="bo") is None


def test_where_nobody_knows_who_asked_it_takes_one_person_more() -> None:
    unknown, known, alert = Requester.of({"dry_run": False}), Requester.of({"requester": "bo"}), Requester.of({})

    assert [who.needed(2, may_approve=False) for who in (unknown, known, alert)] == [3, 2, 2]
    assert unknown.needed(2, may_approve=True) == 2


def test_progress_in_words() -> None:
    assert Progress(("Ana",), 2).in_words == "1 of 2 people have approved (Ana), 1 more is needed"
    assert Progress((), 3).in_words == "0 of 3 people have approved, 3 more are needed"
