"""Which alerts belong together, and which of them is the cause: a pure function of a set of alerts.

It does not depend on the order in which they came, so an effect that came before its cause ends up where it would have
ended up after it; and every alert gets exactly one place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from nightshift.catalogue.correlation import CauseRule, Correlation, Effects, Rule, SameTroubleRule, has
from nightshift.catalogue.models import CONNECTED_KINDS
from nightshift.remediation.models import Target

Identity = tuple[str, str, datetime]
"""Source, fingerprint and start of an alert."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One alert, as far as rules look at it."""

    id: Identity
    system: str
    name: str
    """As the catalogue has it."""
    labels: Mapping[str, str]
    target: Target | None = None
    """None: it names none."""

    @property
    def at(self) -> datetime:
        """When it started, by its source."""
        return self.id[2]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an alert belongs."""

    trouble: Identity
    """The first of the alerts that are one trouble with it."""
    root: Identity
    """The first of the alerts of its cause; of its own trouble when it has none."""
    rule: Rule | None
    """What says that it is an effect, or that its trouble has several alerts; None: it stands for itself."""

    @property
    def is_effect(self) -> bool:
        """Whether something else is its cause."""
        return self.root != self.trouble


def partition(correlation: Correlation, sightings: Iterable[Sighting]) -> dict[Identity, Place]:
    """The place of every alert. Systems do not mix; of several causes the first rule's counts, then the oldest."""
    by_system: dict[str, dict[Identity, Sighting]] = defaultdict(dict)
    for sighting in sightings:
        by_system[sighting.system][sighting.id] = sighting
    places: dict[Identity, Place] = {}
    for system, seen in by_system.items():
        places |= _Partition(correlation, system, list(seen.values())).places()
    return places


