"""``managedFields``: who wrote which field last, as documented for server-side apply (field management).

A field is a path such as ``("f:spec", 'k:{"name":"app"}', "f:image")``. An update makes its manager the only owner of
what it changed, with the parts that it began (``.``); an apply owns all that it states, shares what others state
equally, conflicts with what they state otherwise, and takes away what it stated before and nobody else does. Lists that
merge by key have elements, sets have values, all other lists are one field. What the server sets has no owner.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.objects import Obj, timestamp

Path = tuple[str, ...]

_KEYS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("containers", "initContainers", "ephemeralContainers", "volumes", "env"), ("name",)),
    **dict.fromkeys(("conditions", "addresses"), ("type",)),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ownerReferences": ("uid",),
    "hostAliases": ("ip",),
    "podIPs": ("ip",),
}
_PORTS = (("containerPort", "protocol"), ("port", "protocol"))
_SETS = ("finalizers",)
_ATOMIC = frozenset(
    (
        *("selector", "nodeSelector", "configMapKeyRef", "secretKeyRef", "configMapRef", "secretRef", "fieldRef"),
        *("involvedObject", "scaleTargetRef", "containerStatuses", "initContainerStatuses"),
    )
)
_ALWAYS_THERE = ("metadata", "spec", "status", "template", "strategy", "updateStrategy", "containers")
"""Parts that the server's own kinds have even when empty: nobody begins them. Of custom kinds, only the first."""
_NOBODYS = frozenset(
    (
        *("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink"),
        *("managedFields", "deletionTimestamp", "deletionGracePeriodSeconds"),
    )
)


@dataclass(frozen=True)
class Writer:
    """Who writes, and how."""

    manager: str
    subresource: str = ""
    applied: frozenset[Path] | None = None
    """All that a server-side apply states; None: an update."""

    @property
    def operation(self) -> str:
        return "Update" if self.applied is None else "Apply"

    def wrote(self, entry: Obj) -> bool:
        """Whether the entry is this writer's."""
        same = (entry["manager"], entry["operation"], entry.get("subresource", ""))
        return same == (self.manager, self.operation, self.subresource)


def writer_of(query: dict[str, str], agent: str, subresource: str) -> Writer:
    """As a request names it; else the program, by its ``User-Agent``."""
    return Writer(query.get("fieldManager") or agent.partition("/")[0] or "unknown", subresource)


def created(obj: Obj, writer: Writer) -> None:
    """Write the first entry into a new object."""
    stated = writer.applied
    if stated is None:
        stated = frozenset(
            path for path in _fields(_owned(obj), (), _there(obj)) if path[:1] not in ((), ("f:status",))
        )
    if stated:
        obj["metadata"]["managedFields"] = [_entry(obj, writer, stated)]


def updated(old: Obj, new: Obj, writer: Writer) -> None:
    """Write into ``new`` who owns what after its writer made it of ``old``."""
    changed, removed = set[Path](), set[Path]()
    _differences(_owned(old), _owned(new), (), _there(new), changed, removed)
    entries, mine = list[Obj](), None
    for entry in old["metadata"].get("managedFields", []):
        if writer.wrote(entry):
            mine = entry
            continue
        left = _paths(entry) - changed - removed
        if left:
            entries.append({**entry, "fieldsV1": _nested(left)})
    before = set[Path]() if mine is None else _paths(mine)
    stated = (before | changed) - removed if writer.applied is None else set(writer.applied)
    if stated:
        fresh = _entry(new, writer, stated)
        moved = stated != before or changed
        entries.append(fresh if mine is None or moved else mine)
    new["metadata"]["managedFields"] = sorted(entries, key=_order)
    if not entries:
        del new["metadata"]["managedFields"]


def _order(entry: Obj) -> tuple[bool, str, str]:
    return entry["operation"] != "Apply", entry["time"], entry["manager"]


def _entry(obj: Obj, writer: Writer, stated: set[Path] | frozenset[Path]) -> Obj:
    entry = {
        "manager": writer.manager,
        "operation": writer.operation,
        "apiVersion": obj["apiVersion"],
        "time": timestamp(),
        "fieldsType": "FieldsV1",
        "fieldsV1": _nested(stated),
    }
    return entry | ({"subresource": writer.subresource} if writer.subresource else {})


def fields_of(applied: Obj, *, status: bool = False) -> frozenset[Path]:
    """What a server-side apply states."""
    owned = _owned(applied)
    if not status:
        owned.pop("status", None)
    return frozenset(path for path in _fields(owned, (), None) if path)


def _owned(obj: Obj) -> Obj:
    metadata = {k: v for k, v in obj.get("metadata", {}).items() if k not in _NOBODYS}
    rest = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata")}
    return {**rest, "metadata": metadata} if metadata else rest


def _there(obj: Obj) -> tuple[str, ...]:
    group = obj["apiVersion"].rpartition("/")[0]
    return _ALWAYS_THERE[:1] if "." in group and not group.endswith(".k8s.io") else _ALWAYS_THERE


def _elements(path: Path, value: Any) -> dict[str, Any] | None:
    """The parts of a value by their step in a path; None: it is one field."""
    field = _field(path)
    if field in _ATOMIC or "f:ownerReferences" in path[:-1]:
        return None
    if isinstance(value, dict) and value:
        return {f"f:{key}": inner for key, inner in value.items()}
    if not isinstance(value, list) or not value:
        return None
    if field in _SETS:
        return {f"v:{json.dumps(one)}": None for one in value}
    keys = _KEYS.get(field) or next((keys for keys in _PORTS if field == "ports" and _have(value, keys)), None)
    if keys is None or not _have(value, keys):
        return None
    return {f"k:{json.dumps({key: one[key] for key in keys}, separators=(',', ':'))}": one for one in value}


