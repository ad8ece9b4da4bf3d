"""Keeps as many pods as a ReplicaSet says."""

from __future__ import annotations

import copy

from tests.fakes.kubernetes.controllers.base import Controller, with_condition
from tests.fakes.kubernetes.errors import ApiError
from tests.fakes.kubernetes.objects import (
    Obj,
    condition,
    controller_reference,
    is_active,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
    seconds_since,
)
from tests.fakes.kubernetes.registry import DeleteOptions
from tests.fakes.kubernetes.resources import PODS, REPLICASETS


def pods_by_owner(pods: list[Obj]) -> dict[str, list[Obj]]:
    """Pods by the uid of their controller."""
    owned: dict[str, list[Obj]] = {}
    for pod in pods:
        for reference in pod["metadata"].get("ownerReferences", []):
            if reference.get("controller"):
                owned.setdefault(reference["uid"], []).append(pod)
    return owned


def available(pod: Obj, min_ready_seconds: int) -> bool:
    ready = condition(pod, "Ready")
    return (
        is_ready(pod)
        and ready is not None
        and (not min_ready_seconds or seconds_since(ready["lastTransitionTime"]) >= min_ready_seconds)
    )


class ReplicaSets(Controller):
    """The ReplicaSet controller."""

    def reconcile(self, now: float) -> float | None:
        owned = pods_by_owner(self.store.each(PODS.id))
        due: float | None = None
        for replicaset in self.store.all(REPLICASETS.id):
            pods = owned.get(replicaset["metadata"]["uid"], [])
            failed = None if is_terminating(replicaset) else self._scale(replicaset, pods)
            self._report(replicaset, pods, failed)
            if replicaset["spec"].get("minReadySeconds") or failed:
                due = now + 0.2
        return due

    def _scale(self, replicaset: Obj, pods: list[Obj]) -> str | None:
        """Create or delete pods; why none could be created."""
        active = [p for p in pods if is_active(p)]
        wanted = replicaset["spec"]["replicas"]
        for _ in range(wanted - len(active)):
            try:
                self._create(replicaset)
            except ApiError as error:
                return error.message
        surplus = sorted(active, key=lambda p: (bool(p["spec"].get("nodeName")), is_ready(p), name_of(p)))
        for pod in surplus[: max(0, len(active) - wanted)]:
            self.registry.delete(PODS, pod["metadata"]["namespace"], name_of(pod), DeleteOptions())
            self.event(replicaset, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}", "replicaset-controller")
        return None

    def _create(self, replicaset: Obj) -> None:
        template = copy.deepcopy(replicaset["spec"]["template"])
        metadata = template.get("metadata", {})
        pod: Obj = {"metadata": {**metadata, "generateName": f"{name_of(replicaset)}-"}, "spec": template["spec"]}
        pod["metadata"]["ownerReferences"] = [controller_reference(replicaset)]
        try:
            made = self.registry.create(PODS, replicaset["metadata"]["namespace"], pod)
        except ApiError as error:
            if not condition(replicaset, "ReplicaFailure"):
                message = f"Error creating: {error.message}"
                self.event(replicaset, "FailedCreate", message, "replicaset-controller", kind="Warning")
            raise
        self.event(replicaset, "SuccessfulCreate", f"Created pod: {name_of(made)}", "replicaset-controller")

    def _report(self, replicaset: Obj, pods: list[Obj], failed: str | None) -> None:
        current = self.store.find(REPLICASETS.id, replicaset["metadata"]["namespace"], name_of(replicaset))
        if current is None:
            return
        alive = [p for p in self._fresh(pods) if is_active(p)]
        template_labels = (replicaset["spec"]["template"].get("metadata", {}).get("labels") or {}).items()
        counts = {
            "replicas": len(alive),
            "fullyLabeledReplicas": sum(template_labels <= labels_of(p).items() for p in alive),
            "readyReplicas": sum(map(is_ready, alive)),
            "availableReplicas": sum(available(p, replicaset["spec"].get("minReadySeconds", 0)) for p in alive),
        }
        status: Obj = {k: v for k, v in counts.items() if v or k == "replicas"}
        status["terminatingReplicas"] = sum(map(is_terminating, self._fresh(pods)))
        status["observedGeneration"] = current["metadata"]["generation"]
        if failed:
            status["conditions"] = current["status"].get("conditions", [])
            # As the real controller does: another message of the same reason, with another made-up name, is no news.
            if condition(current, "ReplicaFailure") is None:
                status = with_condition(status, "ReplicaFailure", "True", reason="FailedCreate", message=failed)
        self.write_status(REPLICASETS, current, status)

    def _fresh(self, pods: list[Obj]) -> list[Obj]:
        found = (self.store.find(PODS.id, p["metadata"]["namespace"], name_of(p)) for p in pods)
        return [p for p in found if p is not None]
