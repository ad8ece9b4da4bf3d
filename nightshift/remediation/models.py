"""The vocabulary every runbook shares: alert, target, finding, action, plan, approval, outcome.

All of them are values: frozen, typed, with a canonical JSON form. The same plan is the dry run, the
approval form, the journal entry and the report, so it must never change after it was shown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from functools import reduce
from typing import Any, Literal
from urllib.parse import quote, unquote
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from nightshift.remediation.text import one_of

ACTION_NAMESPACE = UUID("6f1f4f0e-5d0a-5e63-9d0c-0b9c5a0a2f11")
"""Namespace of action ids; never change it: the ids are the memory of what was done."""


class Value(BaseModel):
    """Base of all values: frozen, and strict about unknown fields so that a typo cannot pass silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Severity(StrEnum):
    """How urgent an alert is, most urgent first."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"

    @property
    def urgency(self) -> int:
        """0 is the most urgent."""
        return list(Severity).index(self)


class Risk(StrEnum):
    """What an action can cost when it turns out to be wrong, smallest first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 is the smallest risk."""
        return list(Risk).index(self)


class Mode(StrEnum):
    """How much a runbook may do by itself on a system."""

    OBSERVE = "observe"
    """Diagnose and report; change nothing."""
    PROPOSE = "propose"
    """Every change needs an approval."""
    ASSIST = "assist"
    """Low risk by itself, everything else by approval."""
    AUTO = "auto"
    """Everything its policy allows by itself."""

    def may_do_alone(self, risk: Risk) -> bool:
        """Whether an action of this risk needs no approval in this mode."""
        return self is Mode.AUTO or (self is Mode.ASSIST and risk is Risk.LOW)


class UndoWhen(StrEnum):
    """When Nightshift takes an action back."""

    NONE = "none"
    """Never: it has no undo of its own. The words beside it say what people can do, or that nothing can be done."""
    BY_HAND = "by_hand"
    """Only when a person says so (``nightshift undo``): by itself it could make things worse."""
    INEFFECTIVE = "ineffective"
    """By itself, as soon as it was measured that the repair did not help: keeping it would be useless or harmful."""


class Target(Value):
    """The one thing a runbook acts on, as a path in the tree of its system.

    A lease on a node of the tree covers everything below it: the lease of a host covers its filesystems.
    """

    system: str
    path: tuple[str, ...] = Field(min_length=1)
    """Pairs of kind and name, outermost first: ``("host", "web1", "filesystem", "/data")``."""

    @property
    def key(self) -> str:
        """Unambiguous text form, one segment per path element: ``shop/host/web1/filesystem/%2Fdata``."""
        return "/".join(quote(part, safe="") for part in (self.system, *self.path))

    @classmethod
    def from_key(cls, key: str) -> Target:
        """The inverse of :attr:`key`."""
        system, *path = (unquote(part) for part in key.split("/"))
        return cls(system=system, path=tuple(path))

    def part(self, kind: str) -> str:
        """The name of the element of this kind, e.g. ``part("host")``.

        Raises:
            KeyError: the target has no such element.
        """
        pairs = dict(zip(self.path[::2], self.path[1::2], strict=False))
        return pairs[kind]

    @property
    def label(self) -> str:
        """Short form for people: ``web1 /data``."""
        # An endpoint is named by its address, as an alert does; its scheme says nothing more to people.
        return " ".join(name.removeprefix("https://") for name in self.path[1::2])

    def __str__(self) -> str:
        return f"{self.system} {self.label}"


class Alert(Value):
    """One alert as Alertmanager sent it. Every text in it is hostile until it was matched against the catalogue."""

    source: str
    fingerprint: str
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: datetime
    ends_at: datetime | None = None
    generator_url: str = ""

    @property
    def name(self) -> str:
        """The ``alertname`` label, empty when there is none."""
        return self.labels.get("alertname", "")


class Quantity(Value):
    """An amount with its unit, e.g. 1,048,576 ``bytes`` or 1 ``pods``."""

    amount: int = Field(ge=0)
    unit: str

    def __str__(self) -> str:
        if self.unit == "bytes":
            return format_bytes(self.amount)
        return f"{self.amount:,} {one_of(self.unit) if self.amount == 1 else self.unit}"


class Finding(Value):
    """One observed fact."""

    title: str
    detail: str = ""
    data: dict[str, JsonValue] = {}
    troubling: bool = False
    """Whether a person should read it first."""


class Impact(Value):
    """What a change touches and who uses that, as the diagnosis measured it: for who decides.

    It informs and binds nobody: the number of users changes from look to look. What binds is the action's bound.
    """

    what: str
    how_much: str
    users: str
    """Who uses it, with their number where it was measured, or that it could not be."""

    def __str__(self) -> str:
        return f"{self.what}, {self.how_much}; used by: {self.users}"


class Action(Value):
    """One change to one target, with everything needed to judge it before and prove it after."""

    kind: str
    """Name of a registered action kind, e.g. ``delete_files``."""
    target: Target
    arguments: dict[str, JsonValue] = {}
    items: tuple[str, ...] = ()
    """Identities of the single things it touches (path and inode, pod uid, …); an approval covers no others."""
    title: str
    reason: str
    risk: Risk
    asks: str = ""
    """Why a person has to decide about it in any mode, as a sentence; empty: the mode says who does."""
    approvals: int = Field(default=1, ge=1, le=5)
    """How many different people it takes at least; above 1 in any mode, and whatever the catalogue says."""
    bound: Quantity
    """It stops or refuses before it would affect more than this."""
    gain: Quantity | None = None
    """What it is expected to bring; None where that cannot be known."""
    undo: str
    """How it is undone, or the words "cannot be undone"."""
    undo_when: UndoWhen = UndoWhen.NONE
    """Who undoes it: approving the action approves an undo that it announces here."""
    impact: Impact | None = None
    """What it touches and who uses that; no part of what is approved, see :class:`Impact`."""
    undoes: UUID | None = None
    """The action that this one takes back; its id."""

    def id_in(self, incident_id: int) -> UUID:
        """The action's id within an incident: the same step of a re-run is the same action."""
        parts: list[Any] = [incident_id, self.kind, self.target.key, self.arguments]
        if self.undoes is not None:  # ids of other actions are as they were before there was undoing
            parts.append(str(self.undoes))
        return uuid5(ACTION_NAMESPACE, canonical_json(parts))

    @property
    def limits(self) -> str:
        """For people: its risk, its bound, and how many it takes where that is more than one."""
        takes = f"; it takes {self.approvals} different people" if self.approvals > 1 else ""
        return f"{self.risk.value} risk; at most {self.bound}{takes}"

    def approved_part(self) -> dict[str, Any]:
        """What of it people approve, as JSON."""
        # Digests of what one person approves are as they were before some actions took two.
        left_out = {"impact"} if self.approvals > 1 else {"impact", "approvals"}
        return self.model_dump(mode="json", exclude=left_out)

    def within(self, approved: Action) -> bool:
        """Whether carrying this out stays inside what was approved with another, earlier action."""
        return (
            self.kind == approved.kind
            and self.target == approved.target
            and self.undoes == approved.undoes
            and self.risk.rank <= approved.risk.rank
            and self.approvals <= approved.approvals
            and set(self.items) <= set(approved.items)
            and self.bound.unit == approved.bound.unit
            and self.bound.amount <= approved.bound.amount
        )

    def bounded_by(self, approved: Action) -> Action:
        """This action, its bound lowered to the approved one where what it expects to affect still fits inside.

        A bound with slack for growth is larger each time one looks; the approved slack is the one that holds.
        """
        fits = (
            self.gain is not None
            and self.gain.unit == self.bound.unit == approved.bound.unit
            and self.gain.amount <= approved.bound.amount < self.bound.amount
        )
        lowered = self.model_copy(update={"bound": approved.bound}) if fits else self
        return lowered if lowered.within(approved) else self


