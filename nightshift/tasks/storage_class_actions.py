"""A storage class made as a copy, and taken away again: dry first, locked to the very objects."""

from __future__ import annotations

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.clients.kubernetes import creating
from nightshift.remediation.clients.kubernetes.cluster import Cluster, shown
from nightshift.remediation.clients.kubernetes.errors import Json, ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.parsing.storage import content_of, digest_of
from nightshift.remediation.clients.kubernetes.resources import CLAIMS, STORAGE_CLASSES, VOLUMES
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes.storage_classes import CreateStorageClass, RemoveStorageClass, class_away
from nightshift.remediation.models import Action, UndoWhen
from nightshift.tasks.kubernetes_actions import CHANGE_SECONDS, LOOK_SECONDS, TIMEOUT_SECONDS, cluster_of, permitted
from nightshift.tasks.steps import action as declare_action


def _made(cluster: Cluster, arguments: CreateStorageClass) -> Json | None:
    return creating.made(cluster, STORAGE_CLASSES, "", arguments.name, arguments.mark)


def _body(cluster: Cluster, arguments: CreateStorageClass) -> Json:
    """The copy, without labels and annotations: what marks a class as the default is not copied.

    Raises:
        TargetChangedError: the class is not as the diagnosis saw it.
    """
    named = shown(STORAGE_CLASSES, arguments.copied)
    try:
        found = cluster.document(STORAGE_CLASSES, arguments.copied)
    except ObjectNotFoundError:
        raise TargetChangedError(f"{named} is gone.") from None
    if found["metadata"].get("uid") != arguments.uid or digest_of(found) != arguments.content:
        raise TargetChangedError(f"{named} is another one than the diagnosis saw.")
    meta = {"name": arguments.name}
    head = {"apiVersion": STORAGE_CLASSES.api_version, "kind": STORAGE_CLASSES.kind}
    return {**head, "metadata": meta, **content_of(found)}


def _as_diagnosed(action: Action, connections: Connections) -> None:
    arguments = CreateStorageClass.from_json(action.arguments)
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        if _made(cluster, arguments) is not None:
            return
        _body(cluster, arguments)
        try:
            cluster.document(STORAGE_CLASSES, arguments.name)
        except ObjectNotFoundError:
            return
    raise TargetChangedError(f"{shown(STORAGE_CLASSES, arguments.name)} is there already.")


def _observe(action: Action, connections: Connections) -> Observation:
    arguments = CreateStorageClass.from_json(action.arguments)
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        return Observation.NOT_DONE if _made(cluster, arguments) is None else Observation.DONE


@declare_action(
    kind=CreateStorageClass.KIND,
    name="make a storage class",
    timeout=TIMEOUT_SECONDS,
    precondition=_as_diagnosed,
    observe=_observe,
    permitted=permitted(CreateStorageClass),
    undo=Undo(when=UndoWhen.BY_HAND, action=class_away),
)
def create_storage_class(action: Action, connections: Connections) -> Effect:
    """``kubernetes.create_storage_class``: octollm.PersistentVolumeClaimPending.r1.1."""
    arguments = CreateStorageClass.from_json(action.arguments)
    with cluster_of(action, connections, CHANGE_SECONDS) as cluster:
        made = _made(cluster, arguments)
        if made is None:
            made = creating.create(cluster, STORAGE_CLASSES, _body(cluster, arguments), arguments.mark)
    evidence = {"uid": str(made["metadata"]["uid"])}
    summary = f"{shown(STORAGE_CLASSES, arguments.name)} is made as a copy of {arguments.copied}"
    return Effect(summary=summary, evidence={**evidence})


def _check_unused(cluster: Cluster, arguments: RemoveStorageClass) -> None:
    """Raises TargetChangedError where a claim or a volume names the class: a volume may be made at this moment."""
    named = shown(STORAGE_CLASSES, arguments.name)
    for claim in cluster.list(CLAIMS):
        if claim.storage_class == arguments.name:
            raise TargetChangedError(f"{shown(CLAIMS, claim.name, claim.namespace)} names {named}.")
    for volume in cluster.list(VOLUMES):
        if volume.storage_class == arguments.name:
            raise TargetChangedError(f"{shown(VOLUMES, volume.name)} names {named}.")


def _unused(action: Action, connections: Connections) -> None:
    arguments = RemoveStorageClass.from_json(action.arguments)
    if not arguments.uid:
        raise TargetChangedError("Nobody recorded which storage class was made.")
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        _check_unused(cluster, arguments)


def _gone(action: Action, connections: Connections) -> Observation:
    arguments = RemoveStorageClass.from_json(action.arguments)
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        try:
            found = cluster.get(STORAGE_CLASSES, arguments.name)
        except ObjectNotFoundError:
            return Observation.DONE
    return Observation.NOT_DONE if found.uid == arguments.uid else Observation.DONE


@declare_action(
    kind=RemoveStorageClass.KIND,
    name="take a storage class away",
    timeout=TIMEOUT_SECONDS,
    precondition=_unused,
    observe=_gone,
    permitted=permitted(RemoveStorageClass),
    undo=None,
)
def remove_storage_class(action: Action, connections: Connections) -> Effect:
    """The opposite of ``kubernetes.create_storage_class``; only of what Nightshift made and nothing names."""
    arguments = RemoveStorageClass.from_json(action.arguments)
    with cluster_of(action, connections, CHANGE_SECONDS) as cluster:
        _check_unused(cluster, arguments)
        creating.remove(cluster, STORAGE_CLASSES, "", arguments.name, arguments.uid)
    return Effect(summary=f"{shown(STORAGE_CLASSES, arguments.name)} is gone")
