"""JSON patch, JSON merge patch and the strategic merge patch of built-in resources."""

from __future__ import annotations

import copy
from typing import Any

from tests.fakes.kubernetes.errors import failure
from tests.fakes.kubernetes.objects import Obj

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "secrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "conditions": "type",
    "addresses": "type",
    "hostAliases": "ip",
    "podIPs": "ip",
    "ownerReferences": "uid",
    "topologySpreadConstraints": "topologyKey",
}
"""Lists merged by key in a strategic patch (``patchMergeKey`` of the API types). Every other list is replaced."""

_PORT_KEYS = ("containerPort", "port")
_MERGED_SETS = ("finalizers",)


class PatchRejectedError(Exception):
    """The operations of a JSON patch do not apply."""


def _walk(document: Any, pointer: str) -> tuple[Any, str]:
    parts = [p.replace("~1", "/").replace("~0", "~") for p in pointer.split("/")[1:]]
    if not parts:
        raise PatchRejectedError(pointer)
    for part in parts[:-1]:
        try:
            document = document[int(part)] if isinstance(document, list) else document[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise PatchRejectedError(pointer) from None
    return document, parts[-1]


def _lookup(document: Any, pointer: str) -> Any:
    parent, last = _walk(document, pointer)
    try:
        return parent[int(last)] if isinstance(parent, list) else parent[last]
    except (KeyError, IndexError, ValueError, TypeError):
        raise PatchRejectedError(pointer) from None


def _add(document: Any, pointer: str, value: Any) -> None:
    parent, last = _walk(document, pointer)
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else int(last), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise PatchRejectedError(pointer)


def _remove(document: Any, pointer: str) -> Any:
    found = _lookup(document, pointer)
    parent, last = _walk(document, pointer)
    del parent[int(last) if isinstance(parent, list) else last]
    return found


def json_patch(obj: Obj, operations: list[Obj]) -> Obj:
    """RFC 6902.

    Raises:
        ApiError: 422, an operation does not apply (a ``test`` that fails, a path that is missing).
    """
    result = copy.deepcopy(obj)
    try:
        for operation in operations:
            _apply(result, operation)
    except PatchRejectedError:
        raise failure(422, "Invalid", "the server rejected our request due to an error in our request", {}) from None
    return result


def _apply(result: Obj, operation: Obj) -> None:
    path = operation["path"]
    match operation["op"]:
        case "test":
            if _lookup(result, path) != operation.get("value"):
                raise PatchRejectedError(path)
        case "add":
            _add(result, path, copy.deepcopy(operation["value"]))
        case "remove":
            _remove(result, path)
        case "replace":
            _lookup(result, path)
            parent, last = _walk(result, path)
            parent[int(last) if isinstance(parent, list) else last] = copy.deepcopy(operation["value"])
        case "copy":
            _add(result, path, copy.deepcopy(_lookup(result, operation["from"])))
        case "move":
            _add(result, path, _remove(result, operation["from"]))
        case _:
            raise PatchRejectedError(path)


def merge_patch(obj: Any, patch: Any) -> Any:
    """RFC 7386: null removes, a list replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(obj) if isinstance(obj, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def _merge_key(field: str, items: list[Any]) -> str | None:
    if field == "ports":
        return next((k for k in _PORT_KEYS if items and isinstance(items[0], dict) and k in items[0]), None)
    return MERGE_KEYS.get(field)


def _merge_list(old: list[Any], patch: list[Any], key: str) -> list[Any]:
    if any(isinstance(p, dict) and p.get("$patch") == "replace" for p in patch):
        return [strategic_merge({}, p) for p in patch if p.get("$patch") != "replace"]
    result = list(old)
    fresh: list[Any] = []
    for entry in patch:
        if not isinstance(entry, dict):
            continue
        at = next((i for i, o in enumerate(result) if o.get(key) == entry.get(key)), None)
        if entry.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            fresh.append(strategic_merge({}, entry))
        else:
            result[at] = strategic_merge(result[at], entry)
    return fresh + result


def _ordered(merged: list[Any], order: list[Any], key: str) -> list[Any]:
    rank = {entry.get(key): i for i, entry in enumerate(order) if isinstance(entry, dict)}
    return sorted(merged, key=lambda e: rank.get(e.get(key), len(rank)))


def _directive(result: Obj, directive: str, field: str, value: list[Any]) -> None:
    if directive == "$deleteFromPrimitiveList":
        result[field] = [v for v in result.get(field, []) if v not in value]
    elif directive == "$setElementOrder" and isinstance(result.get(field), list):
        key = _merge_key(field, result[field])
        if key is not None:
            result[field] = _ordered(result[field], value, key)


def _instead(patch: Obj) -> Obj:
    """What a patch leaves that says to replace or delete all there was."""
    kept = patch if patch["$patch"] == "replace" else {}
    return {k: copy.deepcopy(v) for k, v in kept.items() if k != "$patch"}


def strategic_merge(obj: Obj, patch: Obj) -> Obj:
    """Kubernetes' own merge: lists with a key are merged entry by entry, null removes."""
    if patch.get("$patch") in ("replace", "delete"):
        return _instead(patch)
    result = dict(obj)
    directives = [(k, v) for k, v in patch.items() if k.startswith("$")]
    for field, value in patch.items():
        if field.startswith("$"):
            continue
        old = result.get(field)
        if value is None:
            result.pop(field, None)
        elif isinstance(value, dict):
            result[field] = strategic_merge(old if isinstance(old, dict) else {}, value)
        elif isinstance(value, list):
            result[field] = _merged_field(field, old if isinstance(old, list) else [], value)
        else:
            result[field] = value
    for name, value in directives:
        directive, _, field = name.partition("/")
        if directive == "$retainKeys":
            result = {k: v for k, v in result.items() if k in value}
        elif field:
            _directive(result, directive, field, value)
    return result


def _merged_field(field: str, old: list[Any], value: list[Any]) -> list[Any]:
    if field in _MERGED_SETS:
        return old + [v for v in value if v not in old]
    key = _merge_key(field, value)
    if key is None or not value:
        return copy.deepcopy(value) if key is None else old
    return _merge_list(old, value, key)