class Refusal(Value):
    """A change that was considered and must not be made, with the reason the approver gets to see."""

    what: str
    reason: str
    lifted_by: str | None = None
    """What a person could change to allow it."""


class HandOver(Value):
    """Another runbook of the system, which repairs what was found: an incident is opened about it."""

    why: str
    """What was found, in words."""
    runbook: str = ""
    """Its alert; empty: the first with one of the flows."""
    flows: tuple[str, ...] = ()
    place: dict[str, str] = {}
    """What it is about, by kind: ``{"host": "web1", "filesystem": "/"}``; what is missing is the runbook's default."""


class Proposal(Value):
    """Something that may help but only a person, or another runbook, can do; in words precise enough to do it."""

    title: str
    detail: str = ""
    reason: str = ""
    hand_over: HandOver | None = None
    """Who else may do it; where nothing is done here, an incident is opened for that."""


class Symptom(Value):
    """What is wrong, how that is measured, and how long it must stay away before it counts as solved."""

    what: str
    """The trouble."""
    solved: str
    """What must be measured instead."""
    measured_by: str
    hold: float = Field(gt=0)
    """Seconds on end for which it must be measured."""
    allowances: tuple[str, ...] = ()
    """What is waited for before anything is called a failure."""


class Plan(Value):
    """Ordered actions towards a goal, least harmful first, with what was refused and what is left for people."""

    goal: str
    target: Target
    actions: tuple[Action, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    expected: str = ""
    """What the world should look like afterwards, in words."""
    symptom: Symptom | None = None
    """When it counts as solved; not part of the digest, which is about what is done."""
    separable: bool = False
    """Whether each action helps by itself, so that the approver may choose some of them."""

    @property
    def digest(self) -> str:
        """SHA-256 of what would be done: an approval belongs to exactly this."""
        done = [action.approved_part() for action in self.actions]
        return hashlib.sha256(canonical_json([self.target.key, done]).encode()).hexdigest()

    @property
    def risk(self) -> Risk:
        """The highest risk among the actions."""
        return max((action.risk for action in self.actions), key=lambda risk: risk.rank, default=Risk.LOW)

    @property
    def approvals(self) -> int:
        """How many different people it takes at least: as many as the action that takes most."""
        return max((action.approvals for action in self.actions), default=1)

    def within(self, approved: Plan) -> bool:
        """Whether every action stays inside an action of an earlier, approved plan for the same target."""
        return self.target == approved.target and all(
            any(action.within(other) for other in approved.actions) for action in self.actions
        )

    def bounded_by(self, approved: Plan) -> Plan:
        """This plan with every action held to the bounds of the approved actions (see :meth:`Action.bounded_by`)."""
        actions = tuple(reduce(Action.bounded_by, approved.actions, action) for action in self.actions)
        return self.model_copy(update={"actions": actions})


class Outcome(StrEnum):
    """How an incident ended."""

    RESOLVED = "resolved"
    """The symptom is gone and stayed gone."""
    EXPECTED = "expected"
    """Nothing to do: what was measured is as it should be."""
    NOT_APPROVED = "not_approved"
    """A person said no, or nobody answered in time."""
    ESCALATED = "escalated"
    """Handed to a person."""
    JOINED = "joined"
    """An effect of another incident, which has its alerts now; nothing was done about it by itself."""


class Verdict(Value):
    """The result of verifying: is the symptom gone, and what shows it."""

    healthy: bool
    reason: str
    findings: tuple[Finding, ...] = ()
    inconclusive: bool = False
    """It could not be measured. That counts as no help, but it is no reason to undo what may have helped."""


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def format_bytes(amount: int) -> str:
    """Bytes for people, in binary units: ``1.5 GiB``."""
    size = float(amount)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def total(quantities: Iterable[Quantity | None], unit: str = "bytes") -> int:
    """Sum of the amounts given in this unit."""
    return sum(q.amount for q in quantities if q is not None and q.unit == unit)
