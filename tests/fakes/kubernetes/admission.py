"""Everything that happens to an object on its way into the store: defaults, admission, validation, quota."""

from __future__ import annotations

from tests.fakes.kubernetes import defaults
from tests.fakes.kubernetes.objects import Obj, labels_of
from tests.fakes.kubernetes.resources import CLAIMS, NODES, PODS, Resource
from tests.fakes.kubernetes.store import Store
from tests.fakes.kubernetes.validation import validate

_ZONE = "topology.kubernetes.io/zone"


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

    def _admit_new(self, resource: Resource, obj: Obj) -> None:
        if resource is PODS:
            defaults.admit_pod(obj)
            copy_zone(self._store, obj)
        elif resource is CLAIMS:
            obj["metadata"].setdefault("finalizers", []).append("kubernetes.io/pvc-protection")


def copy_zone(store: Store, pod: Obj) -> None:
    """A pod gets its node's zone as a label when it is bound."""
    node = store.find(NODES.id, "", pod["spec"].get("nodeName", ""))
    if node is not None and _ZONE in labels_of(node):
        labels = dict(labels_of(pod))
        labels.setdefault(_ZONE, labels_of(node)[_ZONE])
        pod["metadata"]["labels"] = labels
