"""The status of a Deployment, computed from its ReplicaSets."""

from __future__ import annotations

from tests.fakes.kubernetes.controllers.base import with_condition
from tests.fakes.kubernetes.objects import Obj, condition, name_of, seconds_since, timestamp

_COUNTED = ("replicas", "readyReplicas", "availableReplicas")


def rollout_status(deployment: Obj, new: Obj | None, owned: list[Obj], unavailable: int) -> Obj:
    """What ``kubectl rollout status`` reads.

    Args:
        deployment: As stored.
        new: The ReplicaSet of the current template.
        owned: All its ReplicaSets.
        unavailable: How many pods may be unavailable.
    """
    spec, before = deployment["spec"], deployment["status"]
    total = {field: sum(r["status"].get(field, 0) for r in owned) for field in _COUNTED}
    status: Obj = {"observedGeneration": deployment["metadata"]["generation"]}
    status["replicas"] = total["replicas"]
    status["updatedReplicas"] = new["status"].get("replicas", 0) if new else 0
    status["readyReplicas"] = total["readyReplicas"]
    status["availableReplicas"] = total["availableReplicas"]
    missing = max(0, sum(r["spec"]["replicas"] for r in owned) - total["availableReplicas"])
    status["unavailableReplicas"] = missing
    status = {k: v for k, v in status.items() if v}
    status["terminatingReplicas"] = sum(r["status"].get("terminatingReplicas", 0) for r in owned)
    if "collisionCount" in before:
        status["collisionCount"] = before["collisionCount"]
    status["conditions"] = list(before.get("conditions", []))
    status = _availability(status, total["availableReplicas"] >= spec["replicas"] - unavailable)
    status = _progress(deployment, status, new)
    return _failure(status, owned)


def _availability(status: Obj, enough: bool) -> Obj:
    reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
    message = f"Deployment {'has' if enough else 'does not have'} minimum availability."
    return _set(status, "Available", "True" if enough else "False", reason, message)


def _set(status: Obj, kind: str, value: str, reason: str, message: str) -> Obj:
    old = condition({"status": status}, kind)
    if old is not None and (old["status"], old["reason"], old["message"]) == (value, reason, message):
        return status
    changed = with_condition(status, kind, value, lastUpdateTime=timestamp(), reason=reason, message=message)
    # As the real controller does: what has changed goes to the end of the list.
    last = [c for c in changed["conditions"] if c["type"] == kind]
    return {**changed, "conditions": [c for c in changed["conditions"] if c["type"] != kind] + last}


def _is_complete(deployment: Obj, status: Obj) -> bool:
    replicas = deployment["spec"]["replicas"]
    counts = [status.get(f, 0) for f in ("updatedReplicas", "replicas", "availableReplicas")]
    return counts == [replicas] * 3


def _is_only_scaling(status: Obj) -> bool:
    return bool(status.get("replicas", 0) == status.get("updatedReplicas", 0))


def _moved(before: Obj, status: Obj) -> bool:
    return any(
        status.get(f, 0) > before.get(f, 0) for f in ("updatedReplicas", "readyReplicas", "availableReplicas")
    ) or (status.get("replicas", 0) - status.get("updatedReplicas", 0)) < (
        before.get("replicas", 0) - before.get("updatedReplicas", 0)
    )


def _progress(deployment: Obj, status: Obj, new: Obj | None) -> Obj:
    old = condition({"status": status}, "Progressing")
    if deployment["spec"].get("paused"):
        return _set(status, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
    if old is not None and old["reason"] == "DeploymentPaused":
        status = _set(status, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")
        old = condition({"status": status}, "Progressing")
    if new is None:
        return status
    name = name_of(new)
    if old is not None and old["reason"] == "NewReplicaSetAvailable" and _is_only_scaling(status):
        return status
    if _is_complete(deployment, status):
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return _set(status, "Progressing", "True", "NewReplicaSetAvailable", message)
    if old is None or _moved(deployment["status"], status):
        others = {**status, "conditions": [c for c in status["conditions"] if c["type"] != "Progressing"]}
        message = f'ReplicaSet "{name}" is progressing.'
        moved = _set(others, "Progressing", "True", "ReplicaSetUpdated", message)
        if old is not None and old["status"] == "True":
            moved["conditions"][-1]["lastTransitionTime"] = old["lastTransitionTime"]
        return moved
    if old["reason"] in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return status
    if seconds_since(old["lastUpdateTime"]) > deployment["spec"]["progressDeadlineSeconds"]:
        message = f'ReplicaSet "{name}" has timed out progressing.'
        return _set(status, "Progressing", "False", "ProgressDeadlineExceeded", message)
    return status


def _failure(status: Obj, owned: list[Obj]) -> Obj:
    failing = next((c for r in owned if (c := condition(r, "ReplicaFailure"))), None)
    if failing is not None:
        return _set(status, "ReplicaFailure", "True", failing["reason"], failing["message"])
    kept = [c for c in status["conditions"] if c["type"] != "ReplicaFailure"]
    return {**status, "conditions": kept}