class _Partition:
    """The alerts of one system."""

    def __init__(self, correlation: Correlation, system: str, seen: Sequence[Sighting]) -> None:
        self._seen = sorted(seen, key=_age)
        self._causes = [rule for rule in correlation.causes if system in rule.systems]
        self._same = [rule for rule in correlation.same if system in rule.systems]
        self._needs = correlation.clients_of(system)
        self._parent: dict[Identity, Identity] = {sighting.id: sighting.id for sighting in self._seen}

    def places(self) -> dict[Identity, Place]:
        said_by = self._unite()
        troubles = {sighting.id: self._find(sighting.id) for sighting in self._seen}
        best: dict[Identity, tuple[int, Identity]] = {}
        clauses = [(rule, effects) for rule in self._causes for effects in rule.effects]
        for rank, (rule, effects) in enumerate(clauses):
            for effect, cause in self._pairs(rule, effects, troubles):
                if effect != cause:
                    best[effect] = min(best.get(effect, (rank, cause)), (rank, cause), key=_rank)
        return {
            sighting.id: Place(
                trouble := troubles[sighting.id],
                _root(trouble, best),
                clauses[best[trouble][0]][0] if trouble in best else said_by.get(sighting.id),
            )
            for sighting in self._seen
        }

    def _unite(self) -> dict[Identity, SameTroubleRule]:
        """Make alerts of one trouble one; which rule says so of which alert."""
        by_target: dict[tuple[str, str], list[Sighting]] = defaultdict(list)
        for sighting in self._seen:
            if sighting.target is not None:
                by_target[sighting.name, sighting.target.key].append(sighting)
        for alike in by_target.values():
            self._join(alike, None)
        said_by: dict[Identity, SameTroubleRule] = {}
        for rule in self._same:
            by_key: dict[tuple[str, ...], list[Sighting]] = defaultdict(list)
            for sighting in self._seen:
                if sighting.name in rule.alerts and (key := rule.key(sighting.labels)) is not None:
                    by_key[key].append(sighting)
                    said_by.setdefault(sighting.id, rule)
            for alike in by_key.values():
                self._join(alike, timedelta(seconds=rule.within))
        return said_by

    def _join(self, alike: Sequence[Sighting], within: timedelta | None) -> None:
        for first, second in pairwise(alike):  # oldest first
            if within is None or second.at - first.at <= within:
                one, other = sorted((self._find(first.id), self._find(second.id)), key=_by_age)
                self._parent[other] = one

    def _find(self, identity: Identity) -> Identity:
        while (parent := self._parent[identity]) != identity:
            self._parent[identity] = self._parent[parent]
            identity = parent
        return identity

    def _pairs(
        self, rule: CauseRule, effects: Effects, troubles: Mapping[Identity, Identity]
    ) -> Iterator[tuple[Identity, Identity]]:
        """The troubles of which the second is the cause of the first, by one clause of a rule."""
        spans: dict[Hashable, dict[Identity, tuple[datetime, datetime]]] = defaultdict(dict)
        for sighting in self._seen:
            if _is_cause(rule, sighting) and (key := _cause_key(effects, sighting)) is not None:
                first, _ = spans[key].get(troubles[sighting.id], (sighting.at, sighting.at))
                spans[key][troubles[sighting.id]] = (first, sighting.at)
        if not spans:
            return
        before, after = timedelta(seconds=rule.before), timedelta(seconds=rule.after)
        for sighting in self._seen:
            if sighting.name in effects.alerts and has(sighting.labels, effects.having):
                for key in self._effect_keys(effects, sighting):
                    for trouble, (first, last) in spans.get(key, {}).items():
                        if first - before <= sighting.at <= last + after:
                            yield troubles[sighting.id], trouble

    def _effect_keys(self, effects: Effects, sighting: Sighting) -> Iterator[Hashable]:
        """What a cause of this alert must have in common with it."""
        labels = tuple(sighting.labels.get(label, "") for label in effects.labels)
        if not all(labels):
            return
        if effects.target is None:
            yield labels, None
        elif sighting.target is not None:
            path = sighting.target.path
            if effects.target == "same":
                yield labels, path
            elif effects.target == "below":
                yield from ((labels, path[:length]) for length in range(2, len(path), 2))
            else:
                needed = {on for name in _connections(path) for on in self._needs.get(name, ())}
                yield from ((labels, on) for on in sorted(needed))


def _is_cause(rule: CauseRule, sighting: Sighting) -> bool:
    cause = rule.cause
    if sighting.name not in cause.alerts or not has(sighting.labels, cause.having):
        return False
    return cause.kind is None or (sighting.target is not None and sighting.target.path[-2] == cause.kind)


def _cause_key(effects: Effects, sighting: Sighting) -> Hashable | None:
    labels = tuple(sighting.labels.get(label, "") for label in effects.labels.values())
    if not all(labels):
        return None
    if effects.target is None:
        return labels, None
    if sighting.target is None:
        return None
    if effects.target == "dependent":
        return next(((labels, name) for name in _connections(sighting.target.path)), None)
    return labels, sighting.target.path


def _connections(path: Sequence[str]) -> Iterator[str]:
    """The connections a target lies on, innermost first."""
    pairs = list(zip(path[::2], path[1::2], strict=True))
    return (name for kind, name in reversed(pairs) if kind in CONNECTED_KINDS)


def _root(trouble: Identity, best: Mapping[Identity, tuple[int, Identity]]) -> Identity:
    """The cause that has none; the check of the rules at start leaves no circles."""
    passed = {trouble}
    while trouble in best and (cause := best[trouble][1]) not in passed:
        passed.add(cause)
        trouble = cause
    return trouble


def _age(sighting: Sighting) -> tuple[datetime, str, str]:
    return _by_age(sighting.id)


def _by_age(identity: Identity) -> tuple[datetime, str, str]:
    return identity[2], identity[0], identity[1]


def _rank(choice: tuple[int, Identity]) -> tuple[int, tuple[datetime, str, str]]:
    return choice[0], _by_age(choice[1])
