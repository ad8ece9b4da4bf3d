"""What the API server fills in when an object is created or replaced, per kind."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.fakes.kubernetes.objects import Obj, random_suffix
from tests.fakes.kubernetes.quantities import canonical

TOLERATION_SECONDS = 300
_API_ACCESS_SOURCES: list[Obj] = [
    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {
        "downwardAPI": {
            "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
        }
    },
]
_API_ACCESS_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


def _pull_policy(image: str) -> str:
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _probe(probe: Obj) -> None:
    for key, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        probe.setdefault(key, value)
    if "httpGet" in probe:
        probe["httpGet"].setdefault("scheme", "HTTP")


def _container(container: Obj) -> None:
    resources = container.setdefault("resources", {})
    for amounts in (resources.get("limits"), resources.get("requests")):
        for name, value in (amounts or {}).items():
            amounts[name] = canonical(value)
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if "image" in container:
        container.setdefault("imagePullPolicy", _pull_policy(container["image"]))
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _probe(container[name])
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")


def pod_spec(spec: Obj) -> None:
    """Defaults of a pod's spec, which are also those of a template's."""
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        _container(container)
    for volume in spec.get("volumes") or []:
        for source in ("configMap", "secret", "projected"):
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", 420)
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])


def qos_class(spec: Obj) -> str:
    resources = [c.get("resources", {}) for c in spec.get("containers", [])]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    full = all({"cpu", "memory"} <= set(r.get("limits") or ()) and r["limits"] == r.get("requests") for r in resources)
    return "Guaranteed" if full else "Burstable"


def _api_access(spec: Obj) -> None:
    name = f"kube-api-access-{random_suffix()}"
    spec.setdefault("volumes", []).append(
        {"name": name, "projected": {"sources": _API_ACCESS_SOURCES, "defaultMode": 420}}
    )
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        mounts = container.setdefault("volumeMounts", [])
        mounts.append({"name": name, "readOnly": True, "mountPath": _API_ACCESS_PATH})


def admit_pod(pod: Obj) -> None:
    """What admission adds to a new pod: account, priority, tolerations, the token's volume."""
    spec = pod["spec"]
    mirror = "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})
    if not mirror:
        spec.setdefault("serviceAccountName", "default")
        spec["serviceAccount"] = spec["serviceAccountName"]
    if not mirror and spec.get("automountServiceAccountToken", True):
        _api_access(spec)
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(t.get("key", key) == key and t.get("effect", "NoExecute") == "NoExecute" for t in tolerations):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS}
            )
    spec.setdefault("priority", 0)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}


def _pod(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    pod_spec(spec)
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        resources = container["resources"]
        for name, value in (resources.get("limits") or {}).items():
            resources.setdefault("requests", {}).setdefault(name, value)


def _template(spec: Obj) -> None:
    pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))


def _deployment(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _drop_zero(spec, "minReadySeconds", "paused")


def _replicaset(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)


def _statefulset(obj: Obj) -> None:
    _replicaset(obj)
    spec = obj["spec"]
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    spec.setdefault("revisionHistoryLimit", 10)


def _daemonset(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    _template(spec)
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {"maxUnavailable": 1, "maxSurge": 0})
    spec.setdefault("revisionHistoryLimit", 10)
    obj["metadata"].setdefault("annotations", {}).setdefault("deprecated.daemonset.template.generation", "1")


def _service(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])
    if spec.get("clusterIP") is None and spec.get("type") != "ExternalName":
        spec["clusterIP"] = f"10.96.{random.randint(1, 254)}.{random.randint(1, 254)}"  # noqa: S311
    spec.setdefault("clusterIPs", [spec.get("clusterIP")])
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec.setdefault("internalTrafficPolicy", "Cluster")


def _claim(obj: Obj) -> None:
    obj["spec"].setdefault("volumeMode", "Filesystem")
    requests = (obj["spec"].get("resources") or {}).get("requests") or {}
    for name, value in requests.items():
        requests[name] = canonical(value)


