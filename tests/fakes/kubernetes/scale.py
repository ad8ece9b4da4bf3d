"""The scale subresource of workloads."""

from __future__ import annotations

from typing import Any

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.resources import Resource


def selector_text(selector: Obj | None) -> str:
    """A label selector as text, as ``status.selector`` of a Scale has it."""
    wanted = (selector or {}).get("matchLabels") or {}
    return ",".join(f"{k}={v}" for k, v in sorted(wanted.items()))


def scale_of(workload: Obj) -> Obj:
    """The ``autoscaling/v1`` Scale of a workload."""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {k: workload["metadata"][k] for k in kept}
    replicas = workload["spec"].get("replicas", 0)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": {
            "replicas": workload.get("status", {}).get("replicas", 0),
            "selector": selector_text(workload["spec"].get("selector")),
        },
    }


def scaled(resource: Resource, workload: Obj, scale: Any) -> Obj:
    """The workload with the replicas that ``scale`` asks for.

    Raises:
        ApiError: 409, 422.
    """
    metadata = scale.get("metadata") or {}
    name = workload["metadata"]["name"]
    actual = workload["metadata"]["uid"]
    if metadata.get("uid") not in (None, "", actual):
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {actual}"
        raise errors.conflict(resource.plural, resource.group, name, why)
    if metadata.get("resourceVersion") not in (None, "", workload["metadata"]["resourceVersion"]):
        raise errors.modified(resource.plural, resource.group, name)
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        why = "must be greater than or equal to 0"
        raise errors.invalid("Scale", "autoscaling", name, [errors.invalid_value("spec.replicas", str(replicas), why)])
    return {**workload, "spec": {**workload["spec"], "replicas": replicas}}
