"""What a flow does, step by step, read from its source: so a page about it cannot say anything else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from nightshift.catalogue.inventory.source import Place, Source

_ROLE = re.compile(r":\w+:`~?([^`]+)`")
"""What Sphinx makes a link of."""
_INCIDENT = {
    "carry_out": "**Approve and remediate**: ask where the mode or the risk wants it, then carry out the plan through "
    "the gate, action by action, each looked at again just before.",
    "verifying": "**Verify**: measure again.",
}
"""Methods of the incident that are steps of every flow."""


def steps_of(source: Source, module: str) -> tuple[str, ...]:
    """The steps of the flow in this module, in the order of its source, as Markdown."""
    return tuple(dict.fromkeys(_steps(source, _entry(source, module), set())))


def effects_of(source: Source, module: str) -> tuple[str, ...]:
    """Every kind of action that the flow in this module can plan, as Markdown."""
    found = []
    for place in source.reached(module):
        node = source.definition(place)
        if isinstance(node, ast.ClassDef) and (kind := _kind(node)):
            found.append(f"`{kind}`: {_first_sentence(node)}")
    return tuple(sorted(found))


def _entry(source: Source, module: str) -> Place:
    """The function that the flow hands to ``answer``, which may be another flow's."""
    for name in source.definitions(module):
        node = source.definition(Place(module, name))
        for call in ast.walk(node) if isinstance(node, ast.FunctionDef) else ():
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "answer":
                function = call.args[1]
                if isinstance(function, ast.Name) and (found := source.resolved(module, function.id)) is not None:
                    return found
    raise ValueError(f"{module}: a flow returns answer(request, function)")


def _steps(source: Source, place: Place, seen: set[Place]) -> Iterator[str]:
    seen.add(place)
    node = source.definition(place)
    if node is not None:
        yield from _steps_in(source, place.module, node, seen)


def _steps_in(source: Source, module: str, node: ast.AST, seen: set[Place]) -> Iterator[str]:
    """Of one function; those defined inside it are told where they are called."""
    inner = {one.name: one for one in ast.walk(node) if isinstance(one, ast.FunctionDef) and one is not node}
    for call in _calls(node):
        if isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "incident":
            if call.func.attr in _INCIDENT:
                yield _INCIDENT[call.func.attr]
        elif isinstance(call.func, ast.Name) and call.func.id in inner:
            yield from _steps_in(source, module, inner[call.func.id], seen)
        elif isinstance(call.func, ast.Name):
            called = source.resolved(module, call.func.id)
            if called is not None and called.module == module and called not in seen:
                yield from _steps(source, called, seen)
            elif called is not None and (step := _step(source, called)):
                yield step


def _step(source: Source, called: Place) -> str:
    """A look, a plan or a judgement; empty: something else."""
    node = source.definition(called)
    if not isinstance(node, ast.FunctionDef):
        return ""
    if (name := _diagnostic(node)) is not None:
        return f"**{name[:1].upper()}{name[1:]}**: {_first_sentence(node)}"
    if called.name.startswith("plan_"):
        return f"**Plan**: {_first_sentence(node)}"
    if called.name.startswith("judge") and "verification" in called.module:
        return f"**Judge**: {_first_sentence(node)}"
    return ""


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """Calls in the order of the text; those of functions defined inside belong to whoever calls these."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from _calls(child)


def _diagnostic(node: ast.FunctionDef) -> str | None:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "diagnostic":
            first = decorator.args[0]
            return str(first.value) if isinstance(first, ast.Constant) else None
    return None


def _kind(node: ast.ClassDef) -> str:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and getattr(statement.target, "id", "") == "KIND":
            return str(statement.value.value) if isinstance(statement.value, ast.Constant) else ""
    return ""


def _first_sentence(node: ast.FunctionDef | ast.ClassDef) -> str:
    """The first paragraph of its docstring."""
    text = (ast.get_docstring(node) or "").partition("\n\n")[0]
    return _ROLE.sub(r"`\1`", " ".join(text.split())).replace("``", "`")
