"""Objects that Nightshift makes: tried dry first, in its name, and known again by its mark."""

from __future__ import annotations

from typing import Any

from nightshift.remediation.clients.kubernetes.changing import FIELD_MANAGER
from nightshift.remediation.clients.kubernetes.cluster import Cluster, shown
from nightshift.remediation.clients.kubernetes.errors import (
    AlreadyExistsError,
    ConflictError,
    Json,
    ObjectNotFoundError,
)
from nightshift.remediation.clients.kubernetes.parsing.common import part
from nightshift.remediation.clients.kubernetes.resources import Resource
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes.marks import MADE_FOR

_DRY = {"dryRun": "All"}


def create(cluster: Cluster, resource: Resource[Any], body: Json, made_for: str) -> Json:
    """Make an object; what the server then has. One that was made for the same before is given as it is.

    Args:
        cluster: open.
        resource: its kind.
        body: with its name, and its namespace where its kind has one.
        made_for: the mark by which it is known again when the answer was lost.

    Raises:
        TargetChangedError: there is another object of this name.
        NightshiftError: it was refused, or its outcome is unknown.
    """
    meta = {**body["metadata"], "annotations": {**part(body, "metadata", "annotations"), MADE_FOR: made_for}}
    namespace, name = meta.get("namespace", ""), meta["name"]
    what, path = f"make {shown(resource, name, namespace)}", resource.path(namespace)
    query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
    marked = {**body, "metadata": meta}
    try:
        cluster.transport.request(f"{what} (dry run)", "POST", path, {**query, **_DRY}, marked)
        return cluster.transport.request(what, "POST", path, query, marked)
    except AlreadyExistsError:
        there = made(cluster, resource, namespace, name, made_for)
        if there is None:
            raise TargetChangedError(f"{shown(resource, name, namespace)} is there already.") from None
        return there


def made(cluster: Cluster, resource: Resource[Any], namespace: str, name: str, made_for: str) -> Json | None:
    """The object, if it is there and was made for this."""
    try:
        found = cluster.document(resource, name, namespace)
    except ObjectNotFoundError:
        return None
    return found if part(found, "metadata", "annotations").get(MADE_FOR) == made_for else None


def remove(cluster: Cluster, resource: Resource[Any], namespace: str, name: str, uid: str) -> bool:
    """Delete this very object, which must be one that Nightshift made; False: it is gone.

    Raises:
        TargetChangedError: somebody else made it.
        NightshiftError: it was refused, or its outcome is unknown.
    """
    what, path = f"delete {shown(resource, name, namespace)}", resource.path(namespace, name)
    try:
        found = cluster.document(resource, name, namespace)
        if found["metadata"].get("uid") != uid:
            return False
        if MADE_FOR not in part(found, "metadata", "annotations"):
            raise TargetChangedError(f"{shown(resource, name, namespace)} was made by somebody else.")
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        cluster.transport.request(f"{what} (dry run)", "DELETE", path, _DRY, body)
        cluster.transport.request(what, "DELETE", path, None, body)
    except (ObjectNotFoundError, ConflictError):
        return False
    return True
