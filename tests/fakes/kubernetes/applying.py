"""Server-side apply, as far as recorded: creation, conflicts about data with another applier."""

from __future__ import annotations

from typing import Any

import yaml

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.messages import Request, truth
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.patches import strategic_merge

_NOT_OWNED = ("apiVersion", "kind", "metadata")


class Appliers:
    """Who applied which value: (object's uid, field path) → manager."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, str], str] = {}

    def wanted(self, request: Request) -> tuple[str, Obj]:
        """(field manager, object applied).

        Raises:
            ApiError: 422 without a field manager.
        """
        manager = request.query.get("fieldManager", "")
        if not manager:
            cause = errors.required("fieldManager", "is required for apply patch")
            raise errors.invalid("PatchOptions", "meta.k8s.io", "", [cause])
        return manager, yaml.safe_load(request.body)

    def merged(self, request: Request, manager: str, old: Obj, applied: Obj) -> Obj:
        """Raises: ApiError 409, another manager set one of the values."""
        if not truth(request.query.get("force")):
            self._check(manager, old, applied)
        return strategic_merge(old, applied)

    def _check(self, manager: str, old: Obj, applied: Obj) -> None:
        causes: list[Obj] = []
        uid = old["metadata"]["uid"]
        for path, value in _leaves({k: v for k, v in applied.items() if k not in _NOT_OWNED}, ""):
            owner = self._owners.get((uid, path), manager)
            if owner != manager and _at(old, path) != value:
                causes.append({"reason": "FieldManagerConflict", "message": f'conflict with "{owner}"', "field": path})
        if causes:
            plural = "conflict" if len(causes) == 1 else "conflicts"
            listed = f"{causes[0]['message']}: {causes[0]['field']}"
            message = f"Apply failed with {len(causes)} {plural}: {listed}"
            raise errors.failure(409, "Conflict", message, {"causes": causes})

    def own(self, manager: str, stored: Obj, applied: Obj) -> None:
        """Remember that ``manager`` set what it applied."""
        for path, _ in _leaves({k: v for k, v in applied.items() if k not in _NOT_OWNED}, ""):
            self._owners[stored["metadata"]["uid"], path] = manager


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{path}.{key}")]
    return [(path, value)]


def _at(obj: Any, path: str) -> Any:
    for key in path.split(".")[1:]:
        obj = obj.get(key) if isinstance(obj, dict) else None
    return obj
