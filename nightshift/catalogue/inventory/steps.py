"""The steps of the documents, as the files beside this module list them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import yaml

from nightshift.catalogue.inventory.escalation import Rule
from nightshift.remediation.durations import parse_duration

FOLDER = Path(__file__).parent
ALERTS_FILE = "alerts.csv"
SITUATIONS_FILE = "situations.csv"
ESCALATION_FILE = "escalation.csv"
PROCEDURES_FILE = "procedures.csv"
REASONS_FILE = "by_a_person.yaml"


class Group(StrEnum):
    """What an id of the documents names; each group is counted apart."""

    STEPS = "steps"
    """Looks, repairs and checks of one alert."""
    ESCALATION = "escalation"
    """Rules of one alert that say who is called, and when."""
    SITUATIONS = "scenarios_and_trees"
    """Scenarios of several alerts, and decision trees."""
    PROCEDURES = "procedures"
    """What a document tells for every alert: to look, to silence, to review."""


GENERAL = "general"
"""The kind of a procedure, and what stands in place of its alert."""


@dataclass(frozen=True)
class Step:
    """One step of a document: what is looked at, done or checked."""

    system: str
    alert: str
    """The alert under which the document describes it."""
    number: str
    """Its place there, e.g. ``r1.5``."""
    kind: str
    """``diagnose``, ``remediate``, ``verify`` or ``escalation``; of what is no alert's: ``scenario``, ``tree`` or
    ``general``."""
    automatable: str
    """Whether the document's step can be automated: ``yes``, ``partly`` or ``no``."""
    stated: bool
    """False: the document forgets this check."""

    @property
    def group(self) -> Group:
        """With what it is counted."""
        if self.kind == self.alert:
            return Group.PROCEDURES if self.kind == GENERAL else Group.SITUATIONS
        return Group.ESCALATION if self.kind == Group.ESCALATION else Group.STEPS

    @property
    def id(self) -> str:
        """Its name everywhere, e.g. ``octollm.NodeNotReady.r1.5``."""
        return f"{self.system}.{self.alert}.{self.number}"


@dataclass(frozen=True)
class Described:
    """An alert of a document."""

    system: str
    alert: str
    described_as: str
    """The alert whose text holds for it; its own name in most cases."""
    body: bool
    """False: it stands in the document's table of contents and nowhere else."""


@dataclass(frozen=True)
class Inventory:
    """Every alert and step of the documents, with the reasons why a person does some of them."""

    alerts: tuple[Described, ...]
    steps: Mapping[str, Step]
    reasons: Mapping[str, str]
    """Step id → why a person does it."""
    rules: Mapping[str, Rule]
    """Step id → what a document's rule of escalation says."""

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Inventory:
        """What the files of this folder say."""
        alerts = tuple(
            Described(row["system"], row["alert"], row["described_as"], row["body"] == "yes")
            for row in _rows(folder / ALERTS_FILE)
        )
        systems = dict.fromkeys(alert.system for alert in alerts)
        steps = [step for system in systems for step in _steps_of(folder, system)]
        steps += _of_no_alert(folder)
        rules: dict[str, Rule] = {}
        for number, rule in _rules(folder / ESCALATION_FILE):
            step = Step(rule.system, rule.alert, number, Group.ESCALATION, "yes", stated=True)
            steps.append(step)
            rules[step.id] = rule
        return cls(alerts, {step.id: step for step in steps}, _reasons(folder / REASONS_FILE), rules)

    @cached_property
    def _described(self) -> Mapping[tuple[str, str], Described]:
        return {(alert.system, alert.alert): alert for alert in self.alerts}

    def described(self, system: str, alert: str) -> Described | None:
        """How a document describes an alert; None: no document has it."""
        return self._described.get((system, alert))

    def steps_of(self, system: str, alert: str) -> tuple[Step, ...]:
        """The steps of an alert, in the order of the document."""
        described = self.described(system, alert)
        if described is None:
            return ()
        name = described.described_as
        of = (system, name, Group.STEPS)
        return tuple(step for step in self.steps.values() if (step.system, step.alert, step.group) == of)


def step_ids(text: str) -> tuple[str, ...]:
    """The ids that ``"octollm.NodeNotReady: d1 r1.5"`` names.

    Raises:
        ValueError: it is not written so.
    """
    alert, colon, numbers = text.partition(":")
    if not colon or not numbers.split():
        raise ValueError(f"{text!r}: write the alert, a colon and its steps: 'octollm.NodeNotReady: d1 r1.5'")
    return tuple(f"{alert.strip()}.{number}" for number in numbers.split())


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def _steps_of(folder: Path, system: str) -> Iterator[Step]:
    for row in _rows(folder / f"{system}.csv"):
        yield Step(system, row["alert"], row["step"], row["kind"], row["automatable"], row["stated"] == "yes")


def _of_no_alert(folder: Path) -> Iterator[Step]:
    """Scenarios, decision trees and procedures: a word stands for their alert, the same as their kind."""
    for row in _rows(folder / SITUATIONS_FILE):
        yield Step(row["system"], row["kind"], row["name"], row["kind"], "partly", stated=True)
    for row in _rows(folder / PROCEDURES_FILE):
        yield Step(row["system"], GENERAL, row["name"], GENERAL, row["automatable"], stated=True)


def _rules(file: Path) -> Iterator[tuple[str, Rule]]:
    for row in _rows(file):
        after = float(str(parse_duration(row["after"]))) if row["after"] else None
        yield row["rule"], Rule(row["system"], row["alert"], after, row["when"], tuple(row["who"].split()))


def _reasons(file: Path) -> dict[str, str]:
    by_alert: dict[str, dict[str, str]] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return {
        step_id: reason
        for alert, reasons in by_alert.items()
        for numbers, reason in reasons.items()
        for step_id in step_ids(f"{alert}: {numbers}")
    }
