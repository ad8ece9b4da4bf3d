"""Turning what pydantic says about a document into what a person needs: where, what, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from nightshift.catalogue.documents import Document, Trail
from nightshift.catalogue.mistakes import Mistake, did_you_mean
from nightshift.catalogue.models import System
from nightshift.catalogue.schema import catalogue_schema
from nightshift.remediation.text import printable

_BY_NAME = ("channels", "roles", "connections", "runbooks")
_LEAST = {"title": "-", "display": "-", "severities": {"critical": {}, "warning": {}, "info": {}}}
"""What stands in for the parts every system must have."""
_LOST = "lost"
_LOST_STEP = {"after": 0, "roles": [_LOST]}
_SHAPES = {
    "model_type": "should be a mapping of keys to values",
    "dict_type": "should be a mapping of keys to values",
    "tuple_type": "should be a list",
    "string_type": "should be text",
}
_NUMBERS = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
}
KEPT_ELSEWHERE = "Write env: NAME, file: PATH or prefect_block: NAME here, and keep the secret there"


Schema = Mapping[str, Any]


def explain(document: Document, error: ValidationError, schema: Schema | None = None) -> Iterator[Mistake]:
    """Every mistake pydantic found; what stands in the file is repeated only for names and choices.

    Args:
        document: the file.
        error: what pydantic says.
        schema: of the whole document; without one, it is a system's.
    """
    for detail in error.errors(include_url=False):
        yield _explain_one(document, detail, schema or catalogue_schema())


def salvaged(document: Document, error: ValidationError) -> tuple[System | None, frozenset[str]]:
    """The system without its mistaken parts, so that the rest can be checked too, and the names of those parts."""
    rest: dict[str, Any] = dict(document.value) if isinstance(document.value, dict) else {}
    lost = {_LOST}
    for detail in error.errors(include_url=False, include_context=False):
        section, *parts = document.known_path(detail["loc"]) or ("",)
        if section in _BY_NAME and parts:
            rest[section] = {name: part for name, part in rest.get(section, {}).items() if name != parts[0]}
            lost.add(str(parts[0]))
        elif section == "escalation" and parts:
            rest[section] = [_LOST_STEP if index == parts[0] else step for index, step in enumerate(rest[section])]
        else:
            rest.pop(str(section), None)
    try:
        return System.model_validate(_LEAST | {"id": document.file.stem} | rest), frozenset(lost)
    except ValidationError:
        return None, frozenset()


def _explain_one(document: Document, detail: Mapping[str, Any], root: Schema) -> Mistake:
    location, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    trail = document.known_path(location)
    if kind == "missing":
        return document.mistake(trail, f"{str(location[-1])!r} is missing", of_key=True)
    if kind == "extra_forbidden":
        return document.mistake(
            trail, "is not known here", did_you_mean(str(trail[-1]), _keys(document, trail[:-1], root)), of_key=True
        )
    if kind in ("model_type", "model_attributes_type") and context.get("class_name") == "SecretReference":
        return document.mistake(trail, "a secret is written in the file", KEPT_ELSEWHERE)
    if kind in ("enum", "literal_error"):
        choices = re.findall(r"'([^']*)'", context["expected"])
        return document.mistake(
            trail, f"{_shown(detail['input'])} is not one of its values", did_you_mean(str(detail["input"]), choices)
        )
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _explain_tag(document, trail, detail, root)
    of_key = location[-1:] == ("[key]",)
    return document.mistake(trail, *_in_words(detail), of_key=of_key)


def _explain_tag(document: Document, trail: Trail, detail: Mapping[str, Any], root: Schema) -> Mistake:
    """A value that chooses between several forms, such as the type of a connection, is missing or unknown."""
    candidates = list(_alternatives(root, document, trail, narrow=False))
    consts: dict[str, list[str]] = {}
    for candidate in candidates:
        for key, schema in candidate.get("properties", {}).items():
            if "const" in schema:
                consts.setdefault(key, []).append(schema["const"])
    key = max(consts, key=lambda name: len(consts[name]))
    value = detail["input"].get(key) if isinstance(detail["input"], dict) else None
    if value is None:
        return document.mistake(trail, f"{key!r} is missing", f"Write one of {', '.join(consts[key])}", of_key=True)
    return document.mistake(
        (*trail, key), f"{_shown(value)} is not one of its values", did_you_mean(str(value), consts[key])
    )


def _in_words(detail: Mapping[str, Any]) -> tuple[str, str]:
    """Problem and remedy of the remaining kinds, from pydantic's own message."""
    message: str = detail["msg"]
    if detail["type"] in _SHAPES:
        return _SHAPES[detail["type"]], ""
    if detail["type"] == "too_short":
        return f"should have at least {detail['ctx']['min_length']}, and has {detail['ctx']['actual_length']}", ""
    if detail["type"] in ("value_error", "assertion_error"):
        return message.partition(", ")[2], ""
    if detail["type"] == "string_pattern_mismatch":
        return "is not written as it must be", f"Write text that matches {detail['ctx']['pattern']}"
    if detail["type"] in _NUMBERS:
        return f"should be {_NUMBERS[detail['type']]}", "Write it in digits, such as 20"
    if detail["type"] in ("url_scheme", "url_parsing"):
        return "is no address of an HTTP server", "Write it whole, such as http://prometheus:9090"
    wrong, _, why = message.partition(", ")
    problem = wrong.replace("Input should", "should")
    return f"{problem[:1].lower()}{problem[1:]}" + (f" ({why})" if why else ""), ""


def _shown(value: object) -> str:
    return f"'{printable(str(value), 60)}'"


def _keys(document: Document, trail: Trail, root: Schema) -> Sequence[str]:
    """The keys that may stand in the mapping at a trail."""
    alternatives = _alternatives(root, document, trail, narrow=True)
    return sorted({key for schema in alternatives for key in schema.get("properties", {})})


def _alternatives(root: Schema, document: Document, trail: Trail, *, narrow: bool) -> Iterator[Schema]:
    """The schemas that the value at a trail may follow; narrowed by its constants, those it is meant to follow."""
    current, value = list(_expanded({"$ref": "#"}, root)), document.value
    for part in trail:
        current = [inner for option in _fitting(current, value) for inner in _inside(option, part, root)]
        value = value[part]  # type: ignore[index]
    yield from _fitting(current, value) if narrow else current


def _expanded(schema: Schema, root: Schema) -> Iterator[Schema]:
    """The schema with references followed and alternatives taken apart."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#").removeprefix("/$defs/")
        named = root["$defs"][name] if name else root
        yield from _expanded({k: v for k, v in named.items() if k != "$defs"}, root)
    elif options := schema.get("anyOf") or schema.get("oneOf"):
        for option in options:
            yield from _expanded(option, root)
    else:
        yield schema


def _fitting(options: Sequence[Schema], value: object) -> list[Schema]:
    """The options whose constants do not contradict the value."""
    if not isinstance(value, dict):
        return list(options)
    return [
        option
        for option in options
        if all(
            value.get(key, schema.get("default")) == schema["const"]
            for key, schema in option.get("properties", {}).items()
            if "const" in schema
        )
    ]


def _inside(schema: Schema, part: str | int, root: Schema) -> Iterator[Schema]:
    """What the schema says about one item or one key."""
    if isinstance(part, int):
        inner = [schema.get("items")]
    elif part in schema.get("properties", {}):
        inner = [schema["properties"][part]]
    else:
        inner = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    for option in inner:
        if isinstance(option, Mapping):
            yield from _expanded(option, root)
