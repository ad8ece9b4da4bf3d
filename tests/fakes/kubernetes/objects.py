"""Kubernetes objects as plain JSON, and the few questions everybody asks them."""

from __future__ import annotations

import random
import time
import uuid
from datetime import UTC, datetime
from typing import Any

Obj = dict[str, Any]
"""One object as it goes over the wire. Objects in the store are never changed in place: copy, then write."""

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def timestamp(at: float | None = None) -> str:
    """``metav1.Time``: RFC 3339 in UTC with whole seconds."""
    return datetime.fromtimestamp(time.time() if at is None else at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp() -> str:
    """``metav1.MicroTime``: RFC 3339 in UTC with six fraction digits."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_since(stamp: str) -> float:
    return time.time() - datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def new_uid() -> str:
    return str(uuid.uuid4())


def random_suffix(length: int = 5) -> str:
    return "".join(random.choices(_SUFFIX_ALPHABET, k=length))  # noqa: S311 - a name, not a secret


def name_of(obj: Obj) -> str:
    return str(obj["metadata"]["name"])


def labels_of(obj: Obj) -> dict[str, str]:
    labels: dict[str, str] = obj["metadata"].get("labels") or {}
    return labels


def annotation(obj: Obj, key: str) -> str | None:
    value: str | None = (obj["metadata"].get("annotations") or {}).get(key)
    return value


def is_terminating(obj: Obj) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def controller_of(obj: Obj) -> Obj | None:
    return next((o for o in obj["metadata"].get("ownerReferences", []) if o.get("controller")), None)


def is_controlled_by(obj: Obj, owner: Obj) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def controller_reference(owner: Obj) -> Obj:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def condition(obj: Obj, kind: str) -> Obj | None:
    conditions: list[Obj] = (obj.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), None)


def is_true(obj: Obj, kind: str) -> bool:
    found = condition(obj, kind)
    return found is not None and found["status"] == "True"


def is_finished(pod: Obj) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def is_ready(pod: Obj) -> bool:
    return is_true(pod, "Ready") and not is_terminating(pod)


def is_active(pod: Obj) -> bool:
    """Counted by its controller: neither finished nor going."""
    return not is_finished(pod) and not is_terminating(pod)
