"""What may be done about a pod that was killed for memory; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.durations import Seconds
from nightshift.remediation.kubernetes.saturation import SaturationPolicy
from nightshift.remediation.models import Symptom, Target
from nightshift.remediation.text import printable


class PodMemoryPolicy(SaturationPolicy):
    """Limits of the flow ``pod-memory-exhaustion``."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "namespace", "pod")
    """Kinds of the target's path, outermost first."""

    prometheus: Annotated[str | None, ConnectionOf("http")] = None
    """Where the kubelets' ``container_memory_working_set_bytes`` are; None: a leak is not told from a spike."""
    wait: Annotated[Seconds, Field(ge=10, le=7200)] = 900
    """So long what was done may take to show; a rollout ends with its own progress deadline."""
    hold: Annotated[Seconds, Field(ge=5, le=7200)] = 3600
    """Ready and without another kill for so long counts as repaired."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("pod"))
        return Symptom(
            what=f"a container of {name} is killed for memory",
            solved=f"every pod of the workload of {name} ready, and no container of it ended",
            measured_by="the container states and restart counts in the Kubernetes API",
            hold=self.hold,
            allowances=("the time that a rollout takes, up to its progress deadline",),
        )