def _have(value: list[Any], keys: tuple[str, ...]) -> bool:
    return all(isinstance(one, dict) and set(keys) <= set(one) for one in value)


def _field(path: Path) -> str:
    return path[-1][2:] if path and path[-1].startswith("f:") else ""


def _fields(value: Any, path: Path, there: tuple[str, ...] | None) -> Iterator[Path]:
    """All fields at and below a path; with those parts there before, or, for an apply (None), only elements begun."""
    parts = _elements(path, value)
    if parts is None:
        yield path
        return
    is_element = bool(path) and path[-1].startswith("k:")
    if is_element or (path and there is not None and _field(path) not in there):
        yield (*path, ".")
    for step, inner in parts.items():
        yield from _fields(inner, (*path, step), there)


def _differences(
    old: Any, new: Any, path: Path, there: tuple[str, ...], changed: set[Path], removed: set[Path]
) -> None:
    if old == new:
        return
    before, after = _elements(path, old), _elements(path, new)
    if before is None or after is None:
        now = set(_fields(new, path, there))
        changed |= now
        removed |= set(_fields(old, path, there)) - now
        return
    for step in before.keys() | after.keys():
        here = (*path, step)
        if step not in after:
            removed |= set(_fields(before[step], here, there))
        elif step not in before:
            changed |= set(_fields(after[step], here, there))
        else:
            _differences(before[step], after[step], here, there, changed, removed)


def _paths(entry: Obj) -> set[Path]:
    def walk(fields: Obj, path: Path) -> Iterator[Path]:
        if not fields:
            yield path
        for step, below in fields.items():
            yield from walk(below, (*path, step))

    return set(walk(entry["fieldsV1"], ()))


def _nested(stated: set[Path] | frozenset[Path]) -> Obj:
    fields: Obj = {}
    for path in sorted(stated):
        below = fields
        for step in path:
            below = below.setdefault(step, {})
    return fields


# Server-side apply


def check_conflicts(writer: Writer, old: Obj, applied: Obj) -> None:
    """See that nobody else owns a field that would get another value.

    Raises:
        ApiError: 409, with each of them.
    """
    causes: list[Obj] = []
    others = [e for e in old["metadata"].get("managedFields", []) if not writer.wrote(e)]
    for path in sorted(writer.applied or ()):
        differs = path[-1] != "." and _at(old, path) != _at(applied, path)
        causes += [_conflict(entry, path) for entry in others if differs and path in _paths(entry)]
    if causes:
        plural = "conflict" if len(causes) == 1 else "conflicts"
        listed = f"{causes[0]['message']}: {causes[0]['field']}" if len(causes) == 1 else _by_owner(causes)
        message = f"Apply failed with {len(causes)} {plural}: {listed}"
        raise errors.failure(409, "Conflict", message, {"causes": causes})


def _conflict(entry: Obj, path: Path) -> Obj:
    return {"reason": "FieldManagerConflict", "message": f"conflict with {_named(entry)}", "field": _shown(path)}


def _by_owner(causes: list[Obj]) -> str:
    told = dict[str, list[str]]()
    for cause in causes:
        told.setdefault(cause["message"].replace("conflict", "conflicts", 1), []).append(cause["field"])
    return "\n".join(f"{who}:\n" + "\n".join(f"- {field}" for field in fields) for who, fields in told.items())


def _named(entry: Obj) -> str:
    named = json.dumps(entry["manager"])
    if entry.get("subresource"):
        named += f' with subresource "{entry["subresource"]}"'
    return f"{named} using {entry['apiVersion']}" if entry["operation"] == "Update" else named


def _shown(path: Path) -> str:
    shown = ""
    for step in path:
        mark, _, name = step.partition(":")
        if mark == "f":
            shown += f".{name}"
        elif mark == "k":
            shown += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(name).items()) + "]"
        elif mark == "v":
            shown += f"[={name}]"
    return shown


def without_forgotten(writer: Writer, old: Obj, merged: Obj) -> Obj:
    """``merged`` without what this applier stated before, states no more, and nobody else owns."""
    entries = old["metadata"].get("managedFields", [])
    before = {path for entry in entries if writer.wrote(entry) for path in _paths(entry)}
    theirs = {path for entry in entries if not writer.wrote(entry) for path in _paths(entry)}
    result = copy.deepcopy(merged)
    # The deepest first, so that an element goes as a whole after its fields.
    for path in sorted(before - set(writer.applied or ()) - theirs, key=len, reverse=True):
        _drop(result, path[:-1] if path[-1] == "." else path)
    return result


def _at(value: Any, path: Path) -> Any:
    for index, step in enumerate(path):
        parts = _elements(path[:index], value)
        if parts is None or step not in parts:
            return None
        value = parts[step]
    return value


def _drop(obj: Obj, path: Path) -> None:
    above = _at(obj, path[:-1]) if len(path) > 1 else obj
    step = path[-1]
    if isinstance(above, dict):
        above.pop(step[2:], None)
    elif isinstance(above, list):
        parts = _elements(path[:-1], above) or {}
        if step in parts:
            above.remove(json.loads(step[2:]) if step.startswith("v:") else parts[step])
