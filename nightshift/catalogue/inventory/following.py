"""Which tests follow a flow or a piece of code: those in files that import it or play the flow by its name."""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nightshift.catalogue.inventory.hazards import HazardMark, marks_in

UNIT_TESTS = "tests/unit/"


@dataclass(frozen=True)
class SuiteFile:
    """One file of tests."""

    path: str
    """From the folder that holds the package."""
    modules: frozenset[str]
    """Modules that it imports, and what could be one: ``a.b`` and ``a.b.c`` of ``from a.b import c``."""
    words: frozenset[str]
    """Its texts: the name of a flow that it plays stands here."""
    tests: int
    """Test functions in it."""
    hazards: tuple[HazardMark, ...] = ()
    """What its tests show not to happen."""


class Suite:
    """The tests beside the package; none where the package is installed without them."""

    def __init__(self, root: Path) -> None:
        """``root`` is the folder that holds the package and its tests."""
        self._root = root

    @cached_property
    def files(self) -> tuple[SuiteFile, ...]:
        """Every file of tests."""
        return tuple(self._read(file) for file in sorted((self._root / "tests").rglob("test_*.py")))

    @cached_property
    def hazards(self) -> frozenset[str]:
        """Ids of the hazards that a test shows not to happen."""
        return frozenset(mark.hazard for file in self.files for mark in file.hazards)

    def following(self, modules: Collection[str], flows: Collection[str] = ()) -> tuple[SuiteFile, ...]:
        """Files that import one of these modules, or play one of these flows, which unit tests never do."""
        wanted, played = frozenset(modules), frozenset(flows)
        return tuple(
            file
            for file in self.files
            if file.modules & wanted or (file.words & played and not file.path.startswith(UNIT_TESTS))
        )

    def _read(self, file: Path) -> SuiteFile:
        modules: set[str] = set()
        words: set[str] = set()
        tests = 0
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                tests += 1
        path = file.relative_to(self._root).as_posix()
        try:
            hazards = marks_in(tree)
        except ValueError as error:
            raise ValueError(f"{path}, {error}") from None
        return SuiteFile(path, frozenset(modules), frozenset(words), tests, hazards)
