"""Which permissions each operation on a cluster needs, and the roles that grant them: pure, least privilege.

The same table serves the question before anybody is asked (SelfSubjectAccessReview), ``nightshift doctor``, and the
manifest of ``nightshift kubernetes role``; so what is granted is what is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.kubernetes import arguments as cluster_arguments
from nightshift.remediation.kubernetes import configuring
from nightshift.remediation.kubernetes.objects import WorkloadKind
from nightshift.remediation.text import printable

PLURALS = {
    WorkloadKind.DEPLOYMENT: "deployments",
    WorkloadKind.STATEFUL_SET: "statefulsets",
    WorkloadKind.DAEMON_SET: "daemonsets",
}


@dataclass(frozen=True, order=True)
class Need:
    """One verb on one resource."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""
    everywhere: bool = False
    """In the whole cluster, because the resource has no namespace or because all are looked at."""
    namespace: str = ""
    """Where it is asked for; empty for the whole cluster, and in tables of what an operation needs."""
    name: str = ""

    @property
    def full_resource(self) -> str:
        """As rules name it: ``pods/eviction``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def __str__(self) -> str:
        group = f".{self.group}" if self.group else ""
        where = f" in {printable(self.namespace, 63)}" if self.namespace else " in the whole cluster"
        return f"{self.verb} {self.full_resource}{group}{where}"


def _all(verbs: str, resource: str, group: str = "", subresource: str = "", *, everywhere: bool = False) -> list[Need]:
    return [Need(verb, resource, group, subresource, everywhere) for verb in verbs.split()]


_SEEN = "get list watch"
READS: tuple[Need, ...] = (
    *_all(_SEEN, "nodes", everywhere=True),
    *_all("get list", "persistentvolumes", everywhere=True),
    *_all("get list", "storageclasses", "storage.k8s.io", everywhere=True),
    *_all("list", "pods", everywhere=True),
    *_all("list", "poddisruptionbudgets", "policy", everywhere=True),
    *_all("list", "events", everywhere=True),
    *_all("list", "daemonsets", "apps", everywhere=True),
    *_all("list", "leases", "coordination.k8s.io", everywhere=True),
    *_all(_SEEN, "pods"),
    *_all("get", "pods", subresource="log"),
    *_all("get list", "configmaps"),
    *_all("get list", "services"),
    *_all("get list", "endpointslices", "discovery.k8s.io"),
    *_all(_SEEN, "persistentvolumeclaims"),
    *_all("get list", "resourcequotas"),
    *_all("list", "limitranges"),
    *_all("get list", "poddisruptionbudgets", "policy"),
    *(need for plural in PLURALS.values() for need in _all(_SEEN, plural, "apps")),
    *_all("get list", "replicasets", "apps"),
    *_all("get list", "controllerrevisions", "apps"),
    *_all("get list", "horizontalpodautoscalers", "autoscaling"),
)
"""What diagnoses look at. Secrets are not among it."""
CERTIFICATE_READS: tuple[Need, ...] = (
    *_all(_SEEN, "certificates", "cert-manager.io"),
    *_all("get list", "certificaterequests", "cert-manager.io"),
    *_all("get list", "issuers", "cert-manager.io"),
    *_all("get list", "clusterissuers", "cert-manager.io", everywhere=True),
    *_all("get list", "orders", "acme.cert-manager.io"),
    *_all("get list", "challenges", "acme.cert-manager.io"),
    *_all("get list", "ingresses", "networking.k8s.io"),
)
_EVICTIONS = (
    *_all("get", "pods", everywhere=True),
    *_all("create", "pods", subresource="eviction", everywhere=True),
)
_TEMPLATES = tuple(need for plural in PLURALS.values() for need in _all("get patch", plural, "apps"))
_SCALES = tuple(
    need for plural in ("deployments", "statefulsets") for need in _all("get patch", plural, "apps", "scale")
)
_HAS = tuple(need for plural in ("deployments", "statefulsets") for need in _all("get", plural, "apps"))

OPERATIONS: Mapping[str, tuple[Need, ...]] = {
    "cordon_node": (*_all("get patch", "nodes", everywhere=True),),
    "uncordon_node": (*_all("get patch", "nodes", everywhere=True),),
    "drain_node": (*_all("get", "nodes", everywhere=True), *_EVICTIONS),
    "evict_pods": _EVICTIONS,
    "delete_pod": (*_all("get delete", "pods"), *_all("list", "endpointslices", "discovery.k8s.io")),
    "rollout_restart": _TEMPLATES,
    "rollout_undo": (*_all("get patch", "deployments", "apps"), *_all("list", "replicasets", "apps")),
    "set_resources": _TEMPLATES,
    "block_deployments": _TEMPLATES,
    "scale_workload": _SCALES,
    "expand_claim": (*_all("get patch", "persistentvolumeclaims"),),
    "recreate_claim": (
        *_all("get create delete", "persistentvolumeclaims"),
        *_all("get", "storageclasses", "storage.k8s.io", everywhere=True),
    ),
    "create_storage_class": (*_all("get create", "storageclasses", "storage.k8s.io", everywhere=True),),
    "remove_storage_class": (
        *_all("get delete", "storageclasses", "storage.k8s.io", everywhere=True),
        *_all("list", "persistentvolumeclaims", everywhere=True),
        *_all("list", "persistentvolumes", everywhere=True),
    ),
    "renew_certificate": (
        *_all("get", "certificates", "cert-manager.io"),
        *_all("patch", "certificates", "cert-manager.io", "status"),
    ),
    "update_configmap": (*_all("get patch", "configmaps"),),
    "set_image": (*_TEMPLATES, *_all("list", "nodes", everywhere=True)),
    "create_hpa": (*_HAS, *_all("get list create", "horizontalpodautoscalers", "autoscaling")),
    "update_hpa": (*_all("get patch", "horizontalpodautoscalers", "autoscaling"),),
    "remove_hpa": (*_all("get delete", "horizontalpodautoscalers", "autoscaling"),),
    "update_resource_quota": (*_all("get patch", "resourcequotas"),),
    "update_ingress": (*_all("get patch", "ingresses", "networking.k8s.io"), *_all("get", "secrets")),
    "replace_secret": (*_all("get create patch", "secrets"),),
    "set_issuer": (
        *_all("get patch", "certificates", "cert-manager.io"),
        *_all("get", "issuers", "cert-manager.io"),
        *_all("get", "clusterissuers", "cert-manager.io", everywhere=True),
    ),
}
"""What each kind of action needs."""
WITH_SECRETS = frozenset(kind for kind, needs in OPERATIONS.items() if any(n.resource == "secrets" for n in needs))
"""Kinds that see secrets: nobody is granted them by a flow, only by name (``--operation``)."""

FLOW_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "node-not-ready": ("cordon_node", "uncordon_node", "drain_node", "evict_pods"),
    "pod-crash-loop": ("delete_pod", "rollout_restart", "rollout_undo", "set_resources", "block_deployments"),
    "pod-memory-exhaustion": ("rollout_restart", "set_resources", "scale_workload"),
    "deployment-replicas-mismatch": (
        "delete_pod",
        "rollout_restart",
        "rollout_undo",
        "set_resources",
        "scale_workload",
    ),
    "http-error-rate-response": ("rollout_restart", "rollout_undo", "block_deployments", "scale_workload"),
    "request-latency-response": ("rollout_undo", "block_deployments", "set_resources", "scale_workload"),
    "node-saturation": ("rollout_restart", "scale_workload"),
    "pod-saturation": ("rollout_restart", "set_resources", "scale_workload"),
    "change-event-review": ("rollout_restart", "update_hpa"),
    "volume-claim-pending": ("recreate_claim",),
    "database-volume-reclaim": ("expand_claim",),
    "connection-pool-exhaustion": ("rollout_restart",),
    "certificate-expiry": ("renew_certificate", "rollout_restart"),
    "external-dependency-failure": ("update_configmap",),
    "outbound-quota-exhaustion": ("update_configmap",),
    "activity-stalled": ("rollout_restart", "rollout_undo", "block_deployments"),
    "agent-unavailable": (
        "rollout_restart",
        "rollout_undo",
        "set_resources",
        "scale_workload",
        "block_deployments",
    ),
}
"""The kinds of action of each flow that works on a cluster."""
_WITH_CERTIFICATES = ("certificate-expiry",)


def needs_of(arguments: ActionArguments) -> list[Need]:
    """What one action needs, where it needs it."""
    needs = OPERATIONS[arguments.KIND]
    namespace = getattr(arguments, "namespace", "")
    match arguments:
        case cluster_arguments.WorkloadArguments(workload=workload):
            needs = _for_kind(needs, workload)
        case configuring.CreateAutoscaler(workload=workload):
            needs = _for_kind(needs, workload)
        case cluster_arguments.DeletePod(pod=pod):
            namespace = pod.namespace
    return [need if need.everywhere else replace(need, namespace=namespace) for need in needs]


def _for_kind(needs: tuple[Need, ...], workload: WorkloadKind) -> tuple[Need, ...]:
    others = [plural for kind, plural in PLURALS.items() if kind is not workload]
    return tuple(need for need in needs if need.resource not in others)


def needs_of_flows(flows: Iterable[str], namespaces: Sequence[str], *, operations: Iterable[str] = ()) -> list[Need]:
    """What a system needs whose alerts are answered by these flows.

    Args:
        flows: names; those that do not work on a cluster need nothing.
        namespaces: where the system lives.
        operations: further kinds of action.

    Raises:
        KeyError: there is no such operation.
    """
    of_cluster = [flow for flow in flows if flow in FLOW_OPERATIONS]
    if not of_cluster and not (operations := tuple(operations)):
        return []
    kinds = {*operations, *(kind for flow in of_cluster for kind in FLOW_OPERATIONS[flow])}
    needs = {*READS, *(need for kind in kinds for need in OPERATIONS[kind])}
    if "renew_certificate" in kinds or any(flow in _WITH_CERTIFICATES for flow in of_cluster):
        needs |= {*CERTIFICATE_READS}
    somewhere = [
        replace(need, namespace=namespace) for need in needs if not need.everywhere for namespace in namespaces
    ]
    return sorted([*(need for need in needs if need.everywhere), *somewhere])


def grant_words(need: Need) -> str:
    """How a person grants it."""
    group = f".{need.group}" if need.group else ""
    kind = "clusterrole" if need.everywhere else f"role --namespace {printable(need.namespace, 63)}"
    return (
        f"kubectl create {kind} … --verb={need.verb} --resource={need.resource}{group}"
        f"{'/' + need.subresource if need.subresource else ''}; `nightshift kubernetes role` writes it all."
    )
