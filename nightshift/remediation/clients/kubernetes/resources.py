"""The kinds of objects that are read or changed, where the API serves them, and how each is parsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nightshift.remediation.clients.kubernetes.parsing import certificates, common, pods, storage, workloads
from nightshift.remediation.kubernetes import objects
from nightshift.remediation.kubernetes.names import namespace_name, object_name
from nightshift.remediation.kubernetes.objects import WorkloadKind

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Resource(Generic[T_co]):
    """One kind of object."""

    kind: str
    """For people and for changes: ``Deployment``."""
    plural: str
    """As in the path: ``deployments``."""
    parse: Callable[[Mapping[str, Any]], T_co]
    group: str = ""
    version: str = "v1"
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of one object, or of the collection when no name is given.

        Raises:
            ValueError: a name is none, or an object of a namespace was asked for without it.
        """
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if name and self.namespaced and not namespace:
            raise ValueError(f"a {self.kind} has a namespace")
        if namespace:
            root += f"/namespaces/{namespace_name(namespace)}"
        root += f"/{self.plural}"
        if name:
            root += f"/{object_name(name)}"
        return f"{root}/{subresource}" if subresource else root

    @property
    def api_version(self) -> str:
        """As objects have it: ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version


def raw(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """For kinds whose objects are taken as they come."""
    return document


NODES = Resource[objects.Node]("Node", "nodes", pods.node, namespaced=False)
PODS = Resource[objects.Pod]("Pod", "pods", pods.pod)
EVENTS = Resource[objects.Event]("Event", "events", common.event)
CONFIG_MAPS = Resource[Mapping[str, Any]]("ConfigMap", "configmaps", raw)
SERVICES = Resource[Mapping[str, Any]]("Service", "services", raw)
ENDPOINT_SLICES = Resource[Mapping[str, Any]]("EndpointSlice", "endpointslices", raw, "discovery.k8s.io")
CLAIMS = Resource[objects.Claim]("PersistentVolumeClaim", "persistentvolumeclaims", storage.claim)
VOLUMES = Resource[objects.PersistentVolume]("PersistentVolume", "persistentvolumes", storage.volume, namespaced=False)
LEASES = Resource[Mapping[str, Any]]("Lease", "leases", raw, "coordination.k8s.io")
QUOTAS = Resource[objects.Quota]("ResourceQuota", "resourcequotas", storage.quota)
LIMIT_RANGES = Resource[objects.LimitRange]("LimitRange", "limitranges", storage.limit_range)
DEPLOYMENTS = Resource[objects.Workload]("Deployment", "deployments", workloads.deployment, "apps")
STATEFUL_SETS = Resource[objects.Workload]("StatefulSet", "statefulsets", workloads.stateful_set, "apps")
DAEMON_SETS = Resource[objects.Workload]("DaemonSet", "daemonsets", workloads.daemon_set, "apps")
REPLICA_SETS = Resource[objects.Revision]("ReplicaSet", "replicasets", workloads.replica_set, "apps")
CONTROLLER_REVISIONS = Resource[objects.Revision](
    "ControllerRevision", "controllerrevisions", workloads.controller_revision, "apps"
)
DISRUPTION_BUDGETS = Resource[objects.DisruptionBudget](
    "PodDisruptionBudget", "poddisruptionbudgets", workloads.disruption_budget, "policy"
)
AUTOSCALERS = Resource[objects.Autoscaler](
    "HorizontalPodAutoscaler", "horizontalpodautoscalers", workloads.autoscaler, "autoscaling", "v2"
)
STORAGE_CLASSES = Resource[objects.StorageClass](
    "StorageClass", "storageclasses", storage.storage_class, "storage.k8s.io", namespaced=False
)
INGRESSES = Resource[Mapping[str, Any]]("Ingress", "ingresses", raw, "networking.k8s.io")
CERTIFICATES = Resource[objects.Certificate]("Certificate", "certificates", certificates.certificate, "cert-manager.io")
CERTIFICATE_REQUESTS = Resource[objects.CertificateRequest](
    "CertificateRequest", "certificaterequests", certificates.certificate_request, "cert-manager.io"
)
ISSUERS = Resource[objects.Issuer]("Issuer", "issuers", certificates.issuer, "cert-manager.io")
CLUSTER_ISSUERS = Resource[objects.Issuer](
    "ClusterIssuer", "clusterissuers", certificates.issuer, "cert-manager.io", namespaced=False
)
ORDERS = Resource[objects.Order]("Order", "orders", certificates.order, "acme.cert-manager.io")
CHALLENGES = Resource[objects.Challenge]("Challenge", "challenges", certificates.challenge, "acme.cert-manager.io")

WORKLOADS: Mapping[WorkloadKind, Resource[objects.Workload]] = {
    WorkloadKind.DEPLOYMENT: DEPLOYMENTS,
    WorkloadKind.STATEFUL_SET: STATEFUL_SETS,
    WorkloadKind.DAEMON_SET: DAEMON_SETS,
}
