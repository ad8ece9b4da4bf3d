"""Comparing an answer with a recorded one, in which placeholders stand for values that differ from run to run."""

from __future__ import annotations

import re
from typing import Any

Bindings = dict[str, str]
"""What each placeholder has stood for so far."""

_PLACEHOLDER = re.compile(r"\{\{(\w+)(?::(\d+))?\}\}")
_FORMS = {
    "uid": r"[0-9a-f-]{36}",
    "rv": r"\d+",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "microtime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z",
    "ip": r"[0-9.]+",
    "continue": r"[\w=-]+",
    "rand": r"[a-z0-9]{5}",
    "hash": r"[a-z0-9]{5,10}",
    "hex": r"[0-9a-f]{14,16}",
    "jwt": r"[\w-]+\.[\w-]+\.[\w-]+",
    "any": r"[\s\S]*",
    "pem": r"-----BEGIN[\s\S]*?-----END [A-Z ]+-----\n?",
}
_REBOUND = {"rv", "time", "microtime", "ip"}
"""May stand for another value at every step."""


class Comparison:
    """Differences between a recorded value and an actual one; binds placeholders on the way."""

    def __init__(self, bindings: Bindings) -> None:
        self.bindings = dict(bindings)
        self.differences: list[tuple[str, Any, Any]] = []

    def compare(self, recorded: Any, actual: Any, path: str = "") -> None:
        """Add what differs, by JSON path."""
        if isinstance(recorded, str) and isinstance(actual, str):
            self._text(recorded, actual, path)
        elif isinstance(recorded, dict) and isinstance(actual, dict):
            self._objects(recorded, actual, path)
        elif isinstance(recorded, list) and isinstance(actual, list):
            if len(recorded) != len(actual):
                self.differences.append((path, f"{len(recorded)} items", f"{len(actual)} items"))
            for i, (one, other) in enumerate(zip(recorded, self._in_order(recorded, actual), strict=False)):
                self.compare(one, other, f"{path}/{i}")
        elif recorded != actual or type(recorded) is not type(actual):
            self.differences.append((path, recorded, actual))

    def _in_order(self, recorded: list[Any], actual: list[Any]) -> list[Any]:
        """Lists are ordered by name, so random names come in another order: what is known by name is put beside it."""
        names = [_name(filled_in(r, self.bindings)) for r in recorded]
        by_name = {_name(a): a for a in actual}
        if None in names or None in by_name or not any(_PLACEHOLDER.search(_name(r) or "") for r in recorded):
            return actual
        known = [by_name.pop(n, None) if n is not None else None for n in names]
        rest = iter([a for a in actual if _name(a) in by_name])
        return [k if k is not None else next(rest, None) for k in known]

    def _text(self, recorded: str, actual: str, path: str) -> None:
        pattern, position, names = "", 0, []
        for found in _PLACEHOLDER.finditer(recorded):
            pattern += re.escape(recorded[position : found.start()])
            if found[1] not in _REBOUND and found[0] in self.bindings:
                pattern += re.escape(self.bindings[found[0]])
            else:
                pattern += f"({_FORMS[found[1]]})"
                names.append(found[0])
            position = found.end()
        match = re.fullmatch(pattern + re.escape(recorded[position:]), actual)
        if match is None:
            self.differences.append((path, recorded, actual))
        else:
            self.bindings.update(zip(names, match.groups(), strict=True))

    def _objects(self, recorded: dict[str, Any], actual: dict[str, Any], path: str) -> None:
        actual = {k: v for k, v in actual.items() if k != "managedFields"}
        renamed = {self._actual_key(k, recorded, actual): k for k in recorded}
        # Names first: they bind what the rest refers to.
        for key in sorted(renamed, key=lambda k: (k not in ("metadata", "generateName", "name"), k)):
            if key in actual:
                self.compare(recorded[renamed[key]], actual[key], f"{path}/{renamed[key]}")
            else:
                self.differences.append((f"{path}/{renamed[key]}", recorded[renamed[key]], "<absent>"))
        for key in sorted(set(actual) - set(renamed)):
            self.differences.append((f"{path}/{key}", "<absent>", actual[key]))

    def _actual_key(self, key: str, recorded: dict[str, Any], actual: dict[str, Any]) -> str:
        if key in actual or not _PLACEHOLDER.search(key):
            return key
        pattern = "".join(
            _FORMS[part[2:-2].partition(":")[0]] if part.startswith("{{") else re.escape(part)
            for part in re.split(r"(\{\{[\w:]+\}\})", key)
        )
        return next((a for a in actual if a not in recorded and re.fullmatch(pattern, a)), key)


def _name(value: Any) -> str | None:
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), dict):
        return None
    name: str | None = value["metadata"].get("name")
    return name


def filled_in(value: Any, bindings: Bindings) -> Any:
    """``value`` with what its placeholders stand for."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: bindings.get(found[0], found[0]), value)
    if isinstance(value, list):
        return [filled_in(v, bindings) for v in value]
    if isinstance(value, dict):
        return {k: filled_in(v, bindings) for k, v in value.items()}
    return value


def shape(body: Any) -> Any:
    """What ``match: shape`` compares."""
    return {"kind": body.get("kind"), "apiVersion": body.get("apiVersion")} if isinstance(body, dict) else str(body)
