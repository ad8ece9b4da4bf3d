"""What the contract needs of a real cluster, asked before the tests: what is missing is one line, not a broken test."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

from kubernetes import client

MADE_BY = {"app.kubernetes.io/managed-by": "nightshift-contract", "pod-security.kubernetes.io/enforce": "privileged"}
"""Labels of every namespace of the contract."""
_PAUSE = "pause"
_LAST_RESORT = "registry.k8s.io/pause:3.9"
_RBAC = "rbac.authorization.k8s.io"
_RIGHTS = (
    *(("namespaces", "", verb) for verb in ("create", "delete")),
    *(("nodes", "", verb) for verb in ("create", "get", "list", "patch", "delete")),
    *((kind, "", "create") for kind in ("configmaps", "pods/eviction", "persistentvolumeclaims")),
    *((kind, "", "create") for kind in ("resourcequotas", "serviceaccounts", "serviceaccounts/token")),
    *(("deployments", "apps", verb) for verb in ("create", "get", "patch")),
    *(("replicasets", "apps", verb) for verb in ("get", "list")),
    ("poddisruptionbudgets", "policy", "create"),
    *(("storageclasses", "storage.k8s.io", verb) for verb in ("create", "delete")),
    *(("roles", _RBAC, verb) for verb in ("create", "bind", "escalate")),
    ("rolebindings", _RBAC, "create"),
)
"""Resource, group and verb of what the contract does."""
_RUNS_WITHIN = 120.0
_SEEN_WITHIN = 20.0
"""By a controller manager, where there is one."""


def missing_rights(api: client.ApiClient) -> str:
    """What the account may not do of what the contract does; empty when it may do all."""
    reviews = client.AuthorizationV1Api(api)

    def may(resource: str, group: str, verb: str) -> bool:
        plural, _, subresource = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
        body = {"spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}}}
        return bool(reviews.create_self_subject_access_review(body).status.allowed)

    lacking = [f"{verb} {resource}" for resource, group, verb in _RIGHTS if not may(resource, group, verb)]
    return f"the account of the kubeconfig may not: {', '.join(lacking)}" if lacking else ""


def image_that_waits(api: client.ApiClient) -> str:
    """An image that runs for ever: the pause image that the nodes have already, where they say so."""
    nodes = client.CoreV1Api(api).list_node().items
    names = [name for node in nodes for image in node.status.images or [] for name in image.names or []]
    tagged = [name for name in names if f"/{_PAUSE}:" in name and "@" not in name]
    return tagged[0] if tagged else _LAST_RESORT


def why_no_pods_run(api: client.ApiClient, image: str) -> str:
    """Why no Deployment becomes available here; empty when controllers, scheduler and kubelets are at work."""
    core, apps, name = client.CoreV1Api(api), client.AppsV1Api(api), f"nightshift-contract-probe-{uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name, "labels": MADE_BY}})
    try:
        labels = {"app": "probe"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}}
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        apps.create_namespaced_deployment(name, {"metadata": {"name": "probe"}, "spec": spec})

        def status() -> client.V1DeploymentStatus:
            return apps.read_namespaced_deployment("probe", name).status

        if not _in_time(lambda: status().observed_generation is not None, _SEEN_WITHIN):
            return "no controller manager works on Deployments"
        if _in_time(lambda: bool(status().available_replicas), _RUNS_WITHIN):
            return ""
        return f"no pod of {image} came up in {_RUNS_WITHIN:g} s: {_state(core, status(), name)}"
    finally:
        with suppress(client.ApiException):
            core.delete_namespace(name)


def _in_time(true: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not true():
        if time.monotonic() > ends:
            return False
        time.sleep(0.5)
    return True


def _state(core: client.CoreV1Api, status: client.V1DeploymentStatus, namespace: str) -> str:
    """How far it came."""
    pods = core.list_namespaced_pod(namespace).items
    if not pods:
        failed = [c.message for c in status.conditions or [] if c.type == "ReplicaFailure"]
        return "; ".join(failed) or "its ReplicaSet made no pod"
    if not pods[0].spec.node_name:
        waits = [c.message for c in pods[0].status.conditions or [] if c.type == "PodScheduled"]
        return f"the scheduler found no node: {'; '.join(filter(None, waits)) or 'there is no scheduler'}"
    waiting = [one.state.waiting for one in pods[0].status.container_statuses or [] if one.state.waiting]
    said = "; ".join(f"{one.reason} {one.message or ''}".strip() for one in waiting)
    return said or f"no kubelet works on {pods[0].spec.node_name}"


def why_no_roles_count(api: client.ApiClient) -> str:
    """Why rights cannot be tried here: this cluster allows everybody everything; empty when it does not."""
    body = {
        "spec": {
            "user": f"nightshift-contract-{uuid4().hex[:8]}",
            "resourceAttributes": {"verb": "delete", "resource": "nodes"},
        }
    }
    allowed = client.AuthorizationV1Api(api).create_subject_access_review(body).status.allowed
    return "an account without any role may delete nodes: this cluster does not use RBAC" if allowed else ""


def why_no_certificates(api: client.ApiClient) -> str:
    """Empty when the cluster serves cert-manager's API."""
    groups = {group.name for group in client.ApisApi(api).get_api_versions().groups}
    return "" if "cert-manager.io" in groups else "cert-manager's custom resources are not installed"
