"""A claim made anew: dry first, locked to the very claim, and only one that was never bound."""

from __future__ import annotations

import time

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.clients.kubernetes import creating
from nightshift.remediation.clients.kubernetes.changing import FIELD_MANAGER
from nightshift.remediation.clients.kubernetes.cluster import Cluster, shown
from nightshift.remediation.clients.kubernetes.errors import ConflictError, Json, ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import CLAIMS, STORAGE_CLASSES
from nightshift.remediation.errors import OutcomeUnknownError, TargetChangedError
from nightshift.remediation.kubernetes.objects import Claim
from nightshift.remediation.kubernetes.recreating import RecreateClaim, claim_back, not_plain, was_bound
from nightshift.remediation.models import Action, UndoWhen
from nightshift.tasks.kubernetes_actions import CHANGE_SECONDS, LOOK_SECONDS, TIMEOUT_SECONDS, cluster_of, permitted
from nightshift.tasks.steps import action as declare_action

GONE_SECONDS = 15.0
"""What protects a claim from deletion lets go within a moment while no pod on a node uses it."""
_PAUSE = 0.5
_DRY = {"dryRun": "All"}


def _there(cluster: Cluster, arguments: RecreateClaim) -> Claim | None:
    try:
        return cluster.get(CLAIMS, arguments.name, arguments.namespace)
    except ObjectNotFoundError:
        return None


def _made(cluster: Cluster, arguments: RecreateClaim) -> Json | None:
    return creating.made(cluster, CLAIMS, arguments.namespace, arguments.name, arguments.mark)


def _check(cluster: Cluster, arguments: RecreateClaim) -> Claim | None:
    """The claim to delete; None: there is none, and none was to be.

    Raises:
        TargetChangedError: it is not the claim of the diagnosis, or not as it was.
    """
    named, claim = shown(CLAIMS, arguments.name, arguments.namespace), _there(cluster, arguments)
    if not arguments.back:
        _check_classes(cluster, arguments)
    if claim is None:
        if arguments.uid:
            raise TargetChangedError(f"{named} is gone.")
        return None
    if claim.uid != arguments.uid:
        raise TargetChangedError(f"{named} is another one of the same name.")
    if claim.meta.deletion_at is not None:
        raise TargetChangedError(f"{named} is being deleted.")
    if bound := was_bound(claim):
        raise TargetChangedError(f"{named} {bound}: only a claim that was never bound is made anew.")
    if claim.storage_class != arguments.from_class:
        raise TargetChangedError(f"{named} names another class now.")
    if not_plain(claim) or claim.meta.owners:
        raise TargetChangedError(f"{named} is not as the diagnosis saw it.")
    if not arguments.back and dict(claim.definition) != arguments.definition:
        raise TargetChangedError(f"{named} was changed since the diagnosis.")
    return claim


def _check_classes(cluster: Cluster, arguments: RecreateClaim) -> None:
    try:
        cluster.get(STORAGE_CLASSES, arguments.to_class)
    except ObjectNotFoundError:
        raise TargetChangedError(f"The storage class {arguments.to_class} is gone.") from None
    try:
        cluster.get(STORAGE_CLASSES, arguments.from_class)
    except ObjectNotFoundError:
        return
    raise TargetChangedError(f"The storage class {arguments.from_class} exists now: the claim can be bound as it is.")


def _as_diagnosed(action: Action, connections: Connections) -> None:
    arguments = RecreateClaim.from_json(action.arguments)
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        if _made(cluster, arguments) is None:
            _check(cluster, arguments)


def _observe(action: Action, connections: Connections) -> Observation:
    arguments = RecreateClaim.from_json(action.arguments)
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        if _made(cluster, arguments) is not None:
            return Observation.DONE
        claim = _there(cluster, arguments)
    if claim is None:
        return Observation.NOT_DONE  # at most in part: the flow has it made from what the journal kept
    untouched = claim.uid == arguments.uid and claim.meta.deletion_at is None
    return Observation.NOT_DONE if untouched else Observation.UNKNOWN


def _body(arguments: RecreateClaim) -> Json:
    written = arguments.definition
    meta = {key: written.get(key) or {} for key in ("labels", "annotations")}
    spec = written.get("spec")
    return {
        "apiVersion": CLAIMS.api_version,
        "kind": CLAIMS.kind,
        "metadata": {**meta, "name": arguments.name, "namespace": arguments.namespace},
        "spec": {**(spec if isinstance(spec, dict) else {}), "storageClassName": arguments.to_class},
    }


def _try_dry(cluster: Cluster, arguments: RecreateClaim) -> None:
    """The creation under a name that nothing has, while the old claim is there: quota, policies and validation."""
    body = _body(arguments)
    meta = {key: value for key, value in body["metadata"].items() if key != "name"}
    body["metadata"] = {**meta, "generateName": f"{arguments.name}-"}
    what = f"make {shown(CLAIMS, arguments.name, arguments.namespace)} anew (dry run)"
    query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", **_DRY}
    cluster.transport.request(what, "POST", CLAIMS.path(arguments.namespace), query, body)


def _delete(cluster: Cluster, arguments: RecreateClaim, claim: Claim) -> None:
    named = shown(CLAIMS, arguments.name, arguments.namespace)
    path = CLAIMS.path(arguments.namespace, arguments.name)
    body = {"preconditions": {"uid": claim.uid, "resourceVersion": claim.meta.resource_version}}
    try:
        cluster.transport.request(f"delete {named} (dry run)", "DELETE", path, _DRY, body)
        cluster.transport.request(f"delete {named}", "DELETE", path, None, body)
    except ConflictError:
        raise TargetChangedError(f"{named} was changed meanwhile.") from None
    until = time.monotonic() + GONE_SECONDS
    while (left := _there(cluster, arguments)) is not None and left.uid == claim.uid:
        if time.monotonic() > until:
            held = "something holds it, and nothing was made in its place"
            raise OutcomeUnknownError(f"{named} is being deleted: {held}.")
        time.sleep(_PAUSE)


@declare_action(
    kind=RecreateClaim.KIND,
    name="make a claim anew",
    timeout=TIMEOUT_SECONDS,
    precondition=_as_diagnosed,
    observe=_observe,
    permitted=permitted(RecreateClaim),
    undo=Undo(when=UndoWhen.BY_HAND, action=claim_back),
)
def recreate_claim(action: Action, connections: Connections) -> Effect:
    """``kubernetes.recreate_pvc``: octollm.PersistentVolumeClaimPending.r1.2; deleted, then made with its new class."""
    arguments = RecreateClaim.from_json(action.arguments)
    with cluster_of(action, connections, CHANGE_SECONDS) as cluster:
        made = _made(cluster, arguments)
        if made is None:
            if (claim := _check(cluster, arguments)) is not None:
                _try_dry(cluster, arguments)
                _delete(cluster, arguments, claim)
            made = creating.create(cluster, CLAIMS, _body(arguments), arguments.mark)
    evidence = {"uid": str(made["metadata"]["uid"])}
    named = shown(CLAIMS, arguments.name, arguments.namespace)
    return Effect(summary=f"{named} is made anew with the class {arguments.to_class}", evidence={**evidence})
