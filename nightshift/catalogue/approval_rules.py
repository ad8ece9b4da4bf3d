"""Who may approve what: rules per risk, layered over the system's, and what they say about one answer. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from nightshift.remediation.decisions import Decision, NotTaken, Vouched, Why
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Risk, Value
from nightshift.remediation.people import canonical
from nightshift.remediation.text import printable

RoleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Proof(StrEnum):
    """How people show who they are."""

    AUTO = "auto"
    """By login name while nobody is enrolled; as soon as one person is, by personal token or one-time code."""
    TOKEN = "token"  # noqa: S105 - not a token, the word for one
    """By personal token or one-time code."""
    LOGIN = "login"
    """The login name on the command line is enough."""


class RiskRule(Value):
    """Who may approve; what is left out is as the next wider rule says."""

    expires_after: Annotated[Seconds, Field(gt=0)] | None = None
    """Without an answer for this long, the answer is no. 4 hours where no rule says otherwise."""
    unless_denied_within: Annotated[Seconds, Field(gt=0)] | None = None
    """Only under ``low``: people are told, and without a no for this long the plan is carried out. Where something is
    doubtful, it takes a yes all the same."""
    roles: tuple[RoleName, ...] | None = None
    """Roles whose people may approve; empty, or said nowhere: everyone who has shown who they are."""
    quorum: Annotated[int, Field(ge=1, le=20)] | None = None
    """How many different people must approve; one no ends it. 1 where no rule says otherwise."""
    requester_may_approve: bool | None = None
    """Whether who started a run by hand may approve its plan. Said nowhere: yes, but not for high risk."""
    identity: Proof | None = None
    """How people show who they are: token (personal token or one-time code), login (on the command line the login name
    is enough), or auto, the default: login while nobody is enrolled, from then on token."""


class ApprovalRule(RiskRule):
    """Who may approve a plan, and for how long it stays open; the highest risk of its actions selects the part."""

    low: RiskRule | None = None
    """What differs for plans of low risk."""
    medium: RiskRule | None = None
    """What differs for plans of medium risk."""
    high: RiskRule | None = None
    """What differs for plans of high risk."""

    def part(self, risk: Risk) -> RiskRule | None:
        """What differs for this risk."""
        parts = {Risk.LOW: self.low, Risk.MEDIUM: self.medium, Risk.HIGH: self.high}
        return parts[risk]


@dataclass(frozen=True)
class Requirement:
    """What it takes to approve one plan."""

    expires_after: float
    roles: tuple[str, ...]
    quorum: int
    requester_may_approve: bool
    identity: Proof
    unless_denied_within: float | None = None
    """Seconds after which silence is a yes; None: silence is a no."""

    def proof_needed(self, anybody_enrolled: bool) -> bool:
        """Whether a login name is not enough."""
        return self.identity is Proof.TOKEN or (self.identity is Proof.AUTO and anybody_enrolled)

    def with_at_least(self, people: int) -> Requirement:
        """The same for a plan that takes so many different people, whatever the catalogue says.

        From two on each shows who they are by a token or a code: two login names may be one person.
        """
        if people <= 1:
            return self
        quorum = max(self.quorum, people)
        return replace(self, quorum=quorum, identity=Proof.TOKEN, unless_denied_within=None)


def requirement(risk: Risk, *rules: ApprovalRule | None) -> Requirement:
    """What holds for a risk: the first rule, nearest first, that says something; its part for the risk before it."""
    layers: list[RiskRule] = []
    for rule in rules:
        if rule is not None:
            layers += [part for part in (rule.part(risk), rule) if part is not None]

    def said(name: str, otherwise: Any) -> Any:
        return next((value for layer in layers if (value := getattr(layer, name)) is not None), otherwise)

    return Requirement(
        expires_after=said("expires_after", 4 * 3600.0),
        roles=said("roles", ()),
        quorum=said("quorum", 1),
        requester_may_approve=said("requester_may_approve", risk is not Risk.HIGH),
        identity=said("identity", Proof.AUTO),
        unless_denied_within=said("unless_denied_within", None) if risk is Risk.LOW else None,
    )


def silent_yes_after(rule: Requirement, *, needed: int, requester: str | None, doubtful: bool) -> float | None:
    """Seconds after which silence is a yes to a plan; None where somebody has to say yes.

    Args:
        rule: what it takes.
        needed: how many different people it takes.
        requester: canonical name of who asked for the run by hand: their asking must not be all the yes there is.
        doubtful: whether something is known for which a person has to decide in any mode.
    """
    said_alone = requester is not None and not rule.requester_may_approve
    return None if doubtful or needed > 1 or said_alone else rule.unless_denied_within


def refusing(
    rule: Requirement,
    decision: Decision,
    *,
    people: Collection[str],
    requester: str | None,
    needed: int,
    anybody_enrolled: bool,
) -> NotTaken | None:
    """Why this person's answer does not count under the rule; None when it does.

    Args:
        rule: what it takes.
        decision: the answer.
        people: names of the people of the rule's roles.
        requester: canonical name of who asked for the run by hand.
        needed: how many people the open approval takes.
        anybody_enrolled: whether somebody has a personal token or codes.
    """
    vouched = decision.vouched
    if vouched is Vouched.TYPED:
        # Nobody stands behind the name, so it counts only where no name matters.
        names_matter = rule.roles or needed > 1 or (requester is not None and not rule.requester_may_approve)
        if names_matter or anybody_enrolled or rule.identity is Proof.TOKEN:
            return NotTaken(Why.NOT_PROVEN, "A one-time code is needed: nobody vouches for a name that was only typed.")
    elif not vouched.proven and rule.proof_needed(anybody_enrolled):
        return NotTaken(Why.NOT_PROVEN, "A personal token is needed: a login name is not enough here.")
    who = printable(decision.person, 100)
    if rule.roles and decision.canonical not in {canonical(name) for name in people}:
        return NotTaken(Why.WRONG_ROLE, f"{who} may not decide this: it takes {' or '.join(rule.roles)}.")
    if decision.approve and not rule.requester_may_approve and decision.canonical == requester:
        return NotTaken(Why.REQUESTER, f"{who} started this run, so somebody else has to approve its plan.")
    return None
