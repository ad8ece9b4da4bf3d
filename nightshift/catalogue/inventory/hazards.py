"""Why a step of the documents must not be done as it is written, and which tests show what is done instead.

``hazards.yaml`` has the hazards by the id of their step; ``<system>.<Alert>.condition`` is the expression that fires
the alert. A test that shows the safe behaviour names them: ``@pytest.mark.hazard("octollm.LowCacheHitRate.r1.2")``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import yaml

from nightshift.catalogue.inventory.steps import FOLDER

HAZARDS_FILE = "hazards.yaml"
MARK = "hazard"


@dataclass(frozen=True)
class Hazard:
    """What goes wrong when a step is done as it is written."""

    system: str
    alert: str
    """``general`` where the step belongs to no alert."""
    number: str
    text: str

    @property
    def id(self) -> str:
        """That of its step."""
        return f"{self.system}.{self.alert}.{self.number}"


@dataclass(frozen=True)
class HazardMark:
    """A test that shows the safe behaviour."""

    hazard: str
    test: str
    line: int


def read_hazards(folder: Path = FOLDER) -> Mapping[str, Hazard]:
    """Every hazard of the documents, by its id."""
    by_alert: dict[str, dict[str, str]] = yaml.safe_load((folder / HAZARDS_FILE).read_text(encoding="utf-8"))
    found: dict[str, Hazard] = {}
    for alert, hazards in by_alert.items():
        system, _, name = alert.partition(".")
        for number, text in hazards.items():
            hazard = Hazard(system, name, number, text)
            found[hazard.id] = hazard
    return found


def marks_in(tree: ast.Module) -> tuple[HazardMark, ...]:
    """The marks on the test functions of one file.

    Raises:
        ValueError: a mark is on no test, names nothing, or is not plain text.
    """
    calls = [node for node in ast.walk(tree) if _is_mark(node)]
    if not calls:
        return ()
    found = [mark for test in ast.walk(tree) if _is_test(test) for mark in _marks_on(test)]
    on_tests = {mark.line for mark in found}
    for call in calls:
        lines = {argument.lineno for argument in call.args}
        if not lines or not lines <= on_tests:
            raise ValueError(f"line {call.lineno}: mark tests with the ids of hazards as plain text, and nothing else")
    return tuple(found)


def _marks_on(test: ast.FunctionDef) -> Iterator[HazardMark]:
    for decorator in test.decorator_list:
        for node in ast.walk(decorator):
            for argument in node.args if _is_mark(node) else ():
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield HazardMark(argument.value, test.name, argument.lineno)


def _is_test(node: ast.AST) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")


def _is_mark(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{MARK}"
