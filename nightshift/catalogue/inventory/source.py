"""What the source says without running it: which code is marked with steps, and what the code of a flow gets to.

A flow gets to a function or class when its text names it, or names something that does: followed from name to name
through the imports. A mark in code that no flow names counts for nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGE = "nightshift"
MARKS = {"serves": True, "proposes": False}
"""The decorators, and whether what they mark does the step itself."""


@dataclass(frozen=True)
class Place:
    """A definition at the top of a module."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


@dataclass(frozen=True)
class Mark:
    """One text of a ``serves`` or ``proposes``, and where it stands."""

    place: Place
    file: str
    """From the folder of the package, e.g. ``nightshift/tasks/claims.py``."""
    line: int
    text: str
    itself: bool
    """It does the step, rather than putting it before a person."""


class Module:
    """The definitions and imports of one file."""

    def __init__(self, name: str, file: Path) -> None:
        self.name, self.file = name, file
        self.tree = ast.parse(file.read_text(encoding="utf-8"))

    @cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        """What is defined at the top, by name."""
        return {name: statement for statement in self.tree.body for name in _names_of(statement)}

    @cached_property
    def imports(self) -> dict[str, tuple[str, str | None]]:
        """Names that come from elsewhere: module and name in it; None: the module itself."""
        found: dict[str, tuple[str, str | None]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                found |= {alias.asname: (alias.name, None) for alias in node.names if alias.asname}
        return found


class Source:
    """The package's files, each parsed once and only when it is needed."""

    def __init__(self, root: Path) -> None:
        """``root`` is the folder that holds the package."""
        self._root = root
        self._modules: dict[str, Module | None] = {}
        self._named: dict[Place, tuple[Place, ...]] = {}

    def marks(self) -> tuple[Mark, ...]:
        """Every mark.

        Raises:
            ValueError: a mark is not on a definition at the top of a module, or is not plain text.
        """
        found: list[Mark] = []
        for file in sorted((self._root / PACKAGE).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            if any(f"@{mark}(" in text for mark in MARKS):
                found += self._marks_of(file)
        return tuple(found)

    def _marks_of(self, file: Path) -> Iterator[Mark]:
        path = file.relative_to(self._root)
        module = Module(".".join(path.with_suffix("").parts), file)
        calls = {node for node in ast.walk(module.tree) if _mark_name(node)}
        for name, statement in module.definitions.items():
            for decorator in getattr(statement, "decorator_list", ()):
                if (mark := _mark_name(decorator)) is None:
                    continue
                calls.discard(decorator)
                for argument in decorator.args:
                    if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                        raise ValueError(f"{path}:{argument.lineno}: write the steps as plain text")
                    place = Place(module.name, name)
                    yield Mark(place, path.as_posix(), argument.lineno, argument.value, MARKS[mark])
        for stray in sorted(getattr(call, "lineno", 0) for call in calls):
            raise ValueError(f"{path}:{stray}: mark functions and classes at the top of a module only")

    def reached(self, module: str) -> frozenset[Place]:
        """Everything that the definitions of this module get to, they themselves included."""
        start = self._module(module)
        if start is None:
            return frozenset()
        return self._reached({Place(module, name) for name in start.definitions})

    def reached_from_folder(self, package: str) -> frozenset[Place]:
        """Everything that the definitions of any module of this package get to."""
        modules = (f"{package}.{file.stem}" for file in sorted(self._root.joinpath(*package.split(".")).glob("*.py")))
        return self._reached({Place(module, name) for module in modules for name in self.definitions(module)})

    def _reached(self, start: Collection[Place]) -> frozenset[Place]:
        waiting = list(start)
        seen = set(waiting)
        while waiting:
            of = waiting.pop()
            if of not in self._named:
                self._named[of] = tuple(self._named_by(of))
            for place in self._named[of]:
                if place not in seen:
                    seen.add(place)
                    waiting.append(place)
        return frozenset(seen)

    def _named_by(self, place: Place) -> Iterator[Place]:
        module = self._module(place.module)
        if module is None:
            return
        for node in ast.walk(module.definitions[place.name]):
            if isinstance(node, ast.Name):
                found = self.resolved(module.name, node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found = self._of_module(module, node.value.id, node.attr)
            else:
                continue
            if found is not None:
                yield found

    def _of_module(self, module: Module, alias: str, name: str) -> Place | None:
        """``edits.cordon``, where ``edits`` is an imported module."""
        origin, inner = module.imports.get(alias, ("", None))
        whole = f"{origin}.{inner}" if inner else origin
        return self.resolved(whole, name) if self._module(whole) else None

    def definitions(self, module: str) -> tuple[str, ...]:
        """Names that are defined at the top of a module."""
        found = self._module(module)
        return tuple(found.definitions) if found is not None else ()

    def definition(self, place: Place) -> ast.stmt | None:
        """The source of a definition; None: there is none."""
        found = self._module(place.module)
        return found.definitions.get(place.name) if found is not None else None

    def resolved(self, module: str, name: str) -> Place | None:
        """Where what is called so in this module is defined, through any number of imports."""
        for _ in range(10):
            found = self._module(module)
            if found is None:
                return None
            if name in found.definitions:
                return Place(module, name)
            origin, inner = found.imports.get(name, ("", None))
            if inner is None:
                return None
            module, name = origin, inner
        return None

    def _module(self, name: str) -> Module | None:
        if name not in self._modules:
            stem = self._root.joinpath(*name.split("."))
            files = (stem.with_suffix(".py"), stem / "__init__.py")
            file = next((file for file in files if name.startswith(PACKAGE) and file.is_file()), None)
            self._modules[name] = Module(name, file) if file else None
        return self._modules[name]


def _names_of(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))


def _mark_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKS:
        return node.func.id
    return None
