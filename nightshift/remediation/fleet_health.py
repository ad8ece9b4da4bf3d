"""Looking at fleets: which members there are, which of them are healthy, and whether an upgrade is under way.

What cannot be measured is said to be unknown, with the reason; it never counts as healthy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isnan

from nightshift.remediation.actions import Connections
from nightshift.remediation.clients.prometheus import Sample, query
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NightshiftError, TargetUnreachableError
from nightshift.remediation.fleet import FleetOfSystem
from nightshift.remediation.fleet_rules import Measured, Sight, Unknown

Ask = Callable[[str], list[Sample]]
Found = dict[str, set[str]]
"""Members by what they belong to."""


class _Unmeasured(Exception):  # noqa: N818 - a result, carried to the one place that makes a Sight of it
    """A query has no answer that can be used."""


@dataclass(frozen=True)
class _Asker:
    """Sends queries to Prometheus; one that is not there is not asked again."""

    connections: Connections
    gone: dict[str, str]

    def ask(self, name: str, expression: str) -> list[Sample]:
        if name in self.gone:
            raise _Unmeasured(self.gone[name])
        connection = self.connections.get(name)
        if not isinstance(connection, HttpConnection):
            raise _Unmeasured(f"the system has no http connection {name!r}")
        try:
            return query(name, connection, expression)
        except NightshiftError as error:
            why = error.message.rstrip(".")
            if isinstance(error, TargetUnreachableError):
                self.gone[name] = why
            raise _Unmeasured(why) from None


def look_at(fleets: Iterable[FleetOfSystem], connections: Connections) -> Mapping[str, Sight]:
    """One look at each of these fleets of one system, by name."""
    asker = _Asker(connections, {})
    return {fleet.name: _look(fleet, asker) for fleet in fleets}


def _look(fleet: FleetOfSystem, asker: _Asker) -> Sight:
    def ask(expression: str) -> list[Sample]:
        return asker.ask(fleet.rule.prometheus or "", expression)

    groups: Mapping[str, Measured] | Unknown
    upgrade: bool | Unknown
    try:
        groups = _groups(fleet, ask)
    except _Unmeasured as why:
        groups = Unknown(str(why))
    try:
        expression = fleet.rule.planned_upgrade
        upgrade = expression is not None and any(_says_yes(sample) for sample in ask(expression))
    except _Unmeasured as why:
        upgrade = Unknown(str(why))
    return Sight(groups, upgrade)


def _groups(fleet: FleetOfSystem, ask: Ask) -> Mapping[str, Measured]:
    members: Mapping[str, Iterable[str]] = {"": fleet.declared}
    if fleet.rule.members is not None:
        members = _named(fleet, "members", ask(fleet.rule.members))
    if fleet.rule.healthy is None:
        return {parent: Measured(frozenset(names)) for parent, names in members.items()}
    samples = ask(fleet.rule.healthy)
    named = _named(fleet, "healthy", samples)
    # Several series about one member must all say yes.
    ailing = _named(fleet, "healthy", [sample for sample in samples if not _says_yes(sample)], may_be_empty=True)
    return {
        parent: Measured(frozenset(names), frozenset(named.get(parent, set()) - ailing.get(parent, set())))
        for parent, names in members.items()
    }


def _named(fleet: FleetOfSystem, which: str, samples: list[Sample], *, may_be_empty: bool = False) -> Found:
    """The members that an answer names."""
    rule = fleet.rule
    if not samples and not may_be_empty:
        raise _Unmeasured(f"the query {which!r} has an empty answer")
    found: Found = {}
    for sample in samples:
        parent = "" if rule.below is None else _label(sample, which, rule.below_label or rule.below)
        member = _label(sample, which, rule.label or rule.kind)
        found.setdefault(fleet.parents.get(parent, parent), set()).add(fleet.names.get(member, member))
    return found


def _label(sample: Sample, which: str, label: str) -> str:
    value = sample.metric.get(label)
    if not value:
        raise _Unmeasured(f"the query {which!r} has series without the label {label!r}")
    return value


def _says_yes(sample: Sample) -> bool:
    number = sample.value[1]
    return number != 0 and not isnan(number)
