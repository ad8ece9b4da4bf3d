"""Label and field selectors, with the parse errors of the real server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.kubernetes.errors import bad_request
from tests.fakes.kubernetes.objects import Obj

Matches = Callable[[Mapping[str, str]], bool]
_TOKEN = re.compile(r"\s*(==|!=|=|!|,|\(|\)|[^\s=!,()]+)")


def _tokens(text: str) -> list[str]:
    return [m[1] for m in _TOKEN.finditer(text)]


def _parse_set(tokens: list[str]) -> set[str]:
    if not tokens or tokens.pop(0) != "(":
        raise bad_request("unable to parse requirement: found '', expected: '('")
    values: set[str] = set()
    while True:
        token = tokens.pop(0) if tokens else ""
        if token == ")":
            return values
        if token == "":
            raise bad_request("unable to parse requirement: found '', expected: ',', ')' or identifier")
        if token != ",":
            values.add(token)


def _parse_requirement(tokens: list[str]) -> Matches:
    key = tokens.pop(0)
    if key == "!":
        absent = tokens.pop(0) if tokens else ""
        return lambda labels: absent not in labels
    operator = tokens[0] if tokens else ","
    if operator == ",":
        return lambda labels: key in labels
    tokens.pop(0)
    if operator in ("=", "==", "!="):
        value = tokens.pop(0) if tokens and tokens[0] != "," else ""
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if operator in ("in", "notin"):
        values = _parse_set(tokens)
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    raise bad_request(f"unable to parse requirement: found '{operator}', expected: in, notin, =, ==, !=, gt, lt")


def label_selector(text: str) -> Matches:
    """What ``labelSelector=`` means.

    Raises:
        ApiError: 400, the text cannot be parsed.
    """
    tokens = _tokens(text)
    requirements: list[Matches] = []
    while tokens:
        requirements.append(_parse_requirement(tokens))
        if tokens and tokens[0] != ",":
            raise bad_request(f"found '{tokens[0]}', expected: ',' or 'end of string'")
        if tokens:
            tokens.pop(0)
    return lambda labels: all(matches(labels) for matches in requirements)


def _expression(entry: Obj) -> Matches:
    key, operator, values = entry["key"], entry["operator"], set(entry.get("values") or ())
    choices: dict[str, Matches] = {
        "In": lambda labels: labels.get(key) in values,
        "NotIn": lambda labels: labels.get(key) not in values,
        "Exists": lambda labels: key in labels,
        "DoesNotExist": lambda labels: key not in labels,
    }
    return choices[operator]


def object_selector(selector: Obj | None) -> Matches:
    """What a ``metav1.LabelSelector`` means; an absent one matches nothing, an empty one everything."""
    if selector is None:
        return lambda _: False
    wanted: dict[str, str] = selector.get("matchLabels") or {}
    expressions = [_expression(e) for e in selector.get("matchExpressions") or []]

    def matches(labels: Mapping[str, str]) -> bool:
        return all(labels.get(k) == v for k, v in wanted.items()) and all(e(labels) for e in expressions)

    return matches


def _field(obj: Obj, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "false" if path == "spec.unschedulable" else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def field_requirements(text: str) -> list[tuple[str, bool, str]]:
    """(field, wanted equal, value) of every part.

    Raises:
        ApiError: 400, the text cannot be parsed.
    """
    requirements: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"([^=!\s]+)(!=|==|=)([^=]*)", part)
        if found is None:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        requirements.append((found[1], found[2] != "!=", found[3]))
    return requirements


def field_selector(text: str, supported: frozenset[str], plain_error: bool = False) -> Callable[[Obj], bool]:
    """What ``fieldSelector=`` means for a resource.

    Raises:
        ApiError: 400, the text cannot be parsed or the resource does not offer the field.
    """
    requirements = field_requirements(text)
    for field, _, _ in requirements:
        if field not in supported:
            if plain_error:
                raise bad_request(
                    f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
                )
            raise bad_request(f"field label not supported: {field}")
    return lambda obj: all((_field(obj, field) == value) is equal for field, equal, value in requirements)
