"""What may be done about a node in trouble, and what must stay; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.durations import Seconds
from nightshift.remediation.kubernetes.drain import DrainOptions
from nightshift.remediation.kubernetes.infrastructure_tree import InfrastructureTree
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.requests.measures import LabelName
from nightshift.remediation.text import printable


class NodeNotReadyPolicy(Value):
    """Limits of the flow ``node-not-ready``."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "node")
    """Kinds of the target's path, outermost first."""

    min_healthy_percent: Annotated[float, Field(ge=50, le=100)] = 70
    """Nothing is done when it would leave a smaller share of the nodes ready and open for pods."""
    settle: Annotated[Seconds, Field(ge=30, le=3600)] = 120
    """A node must have been in trouble for so long before anything is done about it."""
    drain_after: Annotated[Seconds, Field(ge=60, le=7200)] = 300
    """A node must have been not ready for so long before its pods are evicted."""
    hold: Annotated[Seconds, Field(ge=60, le=3600)] = 300
    """A node must be ready for so long on end before it counts as repaired and is uncordoned."""
    wait: Annotated[Seconds, Field(ge=5, le=3600)] = 900
    """So long the flow waits for the node to become well; then a person is called. The node stays cordoned."""
    restart_services: bool = True
    """Start a kubelet, containerd or CRI-O again, once, that its host says has stopped; containers run on meanwhile."""
    restart_wait: Annotated[Seconds, Field(ge=5, le=900)] = 120
    """So long a node gets to be ready after that."""
    rounds: Annotated[int, Field(ge=1, le=6)] = 3
    """At most so many rounds of evictions."""
    drain_within: Annotated[Seconds, Field(ge=60, le=420)] = 420
    """One round of evictions ends after so long; what is left then waits for the next one."""
    most_pods: Annotated[int, Field(ge=1, le=1000)] = 250
    """At most so many pods are evicted in one round."""
    delete_empty_dir: bool = False
    """Evict pods although the content of their emptyDir is lost."""
    evict_unmanaged: bool = False
    """Evict pods that no controller makes again: they are gone for good."""
    relieve_pods: Annotated[int, Field(ge=0, le=20)] = 3
    """At most so many pods are evicted from a node without memory; 0: none."""
    relieve_priority_at_most: Annotated[int, Field(le=1_000_000_000)] = 0
    """Only pods of this priority or lower are evicted to relieve a node."""
    protected_namespaces: tuple[str, ...] = ("kube-system",)
    """Pods of these namespaces are never evicted to relieve a node."""

    prometheus: Annotated[str | None, ConnectionOf("http")] = None
    """Where node_exporter and the kubelets' ``container_…`` metrics are; null: what the node uses is not told."""
    node_label: LabelName = "node"
    """The label, of node and of container metrics, that has the node's name, or its address."""

    tree: InfrastructureTree | None = None
    """Whom the system's decision tree for infrastructure calls; null: it has none."""

    @property
    def drain_options(self) -> DrainOptions:
        """What the drain may do beyond kubectl's defaults."""
        return DrainOptions(delete_empty_dir=self.delete_empty_dir, evict_unmanaged=self.evict_unmanaged)

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("node"))
        return Symptom(
            what=f"the node {name} is not ready, or under pressure",
            solved=f"{name} ready and without pressure, and no pod of it waiting for a place",
            measured_by="the conditions of the Node and of its pods' controllers in the Kubernetes API",
            hold=self.hold,
            allowances=("the time that evicted pods need to start elsewhere",),
        )
