"""The steps of the documents, as the files beside this module list them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
ALERTS_FILE = "alerts.csv"
SITUATIONS_FILE = "situations.csv"
REASONS_FILE = "by_a_person.yaml"


@dataclass(frozen=True)
class Step:
    """One step of a document: what is looked at, done or checked."""

    system: str
    alert: str
    """The alert under which the document describes it."""
    number: str
    """Its place there, e.g. ``r1.5``."""
    kind: str
    """``diagnose``, ``remediate`` or ``verify``; of what is no alert's: ``scenario`` or ``tree``."""
    automatable: str
    """Whether the document's step can be automated: ``yes``, ``partly`` or ``no``."""
    stated: bool
    """False: the document forgets this check."""

    @property
    def is_situation(self) -> bool:
        """Whether it is a scenario of several alerts or a decision tree, rather than a step of one alert."""
        return self.kind == self.alert

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

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Inventory:
        """What the files of this folder say."""
        alerts = tuple(
            Described(row["system"], row["alert"], row["described_as"], row["body"] == "yes")
            for row in _rows(folder / ALERTS_FILE)
        )
        systems = dict.fromkeys(alert.system for alert in alerts)
        steps = [step for system in systems for step in _steps_of(folder, system)]
        steps += [
            Step(row["system"], row["kind"], row["name"], row["kind"], "partly", stated=True)
            for row in _rows(folder / SITUATIONS_FILE)
        ]
        return cls(alerts, {step.id: step for step in steps}, _reasons(folder / REASONS_FILE))

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
        return tuple(step for step in self.steps.values() if (step.system, step.alert) == (system, name))


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


def _reasons(file: Path) -> dict[str, str]:
    by_alert: dict[str, dict[str, str]] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    return {
        step_id: reason
        for alert, reasons in by_alert.items()
        for numbers, reason in reasons.items()
        for step_id in step_ids(f"{alert}: {numbers}")
    }
