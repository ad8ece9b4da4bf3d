"""How many steps of the documents the flows do: counted from marks in the code, not from anybody's word.

A step counts as automated or proposed when code marked with it is reached by the flow that the catalogue names for its
alert. It is a person's when there is a reason, and missing otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import nightshift
from nightshift.catalogue.catalogue import Catalogue
from nightshift.catalogue.inventory.source import Mark, Place, Source
from nightshift.catalogue.inventory.steps import Inventory, Step, step_ids

ROOT = Path(nightshift.__file__).parents[1]
"""The folder that holds the package."""


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

    def of_system(self, system: str) -> dict[Status, int]:
        """How many steps of a system's alerts are how."""
        return self._counted(system, situations=False)

    def situations_of(self, system: str) -> dict[Status, int]:
        """The same for its scenarios of several alerts and its decision trees."""
        return self._counted(system, situations=True)

    def _counted(self, system: str, *, situations: bool) -> dict[Status, int]:
        of = (one for one in self.steps.values() if one.step.system == system)
        counted = Counter(one.status for one in of if one.step.is_situation is situations)
        return {status: counted[status] for status in Status}

    def of_alert(self, system: str, described_as: str) -> tuple[Served, ...]:
        """The steps of an alert, in the order of the document."""
        of = (system, described_as)
        return tuple(served for served in self.steps.values() if (served.step.system, served.step.alert) == of)


def coverage_of(catalogue: Catalogue, inventory: Inventory, source: Source | None = None) -> Coverage:
    """What the flows of this catalogue do of the documents' steps.

    Raises:
        ValueError: a mark is not written as marks are.
    """
    source = source or Source(ROOT)
    flows = _flows(catalogue, inventory)
    names = sorted({flow for several in flows.values() for flow in several})
    reached = {flow: source.reached(module_of(flow)) for flow in names}
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
        if step.is_situation and step.system in catalogue.systems:
            found[step.system, step.alert] = set(catalogue.systems[step.system].flows)
    return {alert: frozenset(flows) for alert, flows in found.items() if flows}


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
