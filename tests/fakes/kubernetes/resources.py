"""Which resources this API server offers, and how each behaves where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tests.fakes.kubernetes.errors import qualified


@dataclass(frozen=True)
class Resource:
    """One kind of object.

    Args:
        group: API group, '' for core.
        versions: Versions it is served in, the stored one first.
        plural: Name in the path.
        kind: Name in the body.
        namespaced: Lives in a namespace.
        subresources: Offered below an object.
        generation: ``metadata.generation`` counts changes of the spec.
        answers_object: DELETE answers the object instead of a Status.
        fields: Field selectors beyond ``metadata.name`` and ``metadata.namespace``.
        custom: Defined by a CustomResourceDefinition: no strategic merge, unknown fields pruned.
    """

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    generation: bool = False
    answers_object: bool = False
    fields: tuple[str, ...] = ()
    custom: bool = False

    @cached_property
    def id(self) -> str:
        """``deployments.apps``, ``pods``: as in messages, and the key in the store."""
        return qualified(self.plural, self.group)

    @property
    def api_version(self) -> str:
        return self.in_version(self.versions[0])

    def in_version(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version

    @cached_property
    def selectable(self) -> frozenset[str]:
        return frozenset(("metadata.name", *(("metadata.namespace",) if self.namespaced else ()), *self.fields))

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources


_POD_FIELDS = (
    *("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork"),
    *("status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName"),
)
_EVENT_FIELDS = (
    *("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid"),
    *("involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath"),
    *("reason", "reportingComponent", "source", "type"),
)
_WORKLOAD = ("status", "scale")
_STATUS = ("status",)
_RBAC, _CM, _ACME, _STORAGE = "rbac.authorization.k8s.io", "cert-manager.io", "acme.cert-manager.io", "storage.k8s.io"


def _core(plural: str, kind: str, **more: object) -> Resource:
    return Resource("", ("v1",), plural, kind, **more)  # type: ignore[arg-type]


def _apps(plural: str, kind: str, subresources: tuple[str, ...], fields: tuple[str, ...] = ()) -> Resource:
    return Resource("apps", ("v1",), plural, kind, True, subresources, True, fields=fields)


def _custom(group: str, plural: str, kind: str, namespaced: bool = True, fields: tuple[str, ...] = ()) -> Resource:
    return Resource(group, ("v1",), plural, kind, namespaced, _STATUS, True, fields=fields, custom=True)


_ISSUER = ("spec.issuerRef.group", "spec.issuerRef.kind", "spec.issuerRef.name")

RESOURCES: tuple[Resource, ...] = (
    _core(
        *("namespaces", "Namespace"),
        namespaced=False,
        subresources=("status", "finalize"),
        answers_object=True,
        fields=("status.phase",),
    ),
    _core("nodes", "Node", namespaced=False, subresources=_STATUS, fields=("spec.unschedulable",)),
    _core(
        *("pods", "Pod"),
        subresources=("status", "log", "eviction", "binding", "resize"),
        generation=True,
        answers_object=True,
        fields=_POD_FIELDS,
    ),
    _core("configmaps", "ConfigMap"),
    _core("secrets", "Secret", fields=("type",)),
    _core("serviceaccounts", "ServiceAccount", subresources=("token",), answers_object=True),
    _core("services", "Service", subresources=_STATUS, answers_object=True, fields=("spec.clusterIP", "spec.type")),
    _core("endpoints", "Endpoints"),
    _core("events", "Event", fields=_EVENT_FIELDS),
    _core("persistentvolumeclaims", "PersistentVolumeClaim", subresources=_STATUS, answers_object=True),
    _core("persistentvolumes", "PersistentVolume", namespaced=False, subresources=_STATUS, answers_object=True),
    _core("resourcequotas", "ResourceQuota", subresources=_STATUS, answers_object=True),
    _core("limitranges", "LimitRange"),
    _core("replicationcontrollers", "ReplicationController", subresources=_WORKLOAD, generation=True),
    _apps("deployments", "Deployment", _WORKLOAD),
    _apps("replicasets", "ReplicaSet", _WORKLOAD, ("status.replicas",)),
    _apps("statefulsets", "StatefulSet", _WORKLOAD, ("status.successful",)),
    _apps("daemonsets", "DaemonSet", _STATUS),
    Resource("apps", ("v1",), "controllerrevisions", "ControllerRevision"),
    Resource("batch", ("v1",), "jobs", "Job", True, _STATUS, True, fields=("status.successful",)),
    Resource("batch", ("v1",), "cronjobs", "CronJob", True, _STATUS, True),
    Resource("policy", ("v1",), "poddisruptionbudgets", "PodDisruptionBudget", True, _STATUS, True),
    Resource("autoscaling", ("v2", "v1"), "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, _STATUS),
    Resource("coordination.k8s.io", ("v1",), "leases", "Lease"),
    Resource("discovery.k8s.io", ("v1",), "endpointslices", "EndpointSlice", generation=True),
    Resource("networking.k8s.io", ("v1",), "ingresses", "Ingress", True, _STATUS, True),
    Resource(_STORAGE, ("v1",), "storageclasses", "StorageClass", namespaced=False, answers_object=True),
    Resource("scheduling.k8s.io", ("v1",), "priorityclasses", "PriorityClass", namespaced=False, generation=True),
    Resource(_RBAC, ("v1",), "roles", "Role"),
    Resource(_RBAC, ("v1",), "rolebindings", "RoleBinding"),
    Resource(_RBAC, ("v1",), "clusterroles", "ClusterRole", namespaced=False),
    Resource(_RBAC, ("v1",), "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    Resource("apiregistration.k8s.io", ("v1",), "apiservices", "APIService", False, _STATUS),
    Resource("apiextensions.k8s.io", ("v1",), "customresourcedefinitions", "CustomResourceDefinition", False, _STATUS),
    _custom(_CM, "certificates", "Certificate", fields=_ISSUER),
    _custom(_CM, "certificaterequests", "CertificateRequest", fields=_ISSUER),
    _custom(_CM, "issuers", "Issuer"),
    _custom(_CM, "clusterissuers", "ClusterIssuer", namespaced=False),
    _custom(_ACME, "orders", "Order", fields=_ISSUER),
    _custom(_ACME, "challenges", "Challenge", fields=_ISSUER),
)

BY_PATH: dict[tuple[str, str, str], Resource] = {
    (r.group, version, r.plural): r for r in RESOURCES for version in r.versions
}
BY_KIND: dict[tuple[str, str], Resource] = {(r.group, r.kind): r for r in RESOURCES}
BY_ID: dict[str, Resource] = {r.id: r for r in RESOURCES}
GROUP_VERSIONS: frozenset[tuple[str, str]] = frozenset((r.group, v) for r in RESOURCES for v in r.versions) | {
    ("authorization.k8s.io", "v1"),
    ("authentication.k8s.io", "v1"),
    ("events.k8s.io", "v1"),
}

PODS = BY_ID["pods"]
NODES = BY_ID["nodes"]
NAMESPACES = BY_ID["namespaces"]
EVENTS = BY_ID["events"]
DEPLOYMENTS = BY_ID["deployments.apps"]
REPLICASETS = BY_ID["replicasets.apps"]
DAEMONSETS = BY_ID["daemonsets.apps"]
BUDGETS = BY_ID["poddisruptionbudgets.policy"]
CLAIMS = BY_ID["persistentvolumeclaims"]
VOLUMES = BY_ID["persistentvolumes"]
STORAGE_CLASSES = BY_ID["storageclasses.storage.k8s.io"]
QUOTAS = BY_ID["resourcequotas"]
