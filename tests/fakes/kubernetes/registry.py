"""Creating, replacing and deleting objects as the API server does, for clients and controllers alike."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.fakes.kubernetes import defaults, errors, managed
from tests.fakes.kubernetes.managed import Writer
from tests.fakes.kubernetes.objects import Obj, is_finished, is_terminating, new_uid, random_suffix, timestamp
from tests.fakes.kubernetes.resources import DEPLOYMENTS, NAMESPACES, PODS, Resource
from tests.fakes.kubernetes.store import Store
from tests.fakes.kubernetes.validation import validate_conditions

Admission = Callable[[Resource, Obj, Obj | None], None]
"""(resource, new object, old object or None): may change the new object, or refuse with ApiError."""

_SERVER_SET = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


@dataclass(frozen=True)
class DeleteOptions:
    """What matters of ``metav1.DeleteOptions``."""

    grace_seconds: int | None = None
    propagation: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False


class Registry:
    """The rules between a request and the store. Hold ``store.lock`` around every call."""

    def __init__(self, store: Store, admission: Admission) -> None:
        self.store = store
        self._admission = admission
        self.writer = Writer("kube-controller-manager")
        """Whoever writes and does not say who it is: the controller whose turn it is."""

    def get(self, resource: Resource, namespace: str, name: str) -> Obj:
        """Raises: ApiError 404."""
        found = self.store.find(resource.id, namespace, name)
        if found is None:
            raise errors.not_found(resource.plural, resource.group, name)
        return found

    def get_for_update(self, resource: Resource, namespace: str, name: str, body: Obj) -> Obj:
        """As ``get``; a body that names the uid of what is gone gets a conflict.

        Raises:
            ApiError: 404, 409.
        """
        uid = body["metadata"].get("uid")
        if uid and self.store.find(resource.id, namespace, name) is None:
            raise _other_uid(resource, namespace, name, uid, "")
        return self.get(resource, namespace, name)

    def create(
        self, resource: Resource, namespace: str, obj: Obj, *, dry_run: bool = False, writer: Writer | None = None
    ) -> Obj:
        """Store a new object, with defaults and admission.

        Raises:
            ApiError: 403, 404 (namespace), 409, 422.
        """
        obj = copy.deepcopy(obj)
        metadata = obj.setdefault("metadata", {})
        obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
        if resource.namespaced:
            metadata["namespace"] = namespace
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + random_suffix()
        for field in (*_SERVER_SET, "selfLink", "managedFields"):
            metadata.pop(field, None)
        metadata |= {"uid": new_uid(), "creationTimestamp": timestamp()}
        if resource.generation:
            metadata["generation"] = 1
        self._reset_status(resource, obj)
        if metadata.get("name"):
            self._check_namespace(resource, namespace, metadata["name"])
        self._admission(resource, obj, None)
        if self.store.find(resource.id, metadata.get("namespace", ""), metadata["name"]) is not None:
            raise errors.already_exists(resource.plural, resource.group, metadata["name"])
        managed.created(obj, writer or self.writer)
        return obj if dry_run else self.store.put(resource.id, obj)

    def _reset_status(self, resource: Resource, obj: Obj) -> None:
        if resource.custom:
            obj.pop("status", None)
        elif resource.kind in defaults.INITIAL_STATUS:
            obj["status"] = copy.deepcopy(defaults.INITIAL_STATUS[resource.kind])

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        found = self.store.find(NAMESPACES.id, "", namespace)
        if found is None:
            raise errors.not_found("namespaces", "", namespace)
        if is_terminating(found):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            error = errors.forbidden(resource.plural, resource.group, name, why)
            error.status["details"]["causes"] = [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {namespace} is being terminated",
                    "field": "metadata.namespace",
                }
            ]
            raise error

    def update(
        self,
        resource: Resource,
        old: Obj,
        new: Obj,
        *,
        subresource: str = "",
        dry_run: bool = False,
        writer: Writer | None = None,
    ) -> Obj:
        """Write ``new`` over ``old``; what changes nothing keeps its version.

        Raises:
            ApiError: 409 when ``new`` carries another version than ``old``, 422.
        """
        new = copy.deepcopy(new)
        metadata, before = new.setdefault("metadata", {}), old["metadata"]
        self._check_version(resource, metadata, before)
        new["apiVersion"], new["kind"] = old["apiVersion"], old["kind"]
        for field in (*_SERVER_SET, "name", "namespace", "generateName", "resourceVersion", "managedFields"):
            metadata.pop(field, None)
            if field in before:
                metadata[field] = before[field]
        self._keep_other_part(resource, old, new, subresource)
        metadata = new["metadata"]
        _drop_empty(metadata)
        self._check_change(resource, old, new, subresource)
        if resource.generation and _generated(resource, new, subresource) != _generated(resource, old, subresource):
            metadata["generation"] = before.get("generation", 0) + 1
        if new == old and (writer is None or writer.applied is None):
            return old
        managed.updated(old, new, writer or replace(self.writer, subresource=subresource))
        if new == old:
            return old
        if dry_run:
            return new
        if is_terminating(new) and not metadata.get("finalizers") and before.get("finalizers"):
            return self.store.remove(resource.id, old)
        return self.store.put(resource.id, new)

    def _check_change(self, resource: Resource, old: Obj, new: Obj, subresource: str) -> None:
        if subresource != "status":
            self._admission(resource, new, old)
        elif resource.custom:
            validate_conditions(resource, new)

    def _check_version(self, resource: Resource, metadata: Obj, before: Obj) -> None:
        name = before["name"]
        if metadata.get("uid") not in (None, "", before["uid"]):
            raise _other_uid(resource, before.get("namespace", ""), name, metadata["uid"], before["uid"])
        if metadata.get("resourceVersion") not in (None, "", before["resourceVersion"]):
            raise errors.modified(resource.plural, resource.group, name)

    def _keep_other_part(self, resource: Resource, old: Obj, new: Obj, subresource: str) -> None:
        if not resource.has_status:
            return
        if subresource == "status":
            kept = {k: v for k, v in old.items() if k not in ("status", "metadata")}
            for field in [k for k in new if k not in ("status", "metadata")]:
                del new[field]
            new.update(kept)
            if resource.custom:
                new["metadata"] = dict(old["metadata"])
        else:
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]

    def check_preconditions(self, resource: Resource, obj: Obj, options: DeleteOptions) -> None:
        """Raises: ApiError 409."""
        metadata = obj["metadata"]
        kind = errors.qualified(resource.kind, resource.group)
        asked: list[tuple[str, str | None, str, str]] = [
            ("UID", options.uid, metadata["uid"], "deleted and then recreated"),
            ("ResourceVersion", options.resource_version, metadata["resourceVersion"], "modified"),
        ]
        for what, wanted, actual, fate in asked:
            if wanted is not None and wanted != actual:
                why = (
                    f"the {what} in the precondition ({wanted}) does not match the {what} in record ({actual}). "
                    f"The object might have been {fate}"
                )
                message = f'Operation cannot be fulfilled on {kind} "{metadata["name"]}": {why}'
                details = {"name": metadata["name"], "group": resource.group, "kind": resource.kind}
                if not resource.group:
                    del details["group"]
                raise errors.failure(409, "Conflict", message, details)

    def delete(self, resource: Resource, namespace: str, name: str, options: DeleteOptions) -> Obj:
        """Delete, gracefully where the kind has it; the answer's body.

        Raises:
            ApiError: 404, 409.
        """
        obj = self.get(resource, namespace, name)
        self.check_preconditions(resource, obj, options)
        if resource is PODS:
            return self.terminate_pod(obj, options.grace_seconds, options.dry_run)
        if resource is NAMESPACES:
            return self._terminate_namespace(obj, options.dry_run)
        finalizers = list(obj["metadata"].get("finalizers", []))
        added = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.propagation or "")
        if added and added not in finalizers:
            finalizers.append(added)
        if finalizers:
            return self._await_finalizers(resource, obj, finalizers, options.dry_run)
        last = obj if options.dry_run else self.store.remove(resource.id, obj)
        if resource.answers_object:
            return last if options.dry_run else {**last, "metadata": dict(obj["metadata"])}
        return errors.success(name, resource.group, resource.plural, obj["metadata"]["uid"])  # type: ignore[no-any-return]

    def _await_finalizers(self, resource: Resource, obj: Obj, finalizers: list[str], dry_run: bool) -> Obj:
        marked = copy.deepcopy(obj)
        metadata = marked["metadata"]
        metadata["finalizers"] = finalizers
        if not is_terminating(obj):
            metadata["deletionTimestamp"] = timestamp()
            metadata["deletionGracePeriodSeconds"] = 0
            if resource.generation:
                metadata["generation"] = metadata.get("generation", 0) + 1
        if marked == obj or dry_run:
            return marked
        return self.store.put(resource.id, marked)

    def _terminate_namespace(self, obj: Obj, dry_run: bool) -> Obj:
        if is_terminating(obj):
            return obj
        marked = copy.deepcopy(obj)
        marked["metadata"]["deletionTimestamp"] = timestamp()
        marked["status"]["phase"] = "Terminating"
        return marked if dry_run else self.store.put(NAMESPACES.id, marked)

    def terminate_pod(self, pod: Obj, grace_seconds: int | None, dry_run: bool = False) -> Obj:
        """Mark a pod as terminating; its kubelet removes it. With no grace, or no kubelet, it is gone at once."""
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30) if grace_seconds is None else grace_seconds
        if grace < 0:
            grace = 1
        if not pod["spec"].get("nodeName") or is_finished(pod):
            grace = 0
        marked = copy.deepcopy(pod)
        metadata = marked["metadata"]
        if is_terminating(pod):
            if grace_seconds is None or grace >= metadata["deletionGracePeriodSeconds"]:
                return pod
        else:
            metadata["generation"] = metadata.get("generation", 0) + 1
        metadata["deletionTimestamp"] = timestamp(time.time() + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if dry_run:
            return marked
        if grace == 0 and not metadata.get("finalizers"):
            self.store.put(PODS.id, marked)
            return self.store.remove(PODS.id, marked)
        return self.store.put(PODS.id, marked)


def _other_uid(resource: Resource, namespace: str, name: str, wanted: str, actual: str) -> errors.ApiError:
    where = f"{namespace}/{name}" if namespace else name
    why = (
        f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/{where}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {actual}"
    )
    return errors.conflict(resource.plural, resource.group, name, why)


def _drop_empty(metadata: Obj) -> None:
    for field in ("labels", "annotations", "finalizers", "ownerReferences"):
        if field in metadata and not metadata[field]:
            del metadata[field]


def _generated(resource: Resource, obj: Obj, subresource: str) -> Obj:
    """What ``metadata.generation`` counts the changes of: the spec, and of a Deployment its annotations."""
    counted = {k: v for k, v in obj.items() if k not in ("metadata", "status")}
    if resource is DEPLOYMENTS and subresource != "status":
        counted["annotations"] = obj["metadata"].get("annotations")
    return counted
