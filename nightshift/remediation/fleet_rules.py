"""What a fleet's health means for one action: pure rules.

Two kinds of answers. A **share** (``at_least_healthy``, ``at_most_changed``) is a bound: what would exceed it, or
cannot be told, is refused, whoever approves. A **storm**, a planned upgrade, or a health that cannot be told mean that
nothing is done *by itself*: a person who was told of it may decide otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nightshift.remediation.fleet import FleetOfSystem, Place, Storm
from nightshift.remediation.text import age_in_words, listed, printable

ASK = "A person has to decide."


@dataclass(frozen=True)
class Unknown:
    """What could not be measured, and why; safe to show."""

    why: str


@dataclass(frozen=True)
class Measured:
    """What was measured of one fleet."""

    members: frozenset[str]
    healthy: frozenset[str] | None = None
    """None: nothing measures it, and what Nightshift knows of its members decides."""


@dataclass(frozen=True)
class Sight:
    """One look at a fleet of the catalogue, with all its parts if it has ``below``."""

    groups: Mapping[str, Measured] | Unknown
    """By what members belong to; without ``below`` there is one, and its name is empty."""
    upgrade: bool | Unknown = False

    def of(self, parent: str) -> Measured | Unknown:
        """What was seen of one."""
        if isinstance(self.groups, Unknown):
            return self.groups
        return self.groups.get(parent) or Unknown("no member of it is known")


@dataclass(frozen=True)
class Health:
    """Members, and which of them are unhealthy: measured, or known to be in trouble."""

    members: frozenset[str]
    unhealthy: frozenset[str]

    @classmethod
    def of(cls, measured: Measured, troubled: Collection[str]) -> Health:
        """A member is healthy when it was measured to be, and no trouble with it is known."""
        healthy = measured.members if measured.healthy is None else measured.healthy
        return cls(measured.members, measured.members - (healthy - frozenset(troubled)))


@dataclass(frozen=True)
class Doubt:
    """Why nothing may be done without an approval, and since when: who was asked earlier did not know of it."""

    reason: str
    since: datetime | None
    """None: nobody can tell, and any approval will do."""


@dataclass(frozen=True)
class Condition:
    """What the ledger remembers of one fleet, so that a cool-down outlives every process."""

    seen_at: datetime
    """When it was last looked at."""
    sick_since: datetime | None = None
    """Begin of the storm that is not over, its cool-down included; None: there is none."""
    well_since: datetime | None = None
    """When it was first seen well again; None: not yet."""
    unknown_since: datetime | None = None
    upgrade_since: datetime | None = None

    def in_storm(self, cooldown: float, now: datetime) -> bool:
        """Whether a storm rages or its cool-down runs. A cool-down begins when the fleet is *seen* well again."""
        if self.sick_since is None:
            return False
        over = self.cooled_at(cooldown)
        return over is None or now < over

    def cooled_at(self, cooldown: float) -> datetime | None:
        """When the cool-down ends; None: it has not begun."""
        return None if self.well_since is None else self.well_since + timedelta(seconds=cooldown)


def is_sick(storm: Storm | None, health: Health) -> bool:
    """Whether so many are unhealthy that it is a storm; one alone never is."""
    if storm is None:
        return False
    return len(health.unhealthy) > max(1, storm.more_than.at_most(len(health.members)))


def after(
    before: Condition | None,
    at: datetime,
    health: Health | Unknown,
    *,
    upgrade: bool | Unknown = False,
    storm: Storm | None,
) -> Condition:
    """The condition after a look. One that is older than the last counts only if it saw a storm."""
    before = before or Condition(at)
    sick = isinstance(health, Health) and is_sick(storm, health)
    if at < before.seen_at and not sick:
        return before
    unknown = isinstance(health, Unknown) or isinstance(upgrade, Unknown)
    now = replace(
        before,
        seen_at=max(at, before.seen_at),
        unknown_since=(before.unknown_since or at) if unknown else None,
        upgrade_since=(before.upgrade_since or at) if upgrade is True else None,
    )
    if isinstance(upgrade, Unknown):
        now = replace(now, upgrade_since=before.upgrade_since)
    on = storm is not None and before.in_storm(storm.cooldown, at)
    if sick:
        return replace(now, sick_since=before.sick_since if on else at, well_since=None)
    if not on:
        return replace(now, sick_since=None, well_since=None)
    if isinstance(health, Unknown):
        return replace(now, well_since=None)  # it may be sick again: the cool-down begins anew when it is seen well
    return replace(now, well_since=before.well_since or at)


def refusal(
    fleet: FleetOfSystem,
    place: Place,
    measured: Measured | Unknown,
    troubled: Collection[str],
    changed: Collection[str],
) -> str | None:
    """Why a member may not be changed now, whoever approves; None when the fleet can spare it.

    Args:
        fleet: the fleet that the target is a member of.
        place: where in it the target stands.
        measured: what was just measured.
        troubled: members that are known to be in trouble; it does not matter whether the target is one.
        changed: members under change; it does not matter whether the target is one.
    """
    if isinstance(measured, Measured) and place.member not in measured.members:
        measured = Unknown(f"{printable(place.member, 80)} is not among its members")
    return _too_many_changed(fleet, place, measured, changed) or _too_few_healthy(fleet, place, measured, troubled)


def _too_many_changed(
    fleet: FleetOfSystem, place: Place, measured: Measured | Unknown, changed: Collection[str]
) -> str | None:
    limit = fleet.rule.at_most_changed
    if limit is None:
        return None
    title = _title(fleet, place.parent)
    if isinstance(measured, Measured):
        most = limit.at_most(len(measured.members))
    elif limit.percent:
        return f"How many {limit} of {title} are cannot be told: {measured.why}."
    else:
        most = limit.amount
    others = frozenset(changed) - {place.member}
    if len(others) < most:
        return None
    recent = f", or within {age_in_words(fleet.rule.changed_within)}" if fleet.rule.changed_within else ""
    rule = f"Of {title} at most {limit} may be under change at once{recent}"
    if not others:
        return f"{rule}, and that leaves no room for a single one."
    return f"{rule}: {_names(others)} {'is' if len(others) == 1 else 'are'}."


def _too_few_healthy(
    fleet: FleetOfSystem, place: Place, measured: Measured | Unknown, troubled: Collection[str]
) -> str | None:
    limit = fleet.rule.at_least_healthy
    if limit is None:
        return None
    title = _title(fleet, place.parent)
    if isinstance(measured, Unknown):
        return f"How healthy {title} is cannot be told: {measured.why}."
    health = Health.of(measured, troubled)
    total, missing = len(health.members), health.unhealthy | {place.member}
    if total - len(missing) >= limit.at_least(total):
        return None
    others = missing - {place.member}
    why = f"unhealthy: {_names(others)}" if others else "it leaves no room for a single one"
    return (
        f"Of {title} at least {limit} must be healthy while one is changed: "
        f"without {printable(place.member, 80)} it would be {total - len(missing)} of {total} ({why})."
    )


def doubts(
    fleet: FleetOfSystem,
    parent: str,
    sight: Sight,
    troubled: Collection[str],
    condition: Condition | None,
    now: datetime,
) -> list[Doubt]:
    """Why nothing is done by itself in what this fleet stands for."""
    found: list[Doubt] = []
    title, storm, measured = _title(fleet, parent), fleet.rule.storm, sight.of(parent)
    condition = condition or Condition(now)
    if storm is not None:
        if isinstance(measured, Unknown):
            reason = f"How healthy {title} is cannot be told: {measured.why}. {ASK}"
            found.append(Doubt(reason, condition.unknown_since))
        found += _storm(title, storm, measured, troubled, condition, now)
    if isinstance(sight.upgrade, Unknown):
        reason = f"Whether an upgrade of {title} is under way cannot be told: {sight.upgrade.why}. {ASK}"
        found.append(Doubt(reason, condition.unknown_since))
    elif sight.upgrade:
        found.append(Doubt(f"An upgrade of {title} is under way. {ASK}", condition.upgrade_since or now))
    return found


def _storm(
    title: str,
    storm: Storm,
    measured: Measured | Unknown,
    troubled: Collection[str],
    condition: Condition,
    now: datetime,
) -> list[Doubt]:
    health = Health.of(measured, troubled) if isinstance(measured, Measured) else None
    if health is not None and is_sick(storm, health):
        number, total = len(health.unhealthy), len(health.members)
        reason = f"Of {title}, {number} of {total} are unhealthy ({_names(health.unhealthy)}): a storm. {ASK}"
        return [Doubt(reason, condition.sick_since or now)]
    if condition.sick_since is None or not condition.in_storm(storm.cooldown, now):
        return []
    return [Doubt(f"{cooling(title, storm, condition)} {ASK}", condition.sick_since)]


def cooling(title: str, storm: Storm, condition: Condition) -> str:
    """What holds after a storm, in words."""
    since = f"A storm in {title} began {condition.sick_since:%Y-%m-%d %H:%M} UTC"
    end = condition.cooled_at(storm.cooldown)
    if end is None:
        return f"{since}, and it has not been seen well since."
    return f"{since}; the cool-down of {age_in_words(storm.cooldown)} ends at {end:%H:%M:%S} UTC."


def leaves_no_room(fleet: FleetOfSystem, total: int) -> str | None:
    """Why a limit can never be met by a fleet of this size, healthy as it may be; None when it can."""
    healthy, changed = fleet.rule.at_least_healthy, fleet.rule.at_most_changed
    if healthy is not None and healthy.at_least(total) > total - 1:
        return f"of {total} none may ever be missing, with at least {healthy} healthy"
    if changed is not None and changed.at_most(total) < 1:
        return f"of {total} none may ever be changed, with at most {changed}"
    return None


def _title(fleet: FleetOfSystem, parent: str) -> str:
    return fleet.title(printable(parent, 80))


def _names(names: Collection[str]) -> str:
    return listed([printable(name, 80) for name in sorted(names)], most=5)
