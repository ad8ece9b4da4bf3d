"""How much of the on-call documents is done by flows, for people and for programs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from nightshift.catalogue import Catalogue, System
from nightshift.catalogue.inventory.coverage import Coverage, Served, Status, module_of
from nightshift.catalogue.inventory.following import Suite, SuiteFile
from nightshift.catalogue.inventory.hazards import read_hazards
from nightshift.catalogue.inventory.steps import Group

_STYLES = {Status.AUTOMATED: "green", Status.PROPOSED: "cyan", Status.PERSON: "", Status.MISSING: "dim"}

_GROUPS = {
    Group.ESCALATION: "rules of escalation",
    Group.SITUATIONS: "scenarios and decision trees",
    Group.PROCEDURES: "procedures for every alert",
}


def figures(system: System, coverage: Coverage, tests: Suite) -> dict[str, Any]:
    """The figures of one system."""
    return {
        "alerts": len(system.runbooks),
        "answered": sum(runbook.answered for runbook in system.runbooks.values()),
        **{
            group.value: {status.value: number for status, number in coverage.of_system(system.id, group).items()}
            for group in Group
        },
        "tests": sum(file.tests for file in _tests_of(system, coverage, tests)),
        "hazards": hazards(system.id, coverage, tests),
    }


def hazards(system: str, coverage: Coverage, tests: Suite) -> dict[str, int]:
    """How many hazards its document has; shown by a test not to happen; of steps that a person does."""
    of = [hazard.id for hazard in read_hazards().values() if hazard.system == system]
    left = [one for one in of if one not in tests.hazards]
    persons = sum(one in coverage.steps and coverage.steps[one].status is Status.PERSON for one in left)
    return {"known": len(of), "shown": len(of) - len(left), "person": persons}


def as_json(catalogue: Catalogue, systems: Iterable[str], coverage: Coverage, tests: Suite) -> dict[str, Any]:
    """The figures of these systems, and the marks that do not hold."""
    found = {system: figures(catalogue.systems[system], coverage, tests) for system in systems}
    return {"systems": found, "mistakes": list(coverage.mistakes)}


def table(catalogue: Catalogue, systems: Collection[str], coverage: Coverage, tests: Suite) -> RenderableType:
    """The same for people, with a line for all together."""
    listing = Table(box=None, pad_edge=False, header_style="dim")
    listing.add_column("system")
    columns = ("alerts", "answered", *(status.value for status in Status), "hazards", "shown by tests", "tests")
    for column in columns:
        listing.add_column(column, justify="right")
    rows: list[list[int]] = []
    for system in systems:
        found = figures(catalogue.systems[system], coverage, tests)
        known, shown = found["hazards"]["known"], found["hazards"]["shown"]
        row = [found["alerts"], found["answered"], *found["steps"].values(), known, shown, found["tests"]]
        rows.append(row)
        listing.add_row(system, *map(str, row))
    if len(rows) > 1:
        # A test that follows flows of several systems counts in each, so that tests are not added up.
        listing.add_row(Text("together", style="bold"), *_sums(rows))
    return Lines(listing, Text(), _beside_steps(systems, coverage))


def _beside_steps(systems: Collection[str], coverage: Coverage) -> RenderableType:
    """What is counted apart from the steps of alerts, for all of these systems together."""
    listing = Table(box=None, pad_edge=False, header_style="dim")
    listing.add_column("beside steps")
    for status in Status:
        listing.add_column(status.value, justify="right")
    for group in Group:
        if group is not Group.STEPS:
            counted = [coverage.of_system(system, group) for system in systems]
            listing.add_row(_GROUPS[group], *(str(sum(one[status] for one in counted)) for status in Status))
    return listing


def step_entry(served: Served, coverage: Coverage, tests: Suite) -> dict[str, Any]:
    """One step with who does it, for programs."""
    step = served.step
    flows = (
        coverage.flows.get((step.system, step.alert), frozenset())
        if served.marks and step.kind != step.alert
        else frozenset()
    )
    files = tests.following({mark.place.module for mark in served.marks}, flows)
    return {
        "id": step.id,
        "kind": step.kind,
        "automatable": step.automatable,
        "stated": step.stated,
        "status": served.status.value,
        "code": [{"place": str(mark.place), "file": mark.file, "line": mark.line} for mark in served.marks],
        "reason": served.reason,
        "tests": [file.path for file in files],
    }


def steps(entries: Iterable[dict[str, Any]]) -> RenderableType:
    """Steps with who does them and where that is to be seen, for people."""
    listing = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("step", "kind", "automatable", "status", "where, or why not", "tests"):
        listing.add_column(column, overflow="fold")
    for entry in entries:
        status = Status(entry["status"])
        where = [f"{code['file']}:{code['line']} {code['place'].partition(':')[2]}" for code in entry["code"]]
        listing.add_row(
            entry["id"],
            entry["kind"],
            entry["automatable"],
            Text(status.value, style=_STYLES[status]),
            Text("\n".join(where) or entry["reason"]),
            Text("\n".join(entry["tests"])),
        )
    return listing


def _tests_of(system: System, coverage: Coverage, tests: Suite) -> tuple[SuiteFile, ...]:
    served = (one for one in coverage.steps.values() if one.step.system == system.id)
    modules = {mark.place.module for one in served for mark in one.marks}
    return tests.following(modules | {module_of(flow) for flow in system.flows}, system.flows)


def _sums(rows: list[list[int]]) -> list[str]:
    return [str(sum(column)) for column in zip(*rows, strict=True)][:-1]
