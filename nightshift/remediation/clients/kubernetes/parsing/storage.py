"""Claims, volumes, storage classes, quotas and limit ranges."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from nightshift.remediation.clients.kubernetes.parsing.common import (
    Json,
    amount,
    conditions,
    listed,
    metadata,
    part,
    resources,
    selector,
    text,
)
from nightshift.remediation.kubernetes.marks import OF_CONTROLLERS
from nightshift.remediation.kubernetes.objects import (
    Claim,
    LimitRange,
    PersistentVolume,
    Quota,
    Resources,
    StorageClass,
)
from nightshift.remediation.models import canonical_json

_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_HOW_VOLUMES_ARE_MADE = (
    "provisioner",
    "parameters",
    "reclaimPolicy",
    "mountOptions",
    "allowVolumeExpansion",
    "volumeBindingMode",
    "allowedTopologies",
)


def claim(document: Json) -> Claim:
    """A PersistentVolumeClaim."""
    spec, status = part(document, "spec"), part(document, "status")
    capacity = part(status, "capacity").get("storage")
    return Claim(
        meta=metadata(document),
        conditions=conditions(document),
        phase=text(status, "phase"),
        requested_bytes=amount(part(spec, "resources", "requests").get("storage") or 0),
        capacity_bytes=amount(capacity or 0),
        storage_class=spec.get("storageClassName"),
        volume=text(spec, "volumeName"),
        access_modes=tuple(listed(spec, "accessModes")),
        volume_mode=text(spec, "volumeMode") or "Filesystem",
        selector=selector(spec.get("selector")),
        definition=_definition(document),
    )


def _definition(document: Json) -> Json:
    annotations = part(document, "metadata", "annotations")
    kept = {key: value for key, value in annotations.items() if key.partition("/")[0] not in OF_CONTROLLERS}
    return {"labels": part(document, "metadata", "labels"), "annotations": kept, "spec": part(document, "spec")}


def volume(document: Json) -> PersistentVolume:
    """A PersistentVolume."""
    spec, status, bound = part(document, "spec"), part(document, "status"), part(document, "spec", "claimRef")
    terms = listed(part(spec, "nodeAffinity", "required"), "nodeSelectorTerms")
    return PersistentVolume(
        meta=metadata(document),
        phase=text(status, "phase"),
        reason=text(status, "reason"),
        message=text(status, "message"),
        capacity_bytes=amount(part(spec, "capacity").get("storage") or 0),
        storage_class=text(spec, "storageClassName"),
        reclaim_policy=text(spec, "persistentVolumeReclaimPolicy"),
        access_modes=tuple(listed(spec, "accessModes")),
        volume_mode=text(spec, "volumeMode") or "Filesystem",
        claim=f"{text(bound, 'namespace')}/{text(bound, 'name')}" if bound else "",
        claim_uid=text(bound, "uid"),
        nodes=tuple(
            str(value)
            for term in terms
            for one in listed(term, "matchExpressions")
            if text(one, "key") == "kubernetes.io/hostname" and text(one, "operator") == "In"
            for value in listed(one, "values")
        ),
    )


def storage_class(document: Json) -> StorageClass:
    """A StorageClass."""
    meta = metadata(document)
    return StorageClass(
        meta=meta,
        provisioner=text(document, "provisioner"),
        is_default=any(meta.annotations.get(key) == "true" for key in _DEFAULT_CLASS),
        allow_expansion=bool(document.get("allowVolumeExpansion")),
        binding_mode=text(document, "volumeBindingMode") or "Immediate",
        reclaim_policy=text(document, "reclaimPolicy") or "Delete",
        content=digest_of(document),
    )


def content_of(document: Json) -> Json:
    """What of a StorageClass says how its volumes are made: all but its name, labels and annotations."""
    return {key: document[key] for key in _HOW_VOLUMES_ARE_MADE if document.get(key) is not None}


def digest_of(document: Json) -> str:
    """Of :func:`content_of`, SHA-256 in hexadecimal digits."""
    return hashlib.sha256(canonical_json(content_of(document)).encode()).hexdigest()


def quota(document: Json) -> Quota:
    """A ResourceQuota."""
    status = part(document, "status")
    return Quota(
        meta=metadata(document),
        hard={name: str(value) for name, value in (part(status, "hard") or part(document, "spec", "hard")).items()},
        used={name: str(value) for name, value in part(status, "used").items()},
        scoped=bool(part(document, "spec", "scopes") or part(document, "spec", "scopeSelector")),
    )


def limit_range(document: Json) -> LimitRange:
    """A LimitRange; of its rules only those about pods and containers."""
    rules = [one for one in listed(document, "spec", "limits") if text(one, "type") in ("Container", "Pod")]
    return LimitRange(
        meta=metadata(document),
        of_containers=_smallest(part(one, "max") for one in rules if text(one, "type") == "Container"),
        of_pods=_smallest(part(one, "max") for one in rules if text(one, "type") == "Pod"),
    )


def _smallest(rules: Iterable[Json]) -> Resources:
    found = [resources(one) for one in rules]
    cpu = [one.cpu_millicores for one in found if one.cpu_millicores is not None]
    memory = [one.memory_bytes for one in found if one.memory_bytes is not None]
    return Resources(cpu_millicores=min(cpu, default=None), memory_bytes=min(memory, default=None))
