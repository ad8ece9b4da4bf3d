"""Kubernetes objects as values: what planners need of a node, a pod, a workload, a claim.

Read by ``remediation/clients/kubernetes`` (spec: kubernetes.list_nodes, list_pods, read_deployment, ...), written by
nobody. Names follow the Kubernetes API; units are spelt out: CPU in millicores, memory and storage in bytes, times
aware and by the cluster's clock. What the API left out is None or empty, never a guess.
"""

from __future__ import annotations

from nightshift.remediation.kubernetes.objects.certificates import (
    Certificate,
    CertificateRequest,
    Challenge,
    Issuer,
    IssuerReference,
    Order,
)
from nightshift.remediation.kubernetes.objects.common import (
    UNSTATED,
    Condition,
    Conditioned,
    Event,
    FieldManager,
    KubernetesObject,
    Metadata,
    Owner,
    Requirement,
    Resources,
    Selector,
)
from nightshift.remediation.kubernetes.objects.nodes import (
    Node,
    Taint,
    Toleration,
)
from nightshift.remediation.kubernetes.objects.pods import (
    MIRROR_ANNOTATION,
    Container,
    ContainerStatus,
    Pod,
    Termination,
    Volume,
)
from nightshift.remediation.kubernetes.objects.storage import (
    Claim,
    LimitRange,
    PersistentVolume,
    Quota,
    StorageClass,
)
from nightshift.remediation.kubernetes.objects.workloads import (
    CHANGE_CAUSE_ANNOTATION,
    REVISION_ANNOTATION,
    Autoscaler,
    DisruptionBudget,
    Revision,
    Template,
    Workload,
    WorkloadKind,
)

__all__ = [
    "CHANGE_CAUSE_ANNOTATION",
    "MIRROR_ANNOTATION",
    "REVISION_ANNOTATION",
    "UNSTATED",
    "Autoscaler",
    "Certificate",
    "CertificateRequest",
    "Challenge",
    "Claim",
    "Condition",
    "Conditioned",
    "Container",
    "ContainerStatus",
    "DisruptionBudget",
    "Event",
    "FieldManager",
    "Issuer",
    "IssuerReference",
    "KubernetesObject",
    "LimitRange",
    "Metadata",
    "Node",
    "Order",
    "Owner",
    "PersistentVolume",
    "Pod",
    "Quota",
    "Requirement",
    "Resources",
    "Revision",
    "Selector",
    "StorageClass",
    "Taint",
    "Template",
    "Termination",
    "Toleration",
    "Volume",
    "Workload",
    "WorkloadKind",
]
