"""Metadata, conditions, selectors, amounts and events."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from nightshift.remediation.kubernetes.objects import (
    UNSTATED,
    Condition,
    Event,
    FieldManager,
    Metadata,
    Owner,
    Requirement,
    Resources,
    Selector,
)

Json = Mapping[str, Any]
_OURS_TO_READ = ("cpu", "memory", "ephemeral-storage", "pods")


def part(document: Json, *path: str) -> Any:
    """What stands under this path; an empty mapping when something of it is missing or null."""
    found: Any = document
    for key in path:
        found = found.get(key) or {}
    return found


def listed(document: Json, *path: str) -> list[Any]:
    """The list under this path; empty when it is missing or null."""
    found = part(document, *path)
    if found and not isinstance(found, list):
        raise TypeError(f"{'.'.join(path)} is no list")
    return found or []


def text(document: Json, key: str) -> str:
    """The text under this key, empty when it is missing; numbers as they are written."""
    value = document.get(key)
    return "" if value is None else str(value)


def moment(value: str | None) -> datetime | None:
    """A time of the API, aware."""
    return datetime.fromisoformat(value) if value else None


def metadata(document: Json, *, managers: bool = True) -> Metadata:
    """Of any object.

    Args:
        document: the object.
        managers: whether to read who wrote which field.
    """
    meta = part(document, "metadata")
    return Metadata(
        name=text(meta, "name"),
        namespace=text(meta, "namespace"),
        uid=text(meta, "uid"),
        resource_version=text(meta, "resourceVersion"),
        generation=meta.get("generation") or 0,
        created_at=moment(meta.get("creationTimestamp")),
        deletion_at=moment(meta.get("deletionTimestamp")),
        deletion_grace_seconds=meta.get("deletionGracePeriodSeconds"),
        labels=dict(part(meta, "labels")),
        annotations=dict(part(meta, "annotations")),
        owners=tuple(map(_owner, listed(meta, "ownerReferences"))),
        finalizers=tuple(listed(meta, "finalizers")),
        managers=tuple(map(_manager, listed(meta, "managedFields"))) if managers else (),
    )


def _owner(reference: Json) -> Owner:
    return Owner(
        kind=text(reference, "kind"),
        name=text(reference, "name"),
        uid=text(reference, "uid"),
        api_version=text(reference, "apiVersion"),
        controller=bool(reference.get("controller")),
    )


def _manager(entry: Json) -> FieldManager:
    return FieldManager(
        manager=text(entry, "manager"),
        operation=text(entry, "operation") or "Update",
        subresource=text(entry, "subresource"),
        at=moment(entry.get("time")),
        fields=frozenset(_paths(part(entry, "fieldsV1"), "")),
    )


def _paths(fields: Json, above: str) -> Iterator[str]:
    """The leaves of a FieldsV1: ``f:`` is a field, ``k:`` an element by its keys, ``v:`` one by its value."""
    for key, below in fields.items():
        if key == ".":
            continue
        mark, _, name = key.partition(":")
        if mark == "f":
            path = f"{above}.{name}" if above else name
        elif mark == "k":
            keys = ",".join(f"{field}={value}" for field, value in sorted(json.loads(name).items()))
            path = f"{above}[{keys}]"
        else:
            path = f"{above}[{name}]"
        if below and set(below) != {"."}:
            yield from _paths(below, path)
        else:
            yield path


def conditions(document: Json) -> tuple[Condition, ...]:
    """``status.conditions`` of any object."""
    return tuple(
        Condition(
            type=text(one, "type"),
            status=text(one, "status"),
            reason=text(one, "reason"),
            message=text(one, "message"),
            since=moment(one.get("lastTransitionTime")),
            heard_at=moment(one.get("lastHeartbeatTime") or one.get("lastUpdateTime")),
            observed_generation=one.get("observedGeneration"),
        )
        for one in listed(document, "status", "conditions")
    )


def selector(document: Json | None) -> Selector | None:
    """A label selector; None when there is none."""
    if document is None:
        return None
    return Selector(
        labels=dict(part(document, "matchLabels")),
        expressions=tuple(
            Requirement(key=text(one, "key"), operator=text(one, "operator"), values=tuple(listed(one, "values")))
            for one in listed(document, "matchExpressions")
        ),
    )


def amount(quantity: str | float, *, scale: int = 1) -> int:
    """A quantity as a whole number of ``1/scale``, rounded up as the scheduler does."""
    from kubernetes.utils.quantity import parse_quantity

    return math.ceil(Decimal(parse_quantity(quantity)) * scale)  # type: ignore[no-untyped-call]


def resources(amounts: Json | None) -> Resources:
    """Amounts by resource, as of a node or of a container's requests."""
    if not amounts:
        return UNSTATED
    return Resources(
        cpu_millicores=amount(amounts["cpu"], scale=1000) if "cpu" in amounts else None,
        memory_bytes=amount(amounts["memory"]) if "memory" in amounts else None,
        storage_bytes=amount(amounts["ephemeral-storage"]) if "ephemeral-storage" in amounts else None,
        pods=amount(amounts["pods"]) if "pods" in amounts else None,
        others={name: str(value) for name, value in amounts.items() if name not in _OURS_TO_READ},
    )


def digest(document: Any) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def event(document: Json) -> Event:
    """An Event of core/v1."""
    about, series = part(document, "involvedObject"), part(document, "series")
    first = document.get("firstTimestamp") or document.get("eventTime")
    last = series.get("lastObservedTime") or document.get("lastTimestamp") or first
    return Event(
        meta=metadata(document, managers=False),
        kind=text(about, "kind"),
        about=text(about, "name"),
        about_uid=text(about, "uid"),
        type=text(document, "type") or "Normal",
        reason=text(document, "reason"),
        message=text(document, "message"),
        count=series.get("count") or document.get("count") or 1,
        first_at=moment(first),
        last_at=moment(last),
        source=text(part(document, "source"), "component") or text(document, "reportingComponent"),
    )
