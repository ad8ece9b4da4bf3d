"""How many steps of the documents the flows do: counted from marks in the code, not from anybody's word.

A step counts as automated or proposed when code marked with it is reached by the flow that the catalogue names for its
alert. It is a person's when there is a reason, and missing otherwise. A rule of escalation counts when the catalogue's
ladder for its alert has it; a procedure when a command or any flow of its system gets to the marked code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import nightshift
from nightshift.catalogue.catalogue import Catalogue
from nightshift.catalogue.inventory.escalation import How, how_called
from nightshift.catalogue.inventory.source import Mark, Place, Source
from nightshift.catalogue.inventory.steps import GENERAL, Group, Inventory, Step, step_ids

ROOT = Path(nightshift.__file__).parents[1]
"""The folder that holds the package."""

COMMANDS = "nightshift.gateway.cli"
"""The package of the command line, which does procedures of the documents as flows do."""
FOR_EVERY_SYSTEM = ("alert-history-report", "health-sweep", "post-incident-review")
"""Flows that answer no alert and serve whatever system there is."""


class Status(StrEnum):
    """Who does a step."""

    AUTOMATED = "automated"
    """The flow, once it may."""
    PROPOSED = "proposed"
    """A person, to whom the flow says what to do and why."""
    PERSON = "person"
    """A person; there is a reason."""
    MISSING = "missing"
    """Nobody thought of it yet."""


@dataclass(frozen=True)
class Served:
    """A step with who does it, and where that is to be seen."""

    step: Step
    status: Status
    marks: tuple[Mark, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Coverage:
    """What became of each step of the documents."""

    steps: Mapping[str, Served]
    mistakes: tuple[str, ...]
    """Marks and reasons that do not hold; they are not counted."""
    flows: Mapping[tuple[str, str], frozenset[str]] = field(repr=False)
    """Flows that answer a described alert, under any of its names."""

    def of_system(self, system: str, group: Group = Group.STEPS) -> dict[Status, int]:
        """How many ids of a group are how, in one system."""
        of = (one for one in self.steps.values() if (one.step.system, one.step.group) == (system, group))
        counted = Counter(one.status for one in of)
        return {status: counted[status] for status in Status}

    def of_alert(self, system: str, described_as: str) -> tuple[Served, ...]:
        """The steps of an alert, in the order of the document."""
        of = (system, described_as, Group.STEPS)
        return tuple(one for one in self.steps.values() if (one.step.system, one.step.alert, one.step.group) == of)


def coverage_of(catalogue: Catalogue, inventory: Inventory, source: Source | None = None) -> Coverage:
    """What the flows of this catalogue do of the documents' steps.

    Raises:
        ValueError: a mark is not written as marks are.
    """
    source = source or Source(ROOT)
    flows = _flows(catalogue, inventory)
    names = sorted({flow for several in flows.values() for flow in several})
    reached = {flow: source.reached(module_of(flow)) for flow in names}
    reached[COMMANDS] = source.reached_from_folder(COMMANDS)
    held: dict[str, list[Mark]] = {}
    mistakes: list[str] = []
    for mark in source.marks():
        for step_id in step_ids(mark.text):
            step = inventory.steps.get(step_id)
            if step is not None and step.system not in catalogue.systems:
                continue  # a catalogue of one's own need not have the five systems
            answering = flows.get((step.system, step.alert), frozenset()) if step is not None else frozenset()
            if (problem := _problem(mark, step_id, step, answering, reached)) is None:
                held.setdefault(step_id, []).append(mark)
            else:
                mistakes.append(f"{mark.file}:{mark.line}: {problem}")
    mistakes += _wrong_reasons(inventory, held)
    served = {
        step_id: _served(step, tuple(held.get(step_id, ())), inventory.reasons.get(step_id, ""))
        for step_id, step in inventory.steps.items()
    }
    served |= _escalation(catalogue, inventory, served)
    return Coverage(served, tuple(mistakes), flows)


def _problem(
    mark: Mark, step_id: str, step: Step | None, answering: frozenset[str], reached: Mapping[str, frozenset[Place]]
) -> str | None:
    """Why a mark does not hold; None: it does."""
    if step is None:
        return f"there is no step {step_id}"
    if not answering:
        return f"no flow answers {step.system}.{step.alert}, so that nothing does {step_id}"
    if not any(mark.place in reached[flow] for flow in answering):
        return f"{' and '.join(sorted(answering))} never gets to {mark.place.name}, which is to do {step_id}"
    return None


def module_of(flow: str) -> str:
    """The module of a flow: ``nightshift.flows.node_not_ready`` of ``node-not-ready``."""
    return f"nightshift.flows.{flow.replace('-', '_')}"


def _flows(catalogue: Catalogue, inventory: Inventory) -> dict[tuple[str, str], frozenset[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for system, name, runbook in catalogue.runbooks():
        described = inventory.described(system.id, name)
        if described is not None and runbook.flow is not None:
            found.setdefault((system.id, described.described_as), set()).add(runbook.flow)
    for step in inventory.steps.values():
        if step.kind == step.alert and step.system in catalogue.systems:
            found[step.system, step.alert] = set(catalogue.systems[step.system].flows)
            if step.kind == GENERAL:
                found[step.system, step.alert] |= {COMMANDS, *FOR_EVERY_SYSTEM}
    return {alert: frozenset(flows) for alert, flows in found.items() if flows}


def _escalation(
    catalogue: Catalogue, inventory: Inventory, served: Mapping[str, Served]
) -> Iterator[tuple[str, Served]]:
    """What the ladders of the catalogue take or put before people; a rule with a mark is done by the marked code."""
    for step_id, rule in inventory.rules.items():
        one = served[step_id]
        if one.status is Status.MISSING and rule.system in catalogue.systems:
            system = catalogue.systems[rule.system]
            books = [
                runbook
                for name, runbook in system.runbooks.items()
                if (described := inventory.described(system.id, name)) and described.described_as == rule.alert
            ]
            yield step_id, replace(one, **_CALLED[how_called(rule, system, books)])


_CALLED: Mapping[How, dict[str, Any]] = {
    How.BY_THE_CLOCK: {"status": Status.AUTOMATED, "reason": "the ladder of the runbook, by the clock"},
    How.WHEN_SEEN: {"status": Status.AUTOMATED, "reason": "the ladder of the runbook, as soon as it is seen"},
    How.BY_A_PERSON: {"status": Status.PROPOSED, "reason": "every page asks whether it is so, and says whom to call"},
    How.NOT_AT_ALL: {},
}


def _wrong_reasons(inventory: Inventory, held: Mapping[str, Sequence[Mark]]) -> Iterator[str]:
    for step_id, reason in inventory.reasons.items():
        if step_id not in inventory.steps:
            yield f"by_a_person.yaml: there is no step {step_id}"
        elif any(mark.itself for mark in held.get(step_id, ())):
            yield f"by_a_person.yaml: {step_id} is done by a flow, so that it needs no reason"
        elif len(reason) < 20:
            yield f"by_a_person.yaml: say why a person does {step_id}"


def _served(step: Step, marks: tuple[Mark, ...], reason: str) -> Served:
    if marks:
        return Served(step, Status.AUTOMATED if any(mark.itself for mark in marks) else Status.PROPOSED, marks)
    return Served(step, Status.PERSON, reason=reason) if reason else Served(step, Status.MISSING)
