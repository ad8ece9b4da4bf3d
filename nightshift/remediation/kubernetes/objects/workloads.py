"""Workloads, the states they had, who scales them, and how many of their pods may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from nightshift.remediation.kubernetes.objects.common import Conditioned, KubernetesObject, Selector
from nightshift.remediation.kubernetes.objects.pods import Container, Pod, Volume

REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
CHANGE_CAUSE_ANNOTATION = "kubernetes.io/change-cause"


class WorkloadKind(StrEnum):
    """What keeps pods running."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A pod template: what would run."""

    digest: str = ""
    """SHA-256 of the template without the pod-template-hash label: equal digests run the same."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    needs: tuple[str, ...] = ()
    """What its pods cannot start without: ``configmap/<name>``, ``claim/<name>``."""

    @property
    def images(self) -> tuple[str, ...]:
        """Of all containers, init containers first."""
        return tuple(container.image for container in self.containers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload(Conditioned):
    """A Deployment, StatefulSet or DaemonSet. For a DaemonSet, replicas are the nodes it should run on."""

    kind: WorkloadKind
    replicas: int = 0
    """Wanted."""
    existing: int = 0
    """Counted by its controller (``status.replicas``, ``currentNumberScheduled``)."""
    updated: int = 0
    ready: int = 0
    available: int = 0
    unavailable: int = 0
    observed_generation: int = 0
    paused: bool = False
    strategy: str = ""
    """``RollingUpdate``, ``Recreate`` or ``OnDelete``."""
    max_unavailable: str = ""
    max_surge: str = ""
    """Both as written: a number or a percentage."""
    progress_deadline_seconds: int | None = None
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    selector: Selector | None = None
    template: Template = Template()
    revision: int = 0
    """Of a Deployment by its annotation; 0 when unknown."""
    current_revision: str = ""
    update_revision: str = ""
    """Of a StatefulSet or DaemonSet: names of ControllerRevisions."""

    @property
    def is_observed(self) -> bool:
        """Its controller has seen the newest specification: the numbers are about it."""
        return self.observed_generation >= self.meta.generation


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision(KubernetesObject):
    """One state a workload had: a ReplicaSet of a Deployment, a ControllerRevision of the others."""

    number: int
    template: Template = Template()
    replicas: int = 0
    ready: int = 0
    available: int = 0
    change_cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisruptionBudget(Conditioned):
    """A PodDisruptionBudget: how many of its pods may be taken away now."""

    selector: Selector | None = None
    min_available: str = ""
    max_unavailable: str = ""
    """As written: a number or a percentage; one of both."""
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    observed_generation: int = 0
    unhealthy_eviction: str = "IfHealthyBudget"
    """``IfHealthyBudget`` or ``AlwaysAllow``: whether pods that are not ready may go when the budget is spent."""

    def covers(self, pod: Pod) -> bool:
        """The API server's rule: same namespace, selector matches; a budget without a selector covers nothing."""
        return pod.namespace == self.namespace and self.selector is not None and self.selector.matches(pod.meta.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler(Conditioned):
    """A HorizontalPodAutoscaler: the owner of a workload's replicas."""

    target_kind: str = ""
    target_name: str = ""
    min_replicas: int = 1
    max_replicas: int = 0
    current_replicas: int = 0
    desired_replicas: int = 0