def _storage_class(obj: Obj) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def _node(obj: Obj) -> None:
    _drop_zero(obj.setdefault("spec", {}), "unschedulable", "taints")


def _autoscaler(obj: Obj) -> None:
    spec = obj["spec"]
    spec.setdefault("minReplicas", 1)
    behavior = spec.get("behavior")
    if behavior is not None:
        up = {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}
        _scaling(behavior.setdefault("scaleUp", {}), list(up), 0)
        _scaling(behavior.setdefault("scaleDown", {}), [{"type": "Percent", "value": 100, "periodSeconds": 15}], None)


def _scaling(rules: Obj, policies: list[Obj], window: int | None) -> None:
    if window is not None:
        rules.setdefault("stabilizationWindowSeconds", window)
    rules.setdefault("selectPolicy", "Max")
    rules.setdefault("policies", policies)


def _quota(obj: Obj) -> None:
    hard = obj["spec"].get("hard") or {}
    for name, value in hard.items():
        hard[name] = canonical(value)


def _secret(obj: Obj) -> None:
    obj.setdefault("type", "Opaque")


def _config_map(obj: Obj) -> None:
    _drop_zero(obj, "data", "binaryData", "immutable")


def _event(obj: Obj) -> None:
    obj.setdefault("source", {})
    for field in ("firstTimestamp", "lastTimestamp", "eventTime"):
        obj.setdefault(field, None)
    obj.setdefault("reportingComponent", "")
    obj.setdefault("reportingInstance", "")


def _api_service(obj: Obj) -> None:
    if "service" in obj["spec"]:
        obj["spec"]["service"].setdefault("port", 443)


def _namespace(obj: Obj) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def _limit_range(obj: Obj) -> None:
    for limit in obj["spec"]["limits"]:
        for part in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
            for name, value in (limit.get(part) or {}).items():
                limit[part][name] = canonical(value)
        if limit.get("type") == "Container":
            for name, value in (limit.get("max") or {}).items():
                limit.setdefault("default", {}).setdefault(name, value)
            for name, value in {**(limit.get("min") or {}), **(limit.get("default") or {})}.items():
                limit.setdefault("defaultRequest", {}).setdefault(name, (limit.get("min") or {}).get(name, value))


def _drop_zero(part: Obj, *fields: str) -> None:
    """Fields with ``omitempty``: their zero value is not kept."""
    for field in fields:
        if field in part and not part[field]:
            del part[field]


_DEFAULTS: dict[str, Callable[[Obj], None]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replicaset,
    "StatefulSet": _statefulset,
    "DaemonSet": _daemonset,
    "Service": _service,
    "PersistentVolumeClaim": _claim,
    "StorageClass": _storage_class,
    "Node": _node,
    "HorizontalPodAutoscaler": _autoscaler,
    "ResourceQuota": _quota,
    "LimitRange": _limit_range,
    "Secret": _secret,
    "Namespace": _namespace,
    "Event": _event,
    "ConfigMap": _config_map,
    "APIService": _api_service,
}

INITIAL_STATUS: dict[str, Obj] = {
    "Namespace": {"phase": "Active"},
    "Deployment": {},
    "ReplicaSet": {"replicas": 0},
    "StatefulSet": {"replicas": 0, "availableReplicas": 0},
    "DaemonSet": {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
    "PodDisruptionBudget": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
    "PersistentVolumeClaim": {"phase": "Pending"},
    "PersistentVolume": {"phase": "Pending"},
    "ResourceQuota": {},
    "Service": {"loadBalancer": {}},
    "Ingress": {"loadBalancer": {}},
    "HorizontalPodAutoscaler": {"desiredReplicas": 0, "currentMetrics": None},
    "Job": {},
    "CronJob": {},
    "APIService": {},
}


def fill_in(obj: Obj) -> None:
    """Apply the defaults of the object's kind in place; doing it again changes nothing."""
    apply = _DEFAULTS.get(obj["kind"])
    if apply is not None:
        apply(obj)
