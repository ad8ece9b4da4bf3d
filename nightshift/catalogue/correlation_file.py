"""Reading ``correlation.yaml``: whole or not at all, every mistake with its line and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from nightshift.catalogue.correlation import CauseRule, Correlation, Rule, SameTroubleRule
from nightshift.catalogue.documents import Document, Trail
from nightshift.catalogue.explain import explain
from nightshift.catalogue.mistakes import Mistake, did_you_mean
from nightshift.catalogue.models import System
from nightshift.catalogue.schema import correlation_schema

CORRELATION_FILE = "correlation.yaml"
"""The one file of the folder that describes no system."""


def read_correlation(file: Path, systems: Mapping[str, System], mistakes: list[Mistake]) -> Correlation:
    """The rules of a file; its mistakes are added to the others.

    Args:
        file: where they stand.
        systems: what they may be about; a system that has mistakes itself may lack alerts, and is not looked into.
        mistakes: those of the systems, to which are added those of the rules.
    """
    spoilt = {mistake.file.stem for mistake in mistakes}
    document = Document.read(file)
    mistakes += document.mistakes
    if document.value is None:
        return Correlation()
    try:
        correlation = Correlation.model_validate(document.value)
    except ValidationError as error:
        mistakes += explain(document, error, correlation_schema())
        return Correlation()
    whole = {name: system for name, system in systems.items() if name not in spoilt}
    mistakes += _Check(document, correlation, systems, whole, spoilt).mistakes()
    return correlation


class _Check:
    """Names that must exist, and circles that must not."""

    def __init__(
        self,
        document: Document,
        correlation: Correlation,
        systems: Mapping[str, System],
        whole: Mapping[str, System],
        spoilt: set[str],
    ) -> None:
        self._document = document
        self._correlation = correlation
        self._known = sorted({*systems, *spoilt})
        self._systems = whole

    def mistakes(self) -> Iterator[Mistake]:
        names: dict[str, Trail] = {}
        sections: dict[str, Sequence[Rule]] = {"causes": self._correlation.causes, "same": self._correlation.same}
        for section, rules in sections.items():
            for index, rule in enumerate(rules):
                trail: Trail = (section, index)
                if (first := names.setdefault(rule.name, trail)) != trail:
                    line, _ = self._document.position((*first, "name"))
                    problem = f"another rule has this name, in line {line}"
                    yield self._document.mistake(
                        (*trail, "name"), problem, "Notes and reports tell rules by their names"
                    )
                yield from self._system_names(trail, rule.systems)
                for where, alerts in _alerts(rule):
                    yield from self._alert_names((*trail, *where), alerts, rule.systems)
        yield from self._dependencies()
        yield from self._circles()

    def _system_names(self, trail: Trail, names: tuple[str, ...]) -> Iterator[Mistake]:
        for index, name in enumerate(names):
            if name not in self._known:
                place = (*trail, "systems", index)
                yield self._document.mistake(place, f"there is no system {name!r}", did_you_mean(name, self._known))

    def _alert_names(self, trail: Trail, alerts: tuple[str, ...], systems: tuple[str, ...]) -> Iterator[Mistake]:
        """One that any of the rule's systems has is right: systems name the same trouble differently."""
        looked_into = [self._systems[name] for name in systems if name in self._systems]
        if len(looked_into) < len(systems):
            return
        known = sorted({name for system in looked_into for name in system.runbooks})
        for index, alert in enumerate(alerts):
            if alert not in known:
                problem = f"{' and '.join(systems)} {'has' if len(systems) == 1 else 'have'} no alert {alert!r}"
                yield self._document.mistake((*trail, index), problem, did_you_mean(alert, known))

    def _dependencies(self) -> Iterator[Mistake]:
        for index, dependency in enumerate(self._correlation.dependencies):
            trail: Trail = ("dependencies", index)
            if dependency.system not in self._known:
                problem = f"there is no system {dependency.system!r}"
                remedy = did_you_mean(dependency.system, self._known)
                yield self._document.mistake((*trail, "system"), problem, remedy)
            elif (system := self._systems.get(dependency.system)) is not None:
                named: list[tuple[Trail, str]] = [((*trail, "on"), dependency.on)]
                named += [((*trail, "clients", number), name) for number, name in enumerate(dependency.clients)]
                for place, name in named:
                    if name not in system.connections:
                        problem = f"{system.id} has no connection {name!r}"
                        yield self._document.mistake(place, problem, did_you_mean(name, list(system.connections)))

    def _circles(self) -> Iterator[Mistake]:
        """Rules by which something would be its own cause, in the system where they are seen first."""
        told: set[int] = set()
        for system in sorted(self._correlation.systems()):
            arrows = _arrows(self._correlation, system)
            for index, rule in enumerate(self._correlation.causes):
                if index in told or system not in rule.systems:
                    continue
                ways = (_way_back(arrows, cause, effect) for cause, effect in _pairs(rule))
                if (circle := next(filter(None, ways), None)) is not None:
                    told.add(index)
                    problem = f"in {system} something would be its own cause: {' → '.join(circle)}"
                    remedy = "Take one of these out of the effects of the other"
                    yield self._document.mistake(("causes", index), problem, remedy)


def _alerts(rule: Rule) -> Iterator[tuple[Trail, tuple[str, ...]]]:
    if isinstance(rule, SameTroubleRule):
        yield ("alerts",), rule.alerts
        return
    yield ("cause", "alerts"), rule.cause.alerts
    for index, effects in enumerate(rule.effects):
        yield ("effects", index, "alerts"), effects.alerts


def _pairs(rule: CauseRule) -> Iterator[tuple[str, str]]:
    return ((c, e) for c in rule.cause.alerts for effects in rule.effects for e in effects.alerts)


def _arrows(correlation: Correlation, system: str) -> dict[str, set[str]]:
    """From causes to effects, and both ways between alerts that are one trouble."""
    arrows: dict[str, set[str]] = {}
    for rule in correlation.causes:
        if system in rule.systems:
            for cause, effect in _pairs(rule):
                arrows.setdefault(cause, set()).add(effect)
    for same in correlation.same:
        if system in same.systems:
            for name in same.alerts:
                arrows.setdefault(name, set()).update(other for other in same.alerts if other != name)
    return arrows


def _way_back(arrows: Mapping[str, set[str]], cause: str, effect: str) -> list[str] | None:
    """The way from a cause over its effect back to itself, if there is one."""
    came_from: dict[str, str] = {effect: cause}
    pending = [effect]
    while pending:
        name = pending.pop()
        if name == cause:
            path = [name]
            while len(path) == 1 or path[-1] != cause:
                path.append(came_from[path[-1]])
            return path[::-1]
        for following in sorted(arrows.get(name, ())):
            if following not in came_from:
                came_from[following] = name
                pending.append(following)
    return None
