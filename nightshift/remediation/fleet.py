"""Fleets: targets of one kind that stand in for each other, and how many of them may be missing at once.

What the catalogue says. The rules are in :mod:`nightshift.remediation.fleet_rules`, the measuring in
:mod:`nightshift.remediation.fleet_health`. The words follow what operators know: ``minHealthy`` and the storm cool-down
of the node health check operator, ``maxUnavailable`` of Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Target, Value

_PERCENT = re.compile(r"(\d{1,3})\s*%")
PLATFORM_KINDS = ("node", "pod", "deployment", "statefulset", "container", "service")
"""Kinds of targets that fleets may be made of although no runbook acts on them yet."""


class Share(Value):
    """A number of members, or a percentage of all."""

    amount: int = Field(ge=0)
    percent: bool = False

    @model_validator(mode="after")
    def _at_most_all(self) -> Share:
        if self.percent and self.amount > 100:
            raise ValueError("write at most 100%")
        return self

    def at_least(self, total: int) -> int:
        """How many of so many members that is, when fewer are too few."""
        return ceil(self._of(total))

    def at_most(self, total: int) -> int:
        """How many of so many members that is, when more are too many."""
        return floor(self._of(total))

    def _of(self, total: int) -> Fraction:
        return Fraction(self.amount * total, 100) if self.percent else Fraction(self.amount)

    def __str__(self) -> str:
        return f"{self.amount} %" if self.percent else str(self.amount)


def _parse_share(value: Any) -> Any:
    """``1`` (members) or ``60%``.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return {"amount": value}
    if not isinstance(value, str):
        return value
    if (match := _PERCENT.fullmatch(value.strip())) is None:
        raise ValueError("write a number of members such as 1, or a whole percentage such as 60%")
    return {"amount": int(match[1]), "percent": True}


_WRITTEN = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\s*\d{1,3}\s*%\s*$"}],
    "examples": [1, "60%"],
}
ShareOfFleet = Annotated[Share, BeforeValidator(_parse_share), WithJsonSchema(_WRITTEN, mode="validation")]
"""A number of members, or a percentage of all."""
TargetKind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Query = Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]
LabelOfMember = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class Storm(Value):
    """When so many members are unhealthy at once that the cause is probably none of them."""

    more_than: ShareOfFleet
    """More unhealthy members than this are a storm; a single one never is."""
    cooldown: Seconds = 1800
    """Once the fleet was seen well again, this long must pass before anything is done without an approval."""


class Fleet(Value):
    """Targets of one kind that stand in for each other: how their health is seen, and how many may be missing.

    A target in trouble that Nightshift knows of is unhealthy in any case: one with a live incident, or with one that
    ended without success and whose alert still fires.
    """

    kind: TargetKind
    """Kind of its members in targets: ``host``, ``node``, ``pod``, …"""
    below: TargetKind | None = None
    """Kind of what members belong to, e.g. ``deployment`` for pods: then each of those has a fleet of its own."""
    prometheus: Annotated[str, ConnectionOf("http")] | None = None
    """Name of the http connection that its queries are sent to."""
    members: Query | None = None
    """PromQL whose answer has a series for each member, whatever its value. Left out: every host or database among the
    connections, or the names that runbooks list in ``among``."""
    healthy: Query | None = None
    """PromQL whose answer has series, none of them 0, for each healthy member. Left out: what Nightshift knows decides.
    No answer, or an empty one, is no health that is known."""
    label: LabelOfMember | None = None
    """Label by which the answers name members; null: the one called as the kind."""
    below_label: LabelOfMember | None = None
    """Label by which the answers name what members belong to; null: the one called as that kind."""
    planned_upgrade: Query | None = None
    """PromQL that answers with something other than 0 while an upgrade is under way."""
    at_least_healthy: ShareOfFleet | None = None
    """So many must be healthy while a member is changed. That member counts as missing, whatever state it is in."""
    at_most_changed: ShareOfFleet | None = None
    """So many may be under change at once: from the first action until the incident has ended."""
    changed_within: Seconds = 0
    """Members whose incidents have ended count for this long after their last action, too."""
    storm: Storm | None = None
    """From when on nothing is done without an approval in the whole system, or with ``below`` in that part of it."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Fleet:
        queries = (self.members, self.healthy, self.planned_upgrade)
        if not any((self.at_least_healthy, self.at_most_changed, self.storm, self.planned_upgrade)):
            raise ValueError("limit something: at_least_healthy, at_most_changed, storm or planned_upgrade")
        if any(queries) and self.prometheus is None:
            raise ValueError("say which connection its queries are sent to: prometheus")
        if self.prometheus is not None and not any(queries):
            raise ValueError("write a query (members, healthy or planned_upgrade), or leave prometheus out")
        if self.below is not None and self.members is None:
            raise ValueError("with below, say by a query which members there are: members")
        if self.below == self.kind:
            raise ValueError("below is another kind than its members'")
        if self.below is None and self.below_label is not None:
            raise ValueError("below_label belongs to below")
        if self.changed_within and self.at_most_changed is None:
            raise ValueError("changed_within belongs to at_most_changed")
        if self.at_most_changed is not None and not self.at_most_changed.amount:
            raise ValueError("at_most_changed: write at least 1; for no change at all there is the mode observe")
        return self


@dataclass(frozen=True)
class Place:
    """Where a target stands in a fleet."""

    parent: str
    """What it belongs to; empty for a fleet without ``below``."""
    member: str


@dataclass(frozen=True)
class FleetOfSystem:
    """A fleet with its name, and the names the catalogue has for its members."""

    system: str
    name: str
    rule: Fleet
    names: Mapping[str, str]
    """Member by label value, for those that the catalogue names."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """The same for what members belong to."""

    @property
    def declared(self) -> frozenset[str]:
        """Members that the catalogue names."""
        return frozenset(self.names.values())

    def place_of(self, target: Target) -> Place | None:
        """The member that a target is, or is a part of; None: of this fleet it is none."""
        parts = dict(zip(target.path[::2], target.path[1::2], strict=False))
        parent = self.parent_of(target)
        if target.system != self.system or self.rule.kind not in parts or parent is None:
            return None
        return Place(parent, parts[self.rule.kind])

    def parent_of(self, target: Target) -> str | None:
        """The fleet, of several with ``below``, whose trouble concerns a target; None: none of them does."""
        if self.rule.below is None:
            return ""
        return dict(zip(target.path[::2], target.path[1::2], strict=False)).get(self.rule.below)

    def title(self, parent: str) -> str:
        """For people; names from Prometheus are shown through ``printable`` by whoever shows it."""
        return f"fleet {self.name} of {parent}" if parent else f"fleet {self.name}"
