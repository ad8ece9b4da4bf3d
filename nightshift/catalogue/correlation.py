"""Which alerts are effects of which: what ``runbooks/correlation.yaml`` says.

A rule knows names of alerts and of labels only. The values of labels are hostile text: they are compared, exactly, and
never become part of anything else. Reference: the multi-alert scenarios of OctoLLM, ``octollm.scenario.*``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field, model_validator

from nightshift.catalogue.models import AlertName, LabelName, Labels, Line, Name, SystemId
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Value


class Cause(Value):
    """What is broken first."""

    alerts: tuple[AlertName, ...] = Field(min_length=1)
    """Names of its alerts, as the systems have them."""
    kind: Name | None = None
    """Only alerts whose target ends in a part of this kind: ``host``, ``filesystem``, ``database``."""
    having: Labels | None = None
    """Only alerts with all of these labels, exactly."""


class Effects(Value):
    """What breaks because of it, and how one knows that it is about the same."""

    alerts: tuple[AlertName, ...] = Field(min_length=1)
    """Names of alerts."""
    having: Labels | None = None
    """Only alerts with all of these labels, exactly."""
    target: Literal["same", "below", "dependent"] | None = None
    """How its target lies to the cause's: the same, below it (a filesystem below its host), or on a connection that
    needs the cause's (see ``dependencies``)."""
    labels: dict[LabelName, LabelName] = Field(default={})
    """Labels that must be there and equal: the effect's → the cause's."""
    anywhere: bool = False
    """Anywhere in the system: there is only one such cause in it."""

    @model_validator(mode="after")
    def _says_how(self) -> Effects:
        if self.anywhere == bool(self.target or self.labels):
            raise ValueError("say how they are about the same: target, labels or both; or else anywhere: true")
        return self


class CauseRule(Value):
    """One cause and its effects: an effect of an open cause joins it, and nothing is done about it by itself."""

    name: Name
    """How it is called in notes and reports."""
    systems: tuple[SystemId, ...] = Field(min_length=1)
    """Systems it holds for; cause and effects are always of the same one."""
    cause: Cause
    """What is broken first."""
    effects: tuple[Effects, ...] = Field(min_length=1)
    """What breaks because of it."""
    before: Seconds = Field(default=600, ge=0)
    """Effects may start this long before their cause: its alert may take longer to fire."""
    after: Seconds = Field(default=12 * 3600, ge=0)
    """Effects may start this long after their cause, while that is open."""
    wait_for_cause: Seconds = Field(default=0, ge=0, le=300)
    """An effect that no cause is known for waits so long for one before it opens an incident of its own."""
    why: Line
    """What makes the one the cause of the other, in words for people."""


class SameTroubleRule(Value):
    """Alerts that say the same: whichever comes first opens the incident, the others join it."""

    name: Name
    """How it is called in notes and reports."""
    systems: tuple[SystemId, ...] = Field(min_length=1)
    """Systems it holds for."""
    alerts: tuple[AlertName, ...] = Field(min_length=1)
    """Names of alerts; a single one for the same alert on many instances."""
    equal: tuple[LabelName, ...] = ()
    """Labels that must be equal; one that both lack is equal, as in Alertmanager's inhibition rules."""
    workload: tuple[LabelName, ...] = ()
    """Labels that name the workload: they must be there and equal."""
    within: Seconds = Field(default=3600, gt=0)
    """The next one may start this long after the one before."""
    wait_for_cause: Literal[0] = Field(default=0, exclude=True, repr=False)
    """They do not wait for each other."""
    why: Line
    """What makes them one trouble, in words for people."""

    def key(self, labels: Mapping[str, str]) -> tuple[str, ...] | None:
        """What alerts of one trouble have in common; None when a label of the workload is missing."""
        if not all(labels.get(label) for label in self.workload):
            return None
        return tuple(labels.get(label, "") for label in (*self.workload, *self.equal))


class Dependency(Value):
    """What stops working when a connection of a system does."""

    system: SystemId
    """Whose connections they are."""
    on: Name
    """What the others need: a database, a host."""
    clients: tuple[Name, ...] = Field(min_length=1)
    """Connections that need it."""


Rule = CauseRule | SameTroubleRule


class Correlation(Value):
    """The rules by which causes swallow effects; those that stand first go before."""

    settle: Seconds = Field(default=120, ge=0)
    """After the end of a cause its effects get this long to end by themselves."""
    hold: Seconds = Field(default=8 * 3600, ge=0)
    """A cause in the hands of a person holds its effects while its own alert fires, at most so long."""
    causes: tuple[CauseRule, ...] = ()
    """Causes with their effects."""
    same: tuple[SameTroubleRule, ...] = ()
    """Different alerts, or the same on many instances, that are one trouble."""
    dependencies: tuple[Dependency, ...] = ()
    """Who needs whom, for ``target: dependent``."""

    def rules(self, system: str) -> Iterator[Rule]:
        """The rules that hold for a system, in their order."""
        yield from (rule for rule in self.causes if system in rule.systems)
        yield from (rule for rule in self.same if system in rule.systems)

    def systems(self) -> set[str]:
        """Systems that any rule holds for."""
        of_causes = {system for rule in self.causes for system in rule.systems}
        return of_causes | {system for same in self.same for system in same.systems}

    def names(self, system: str) -> set[str]:
        """Alerts of a system that any rule is about."""
        return {name for rule in self.rules(system) for name in names_in(rule)}

    def wait_of(self, system: str, name: str, labels: Mapping[str, str]) -> float:
        """For how many seconds such an alert waits for a cause."""
        waits = (
            rule.wait_for_cause
            for rule in self.causes
            if system in rule.systems
            for effects in rule.effects
            if name in effects.alerts and has(labels, effects.having)
        )
        return max(waits, default=0)

    def clients_of(self, system: str) -> dict[str, set[str]]:
        """Connections of a system with those that they need."""
        needs: dict[str, set[str]] = {}
        for dependency in self.dependencies:
            if dependency.system == system:
                for client in dependency.clients:
                    needs.setdefault(client, set()).add(dependency.on)
        return needs


def names_in(rule: Rule) -> Iterator[str]:
    """Every alert a rule is about."""
    if isinstance(rule, SameTroubleRule):
        yield from rule.alerts
        return
    yield from rule.cause.alerts
    for effects in rule.effects:
        yield from effects.alerts


def has(labels: Mapping[str, str], wanted: Mapping[str, str] | None) -> bool:
    """Whether all wanted labels are there, exactly."""
    return all(labels.get(name) == value for name, value in (wanted or {}).items())
