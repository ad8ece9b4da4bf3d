"""Deletes what has lost its owner, and finishes foreground and orphan deletions."""

from __future__ import annotations

from tests.fakes.kubernetes.controllers.base import Controller
from tests.fakes.kubernetes.objects import Obj, is_terminating, name_of
from tests.fakes.kubernetes.registry import DeleteOptions
from tests.fakes.kubernetes.resources import BY_ID, Resource

_OWNED = (
    "pods",
    "replicasets.apps",
    "controllerrevisions.apps",
    "endpointslices.discovery.k8s.io",
    "certificaterequests.cert-manager.io",
)


class Garbage(Controller):
    """The garbage collector, for the kinds that have owners here."""

    def reconcile(self, now: float) -> float | None:  # noqa: ARG002
        alive = {o["metadata"]["uid"]: o for r in self.store.resources() for o in self.store.each(r)}
        dependents: dict[str, list[tuple[Resource, Obj]]] = {}
        for plural in _OWNED:
            for obj in self.store.each(plural):
                references = obj["metadata"].get("ownerReferences") or []
                for reference in references:
                    dependents.setdefault(reference["uid"], []).append((BY_ID[plural], obj))
                if references and not any(r["uid"] in alive for r in references) and not is_terminating(obj):
                    self._delete(BY_ID[plural], obj, None)
        for plural in self.store.resources():
            for obj in self.store.each(plural):
                if is_terminating(obj) and obj["metadata"].get("finalizers"):
                    self._finish(BY_ID[plural], obj, dependents.get(obj["metadata"]["uid"], []))
        return None

    def _delete(self, resource: Resource, obj: Obj, propagation: str | None) -> None:
        options = DeleteOptions(propagation=propagation)
        self.registry.delete(resource, obj["metadata"].get("namespace", ""), name_of(obj), options)

    def _finish(self, resource: Resource, obj: Obj, dependents: list[tuple[Resource, Obj]]) -> None:
        finalizers = obj["metadata"]["finalizers"]
        if "foregroundDeletion" in finalizers:
            for kind, dependent in dependents:
                if not is_terminating(dependent):
                    self._delete(kind, dependent, "Foreground" if kind.plural != "pods" else None)
            if not dependents:
                self._release(resource, obj, "foregroundDeletion")
        elif "orphan" in finalizers:
            for kind, dependent in dependents:
                references = dependent["metadata"]["ownerReferences"]
                left = [r for r in references if r["uid"] != obj["metadata"]["uid"]]
                changed = {**dependent, "metadata": {**dependent["metadata"], "ownerReferences": left}}
                self.registry.update(kind, dependent, changed)
            self._release(resource, obj, "orphan")

    def _release(self, resource: Resource, obj: Obj, finalizer: str) -> None:
        left = [f for f in obj["metadata"]["finalizers"] if f != finalizer]
        changed = {**obj, "metadata": {**obj["metadata"], "finalizers": left}}
        self.registry.update(resource, obj, changed)
