"""Bodies of the objects that tests ask for most."""

from __future__ import annotations

from tests.fakes.kubernetes.objects import Obj, timestamp

_CONDITIONS = (
    ("Ready", "True", "KubeletReady"),
    ("MemoryPressure", "False", "KubeletHasSufficientMemory"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID"),
)


def node_body(name: str, labels: dict[str, str], pods: int, cpu: str, memory: str, number: int) -> Obj:
    """A ready node of the laboratory's size."""
    room = {"cpu": cpu, "ephemeral-storage": "100Gi", "memory": memory, "pods": str(pods)}
    now = timestamp()
    system = {"beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    system |= {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": system | labels, "annotations": {"node.alpha.kubernetes.io/ttl": "0"}},
        "spec": {},
        "status": {
            "capacity": room,
            "allocatable": room,
            "phase": "Running",
            "conditions": [
                {
                    "type": kind,
                    "status": value,
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                    "reason": reason,
                    "message": reason,
                }
                for kind, value, reason in _CONDITIONS
            ],
            "addresses": [
                {"type": "InternalIP", "address": f"10.1.{number // 250}.{1 + number % 250}"},
                {"type": "Hostname", "address": name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": {
                **dict.fromkeys(("machineID", "systemUUID", "bootID", "kubeProxyVersion"), ""),
                "kernelVersion": "0",
                "osImage": "fake",
                "containerRuntimeVersion": "fake://0",
                "kubeletVersion": "v1.36.2",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    }


def pod_body(
    name: str,
    namespace: str,
    node: str | None,
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    image: str = "app:1",
    volumes: list[Obj] | None = None,
    grace: int = 30,
) -> Obj:
    metadata: Obj = {"name": name, "namespace": namespace, "labels": labels or {"app": name}}
    if annotations:
        metadata["annotations"] = annotations
    spec: Obj = {"containers": [{"name": "main", "image": image}], "terminationGracePeriodSeconds": grace}
    if node:
        spec["nodeName"] = node
    if volumes:
        spec["volumes"] = volumes
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def deployment_body(
    name: str,
    namespace: str,
    replicas: int,
    image: str,
    *,
    annotations: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    resources: Obj | None = None,
    node_selector: dict[str, str] | None = None,
    volumes: list[Obj] | None = None,
    grace: int = 30,
    **spec: object,
) -> Obj:
    """``annotations`` are those of the pods, ``labels`` those of the Deployment, ``spec`` more fields of its spec."""
    pod_spec: Obj = {"containers": [{"name": "app", "image": image}], "terminationGracePeriodSeconds": grace}
    if resources:
        pod_spec["containers"][0]["resources"] = resources
    if node_selector:
        pod_spec["nodeSelector"] = node_selector
    if volumes:
        pod_spec["volumes"] = volumes
    template: Obj = {"metadata": {"labels": {"app": name}}, "spec": pod_spec}
    if annotations:
        template["metadata"]["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, **(labels or {})}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }
