"""Everything that happens to an object on its way into the store: defaults, admission, validation, quota."""

from __future__ import annotations

from decimal import Decimal

from tests.fakes.kubernetes import defaults, quota
from tests.fakes.kubernetes.errors import forbidden
from tests.fakes.kubernetes.objects import Obj, labels_of
from tests.fakes.kubernetes.quantities import amount
from tests.fakes.kubernetes.resources import CLAIMS, NODES, PODS, STORAGE_CLASSES, Resource
from tests.fakes.kubernetes.store import Store
from tests.fakes.kubernetes.validation import validate

_ZONE = "topology.kubernetes.io/zone"
_NO_RESIZE = (
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
)


class Admission:
    """Called by the registry for every new or changed object."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, resource: Resource, obj: Obj, old: Obj | None) -> None:
        """Change ``obj`` in place, or refuse it.

        Raises:
            ApiError: 403, 422.
        """
        defaults.fill_in(obj)
        validate(resource, obj, old)
        if old is None:
            self._admit_new(resource, obj)
        elif resource is CLAIMS:
            self._admit_expansion(obj, old)
        quota.check(self._store, resource, obj, old)

    def _admit_new(self, resource: Resource, obj: Obj) -> None:
        if resource is PODS:
            quota.limit(self._store, obj)
            defaults.admit_pod(obj)
            copy_zone(self._store, obj)
        elif resource is CLAIMS:
            obj["metadata"].setdefault("finalizers", []).append("kubernetes.io/pvc-protection")

    def _admit_expansion(self, claim: Obj, old: Obj) -> None:
        if requested(claim) <= requested(old):
            return
        found = self._store.find(STORAGE_CLASSES.id, "", claim["spec"].get("storageClassName") or "")
        if found is None or not found.get("allowVolumeExpansion"):
            raise forbidden("persistentvolumeclaims", "", claim["metadata"]["name"], _NO_RESIZE)


def requested(claim: Obj) -> Decimal:
    """The storage a claim asks for, as a number."""
    return amount((claim["spec"].get("resources") or {}).get("requests", {}).get("storage", 0))


def copy_zone(store: Store, pod: Obj) -> None:
    """A pod gets its node's zone as a label when it is bound."""
    node = store.find(NODES.id, "", pod["spec"].get("nodeName", ""))
    if node is not None and _ZONE in labels_of(node):
        labels = dict(labels_of(pod))
        labels.setdefault(_ZONE, labels_of(node)[_ZONE])
        pod["metadata"]["labels"] = labels
