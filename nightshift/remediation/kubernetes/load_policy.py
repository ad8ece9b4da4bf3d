"""What may be done about a node or a pod that uses too much CPU or memory; written once per runbook."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.policy import Percent
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.heap_profile import HeapProfile
from nightshift.remediation.kubernetes.load import Kind
from nightshift.remediation.kubernetes.saturation import SaturationPolicy
from nightshift.remediation.models import Symptom, Target
from nightshift.remediation.requests.measures import LabelName
from nightshift.remediation.text import printable


class LoadPolicy(SaturationPolicy):
    """What both flows about load share."""

    resource: Literal["cpu", "memory"]
    """What there is too little of."""
    prometheus: Annotated[str, ConnectionOf("http")]
    """Where node_exporter and the kubelets' ``container_…`` metrics are."""
    window: Annotated[Seconds, Field(ge=5, le=3600)] = 300
    """CPU is measured over so long."""
    wait: Annotated[Seconds, Field(ge=10, le=7200)] = 900
    """So long what was done may take to show; at least ``window``, which still sees the trouble for so long."""
    hold: Annotated[Seconds, Field(ge=5, le=7200)] = 600
    """The measurement must stay below the limit for so long on end."""

    @model_validator(mode="after")
    def _waits_for_its_window(self) -> LoadPolicy:
        if self.wait < self.window:
            raise ValueError("wait must not be shorter than window, or nothing could ever be seen to help")
        return self

    @property
    def kind(self) -> Kind:
        """What is measured."""
        return Kind.CPU if self.resource == "cpu" else Kind.MEMORY


class NodeLoadPolicy(LoadPolicy):
    """Limits of the flow ``node-saturation``. No limit of a pod is raised on a node that is short itself."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "node")
    """Kinds of the target's path, outermost first."""

    at_most_percent: Percent = 80
    """Of the node; the alert's own limit."""
    neighbour_percent: Percent = 25
    """A workload that takes at least this share of what all pods of the node use is the one to relieve."""
    node_label: LabelName = "node"
    """The label, of node and of container metrics, that has the node's name, or its address."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("node"))
        return Symptom(
            what=f"the node {name} is short of {self.kind}",
            solved=f"at most {self.at_most_percent:g} % of the {self.kind} of {name} in use",
            measured_by=f"node_exporter over {format_duration(self.window)}, through {printable(self.prometheus)}",
            hold=self.hold,
            allowances=("a rollout within its progress deadline", "the window of the measurement"),
        )


class PodLoadPolicy(LoadPolicy):
    """Limits of the flow ``pod-saturation``."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "namespace", "pod")
    """Kinds of the target's path, outermost first."""

    profiles: dict[str, HeapProfile] = Field(default={}, max_length=50)
    """By name of the workload: where a pod of it gives its heap profile, which is read before anything is changed."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("pod"))
        return Symptom(
            what=f"a container of {name} uses nearly all {self.kind} that it may",
            solved=f"every container of its workload at {self.high_percent:g} % of its {self.kind} limit or less",
            measured_by=f"the kubelets' container metrics, through {printable(self.prometheus)}",
            hold=self.hold,
            allowances=("a rollout within its progress deadline", "the window of the measurement"),
        )
