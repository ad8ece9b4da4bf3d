"""What people decide about plans: who says it and what vouches for them, and why an answer was not taken. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nightshift.remediation.people import canonical
from nightshift.remediation.text import counted


class Vouched(StrEnum):
    """What stands behind a person's name."""

    TOKEN = "token"  # noqa: S105 - not a token, the word for one
    CODE = "code"
    LOGIN = "login"
    """The machine's user account on the command line."""
    TYPED = "typed"
    """Nothing: whoever reached the form has typed it."""

    @property
    def proven(self) -> bool:
        """Whether the person has shown something that only they have."""
        return self in (Vouched.TOKEN, Vouched.CODE)


@dataclass(frozen=True)
class UsedCode:
    """A one-time code that was right: whose, and of which half minute."""

    person_id: int
    step: int
    secret: str = field(repr=False)
    """What it was made from, encrypted, as the ledger has it: it counts only until the person gets another."""


@dataclass(frozen=True)
class Identity:
    """A person who has shown who they are, and how."""

    name: str
    via: str
    """How it came in and what vouches for the name, e.g. ``command line, login root``."""
    vouched: Vouched
    credential: str | None = None
    """Public id of the token, or ``code``."""
    code: UsedCode | None = None
    """To be used up together with the decision that it vouches for."""


@dataclass(frozen=True)
class Decision:
    """One person's answer."""

    person: str
    via: str
    """How it came in and what vouches for the name, e.g. ``command line, login root``."""
    approve: bool
    comment: str = ""
    vouched: Vouched = Vouched.LOGIN
    credential: str | None = None
    code: UsedCode | None = None
    in_form: bool = False
    """Whether it was given in the form of the waiting flow run, which then has to ask with a new one."""
    alternative: int | None = None
    """Number, from 1, of the alternative that is approved instead of the plan."""

    @classmethod
    def of(
        cls, who: Identity, approve: bool, comment: str, *, in_form: bool = False, alternative: int | None = None
    ) -> Decision:
        """The answer of an identified person."""
        return cls(who.name, who.via, approve, comment, who.vouched, who.credential, who.code, in_form, alternative)

    @property
    def canonical(self) -> str:
        """The person, spelled in the one way that is compared."""
        return canonical(self.person)


class Why(StrEnum):
    """Kinds of reasons for which an answer is not taken."""

    NOT_IDENTIFIED = "not_identified"
    TOO_MANY_FAILURES = "too_many_failures"
    CODE_USED = "code_used"
    NOT_PROVEN = "not_proven"
    WRONG_ROLE = "wrong_role"
    REQUESTER = "requester"
    NEVER_ASKED = "never_asked"
    REPLACED = "replaced"
    DECIDED = "decided"
    TOO_LATE = "too_late"
    NO_ALTERNATIVE = "no_alternative"
    SAID_ALREADY = "said_already"
    NO_RULE = "no_rule"
    """The catalogue does not know the runbook any more, so nobody can tell who may."""


@dataclass(frozen=True)
class NotTaken:
    """An answer that does not count, and why, in words for the one who gave it."""

    why: Why
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Progress:
    """How many people have approved, and how many it takes."""

    approved_by: tuple[str, ...]
    needed: int

    @property
    def missing(self) -> int:
        """How many more people it takes."""
        return max(self.needed - len(self.approved_by), 0)

    @property
    def in_words(self) -> str:
        """``1 of 2 people have approved (Ana), 1 more is needed``; the names are as they were given."""
        who = f" ({', '.join(self.approved_by)})" if self.approved_by else ""
        more = f", {self.missing} more {'is' if self.missing == 1 else 'are'} needed" if self.missing else ""
        return f"{len(self.approved_by)} of {counted(self.needed, 'person', 'people')} have approved{who}{more}"


@dataclass(frozen=True)
class Requester:
    """Who started a run by hand."""

    by_hand: bool = False
    name: str | None = None
    """Canonical; None when nobody knows: Prefect's own UI has no people."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Requester:
        """As the options of an incident tell; an incident that an alert opened has none."""
        return cls(bool(options), options.get("requester"))

    def needed(self, quorum: int, *, may_approve: bool) -> int:
        """How many different people make sure that a quorum of them did not ask for it themselves.

        Where the requester is not known, any one of those who approve may be it; so it takes one more.
        """
        return quorum + 1 if self.by_hand and self.name is None and not may_approve else quorum


def on_silence(until: str, *, acts: bool) -> str:
    """What becomes of a plan about which nobody says anything until this moment."""
    if acts:
        return f"Acts at {until} unless somebody denies."
    return f"Without an answer by {until} it counts as denied."
