"""How a change in a cluster is looked at; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.durations import Seconds
from nightshift.remediation.hours import Hours
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable

Change = Literal["release", "scaling", "configuration"]
_KINDS: dict[Change, str] = {"release": "deployment", "scaling": "autoscaler", "configuration": "configmap"}


@serves("octollm.HPAScaledUp: d2")
class PeakHours(Hours):
    """When scaling is expected, in the time zone of the system."""


class ChangeReviewPolicy(Value):
    """Limits of the flow ``change-event-review``."""

    change: Change
    """What the alert is about: a Deployment's release, an autoscaler's scaling, or a ConfigMap's content."""
    watch: Annotated[Seconds, Field(ge=5, le=7200)] = 900
    """For so long after the change, critical and warning alerts of the service are laid at its door."""
    prometheus: Annotated[str | None, ConnectionOf("http")] = None
    """Where kube-state-metrics is: how an autoscaler scaled of late."""
    peak: PeakHours | None = None
    """When scaling is expected; null: nobody said."""
    most_turns: Annotated[int, Field(ge=1, le=60)] = 4
    """An autoscaler that changes its direction more often within an hour flaps."""
    stabilization: Annotated[Seconds, Field(ge=60, le=3600)] = 600
    """What is proposed for one that flaps: so long it waits before it scales down."""
    hold: Annotated[Seconds, Field(ge=5, le=7200)] = 300
    """Pods that were restarted must be ready for so long."""
    wait: Annotated[Seconds, Field(ge=10, le=7200)] = 900
    """So long their rollout may take."""

    @model_validator(mode="after")
    def _measures_scaling(self) -> ChangeReviewPolicy:
        if self.change == "scaling" and self.prometheus is None:
            raise ValueError("name the prometheus that has kube_horizontalpodautoscaler_status_current_replicas")
        return self

    @property
    def TARGET(self) -> tuple[str, ...]:  # noqa: N802 - as of all policies
        """Kinds of the target's path, outermost first."""
        return ("cluster", "namespace", _KINDS[self.change])

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that what it did harmed nobody."""
        name = printable(target.part(_KINDS[self.change]))
        if self.change == "scaling":
            return Symptom(
                what=f"{name} changes its direction again and again",
                solved=f"at most one turn of {name}",
                measured_by=f"kube-state-metrics, through {printable(self.prometheus or '')}",
                hold=self.hold,
            )
        return Symptom(
            what=f"{name} changed, and what uses it may not know it yet",
            solved=f"every pod that uses {name} begun after the change, ready, and no alert of its service",
            measured_by="the pods in the Kubernetes API and the alerts that Nightshift was sent",
            hold=self.hold,
            allowances=("a rollout within its progress deadline",),
        )
