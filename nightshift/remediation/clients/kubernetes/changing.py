"""Changes of objects: read, edit a copy, send the difference, locked to the very object and version that were read.

Every change is tried dry on the server first (admission and validation speak up before anything happens; quotas and
limit ranges judge only pods: :mod:`nightshift.remediation.clients.kubernetes.namespace_look`), carries our name (field
manager ``nightshift``), and is a JSON merge patch (RFC 7396): as the version is locked, lists may be sent whole, and it
works the same for custom resources. Somebody else's change in between is judged anew.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.kubernetes.cluster import Cluster, shown
from nightshift.remediation.clients.kubernetes.errors import ConflictError, Json, ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import PODS, Resource
from nightshift.remediation.clients.kubernetes.transport import MERGE_PATCH
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes.objects import Pod

FIELD_MANAGER = "nightshift"
_MOST_CONFLICTS = 5
_DRY = {"dryRun": "All"}


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One change of one object, in its parts."""

    resource: Resource[Any]
    name: str
    namespace: str = ""
    uid: str
    subresource: str = ""
    """``scale`` or ``status``: the part of the object that is read and changed."""
    misfit: Callable[[Json], str | None]
    """Why the object is not as diagnosed any more, in words after its name; None when it is."""
    apply: Callable[[Json], None]
    """Edits the copy."""
    done: Callable[[Json], bool]
    """Whether the object is as the change would leave it."""


def check(cluster: Cluster, edit: Edit) -> None:
    """See that the object is as diagnosed.

    Raises:
        TargetChangedError: it is not.
    """
    document = _read(cluster, edit)
    if not edit.done(document) and (why := edit.misfit(document)) is not None:
        raise TargetChangedError(f"{_named(edit)} {why}.")


def observe(cluster: Cluster, edit: Edit) -> Observation:
    """Whether the change is in place; nobody can tell for an object that is not the same any more."""
    try:
        return Observation.DONE if edit.done(_read(cluster, edit)) else Observation.NOT_DONE
    except TargetChangedError:
        return Observation.UNKNOWN


def carry_out(cluster: Cluster, edit: Edit) -> Json:
    """Make the change; what the server then has. An object that is as wanted already stays untouched.

    Raises:
        TargetChangedError: the object is not as diagnosed, or others change it faster than we can.
        NightshiftError: it was refused, or its outcome is unknown.
    """
    for _ in range(_MOST_CONFLICTS):
        before = _read(cluster, edit)
        if edit.done(before):
            return before
        if (why := edit.misfit(before)) is not None:
            raise TargetChangedError(f"{_named(edit)} {why}.")
        after = copy.deepcopy(before)
        edit.apply(after)
        try:
            return _patch(cluster, edit, before, after)
        except ConflictError:
            continue
        except ObjectNotFoundError:
            raise TargetChangedError(f"{_named(edit)} is gone.") from None
    raise TargetChangedError(f"{_named(edit)} is changed by others all the time.")


def _patch(cluster: Cluster, edit: Edit, before: Json, after: Json) -> Json:
    patch = merge_difference(before, after)
    lock = {"uid": edit.uid, "resourceVersion": before["metadata"]["resourceVersion"]}
    patch["metadata"] = {**patch.get("metadata", {}), **lock}
    path = edit.resource.path(edit.namespace, edit.name, edit.subresource)
    query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
    what = f"change {_named(edit)}"
    cluster.transport.request(f"{what} (dry run)", "PATCH", path, {**query, **_DRY}, patch, MERGE_PATCH)
    return cluster.transport.request(what, "PATCH", path, query, patch, MERGE_PATCH)


def merge_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Json:
    """The merge patch of RFC 7396 that makes ``after`` out of ``before``. A null counts as nothing."""
    patch: Json = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := merge_difference(old, value):
                patch[key] = inner
        elif key not in before or old != value:
            patch[key] = value
    return patch


def _read(cluster: Cluster, edit: Edit) -> Json:
    try:
        document = cluster.document(edit.resource, edit.name, edit.namespace, _readable(edit.subresource))
    except ObjectNotFoundError:
        raise TargetChangedError(f"{_named(edit)} is gone.") from None
    if document["metadata"].get("uid") != edit.uid:
        raise TargetChangedError(f"{_named(edit)} is another one of the same name now.")
    if document["metadata"].get("deletionTimestamp"):
        raise TargetChangedError(f"{_named(edit)} is being deleted.")
    return document


def _readable(subresource: str) -> str:
    """A status is read with its object, which takes no permission of its own."""
    return "" if subresource == "status" else subresource


def _named(edit: Edit) -> str:
    return shown(edit.resource, edit.name, edit.namespace)


def evict(cluster: Cluster, namespace: str, name: str, uid: str, *, dry: bool = False) -> bool:
    """Ask for the end of this very pod within its own grace period; False: it is gone, or another one has its name.

    Raises:
        BudgetSpentError: its disruption budget says "not now".
        SeveralBudgetsError: it says never.
        NightshiftError: it was refused, or its outcome is unknown.
    """
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": {"preconditions": {"uid": uid}},
    }
    what = f"evict {shown(PODS, name, namespace)}{' (dry run)' if dry else ''}"
    try:
        cluster.transport.request(what, "POST", PODS.path(namespace, name, "eviction"), _DRY if dry else None, body)
    except (ObjectNotFoundError, ConflictError):
        return False
    return True


def delete_pod(cluster: Cluster, namespace: str, name: str, uid: str) -> bool:
    """Delete this very pod, within its own grace period; False: it is gone, or another one has its name."""
    body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
    what, path = f"delete {shown(PODS, name, namespace)}", PODS.path(namespace, name)
    try:
        cluster.transport.request(f"{what} (dry run)", "DELETE", path, _DRY, body)
        cluster.transport.request(what, "DELETE", path, None, body)
    except (ObjectNotFoundError, ConflictError):
        return False
    return True


def pod_now(cluster: Cluster, namespace: str, name: str, uid: str) -> Pod | None:
    """This very pod; None when it is gone."""
    try:
        pod = cluster.get(PODS, name, namespace)
    except ObjectNotFoundError:
        return None
    return pod if pod.uid == uid else None
