"""What the API server refuses with 422, per kind, as far as recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.fakes.kubernetes.errors import Cause, forbidden_value, invalid, invalid_value, required, unsupported
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.quantities import amount
from tests.fakes.kubernetes.resources import Resource
from tests.fakes.kubernetes.selectors import object_selector

Causes = list[Cause]
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def _shown(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _name(obj: Obj) -> Causes:
    name = obj["metadata"].get("name")
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    if obj["kind"] not in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding") and not _NAME.fullmatch(name):
        return [invalid_value("metadata.name", _shown(name), _NAME_RULE)]
    return []


def _containers(spec: Obj, path: str) -> Causes:
    if not spec.get("containers"):
        return [required(f"{path}.containers")]
    causes: Causes = []
    for i, container in enumerate(spec["containers"]):
        at = f"{path}.containers[{i}]"
        if not container.get("image"):
            causes.append(required(f"{at}.image"))
        limits = container.get("resources", {}).get("limits") or {}
        for name, value in (container.get("resources", {}).get("requests") or {}).items():
            if name in limits and amount(value) > amount(limits[name]):
                why = f"must be less than or equal to {name} limit of {limits[name]}"
                causes.append(invalid_value(f"{at}.resources.requests", _shown(value), why))
    return causes


_POD_MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def _without_images(spec: Obj) -> Obj:
    left = {k: v for k, v in spec.items() if k not in ("activeDeadlineSeconds", "tolerations")}
    left["containers"] = [{k: v for k, v in c.items() if k != "image"} for c in spec.get("containers", [])]
    return left


def _pod(obj: Obj, old: Obj | None) -> Causes:
    if old is not None and _without_images(obj["spec"]) != _without_images(old["spec"]):
        return [forbidden_value("spec", _POD_MUTABLE)]
    return _containers(obj["spec"], "spec")


def _workload(obj: Obj, old: Obj | None) -> Causes:
    spec = obj["spec"]
    causes: Causes = []
    if spec.get("replicas", 0) < 0:
        causes.append(invalid_value("spec.replicas", str(spec["replicas"]), "must be greater than or equal to 0"))
    labels = spec["template"].get("metadata", {}).get("labels") or {}
    if not object_selector(spec.get("selector"))(labels):
        why = "`selector` does not match template `labels`"
        causes.append(invalid_value("spec.template.metadata.labels", _shown(labels), why))
    causes += _containers(spec["template"]["spec"], "spec.template.spec")
    if old is not None and spec.get("selector") != old["spec"].get("selector"):
        causes.append(invalid_value("spec.selector", _shown(spec["selector"]), "field is immutable"))
    return causes


def _node(obj: Obj, _: Obj | None) -> Causes:
    seen: set[tuple[str, str]] = set()
    causes: Causes = []
    for i, taint in enumerate(obj["spec"].get("taints") or []):
        at = f"metadata.taints[{i}]"
        if taint.get("effect") not in _EFFECTS:
            causes += [unsupported(f"{at}.effect", _shown(taint.get("effect", "")), _EFFECTS)] * 2
        pair = (taint["key"], taint.get("effect", ""))
        if pair in seen:
            shown = {"Key": taint["key"], "Value": taint.get("value", ""), "Effect": pair[1], "TimeAdded": None}
            why = f"Duplicate value: {_shown(shown)}: taints must be unique by key and effect pair"
            causes += [Cause("FieldValueDuplicate", why, at)] * 2
        seen.add(pair)
    return causes


def _budget(obj: Obj, _: Obj | None) -> Causes:
    spec = obj["spec"]
    if "minAvailable" in spec and "maxUnavailable" in spec:
        shown = {
            "MinAvailable": spec["minAvailable"],
            "Selector": spec.get("selector"),
            "MaxUnavailable": spec["maxUnavailable"],
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }
        return [invalid_value("spec", _shown(shown), "minAvailable and maxUnavailable cannot be both set")]
    return []


def _config_map(obj: Obj, old: Obj | None) -> Causes:
    if old is not None and old.get("immutable"):
        if not obj.get("immutable"):
            return [forbidden_value("immutable", "field is immutable when `immutable` is set")]
        if obj.get("data") != old.get("data"):
            return [forbidden_value("data", "field is immutable when `immutable` is set")]
    return []


def _secret(obj: Obj, old: Obj | None) -> Causes:
    causes: Causes = []
    if old is not None and obj.get("type") != old.get("type"):
        causes.append(invalid_value("type", _shown(obj.get("type")), "field is immutable"))
    if obj.get("type") == "kubernetes.io/tls":
        causes += [required(f"data[{k}]") for k in ("tls.crt", "tls.key") if k not in (obj.get("data") or {})]
    return causes


def _autoscaler(obj: Obj, _: Obj | None) -> Causes:
    low, high = obj["spec"].get("minReplicas", 1), obj["spec"].get("maxReplicas", 0)
    if high < low:
        return [invalid_value("spec.maxReplicas", str(high), "must be greater than or equal to `minReplicas`")]
    return []


def _lease(obj: Obj, _: Obj | None) -> Causes:
    duration = (obj.get("spec") or {}).get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        return [invalid_value("spec.leaseDurationSeconds", str(duration), "must be greater than 0")]
    return []


_CLAIM_IMMUTABLE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def _claim(obj: Obj, old: Obj | None) -> Causes:
    if old is None:
        return []
    fixed = ("accessModes", "storageClassName", "volumeMode", "selector", "dataSource")
    asked, had = ((o["spec"].get("resources") or {}).get("requests") or {} for o in (obj, old))
    changed = any(obj["spec"].get(f) != old["spec"].get(f) for f in fixed)
    if changed or (asked != had and old["status"].get("phase") != "Bound"):
        return [forbidden_value("spec", _CLAIM_IMMUTABLE)]
    capacity = (old["status"].get("capacity") or {}).get("storage", 0)
    if asked != had and amount(asked.get("storage", 0)) < amount(capacity):
        return [forbidden_value("spec.resources.requests.storage", "field can not be less than status.capacity")]
    return []


def _certificate(obj: Obj, _: Obj | None) -> Causes:
    spec = obj.get("spec") or {}
    causes = [required(f"spec.{f}") for f in ("issuerRef", "secretName") if not spec.get(f)]
    if isinstance(spec.get("dnsNames"), str):
        why = 'spec.dnsNames in body must be of type array: "string"'
        causes.append(Cause("FieldValueTypeInvalid", f'Invalid value: "string": {why}', "spec.dnsNames"))
    return causes


def validate_conditions(resource: Resource, obj: Obj) -> None:
    """What the schema of a custom resource says about its status.

    Raises:
        ApiError: 422.
    """
    allowed = ("True", "False", "Unknown")
    causes = [
        unsupported(f"status.conditions[{i}].status", _shown(c.get("status")), allowed)
        for i, c in enumerate((obj.get("status") or {}).get("conditions") or [])
        if c.get("status") not in allowed
    ]
    if causes:
        raise invalid(resource.kind, resource.group, obj["metadata"]["name"], causes)


_RULES: dict[str, Callable[[Obj, Obj | None], Causes]] = {
    "Pod": _pod,
    "Deployment": _workload,
    "ReplicaSet": _workload,
    "StatefulSet": _workload,
    "DaemonSet": _workload,
    "Node": _node,
    "PodDisruptionBudget": _budget,
    "ConfigMap": _config_map,
    "Secret": _secret,
    "HorizontalPodAutoscaler": _autoscaler,
    "Lease": _lease,
    "Certificate": _certificate,
    "PersistentVolumeClaim": _claim,
}


def validate(resource: Resource, obj: Obj, old: Obj | None) -> None:
    """Raises: ApiError 422, naming every field that is wrong."""
    causes = _name(obj)
    rule = _RULES.get(resource.kind)
    if rule is not None:
        causes += rule(obj, old)
    if causes:
        raise invalid(resource.kind, resource.group, obj["metadata"].get("name", ""), causes)
