"""What may be done about a pod that crashes again and again; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.policy import Bytes
from nightshift.remediation.durations import Seconds
from nightshift.remediation.kubernetes.names import ObjectName
from nightshift.remediation.kubernetes.rollback import RollbackPolicy
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable


class MemoryPolicy(Value):
    """How far a memory limit may be raised."""

    factor: Annotated[float, Field(gt=1, le=4)] = 1.5
    """The new limit is the old one times this, up to the ceiling."""
    ceiling: Bytes
    """No limit is raised above this."""
    kills_per_hour: Annotated[int, Field(ge=1, le=60)] = 3
    """Killed more often within an hour, it leaks or needs another size: a person decides."""


class PodCrashLoopPolicy(Value):
    """Limits of the flow ``pod-crash-loop``."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "namespace", "pod")
    """Kinds of the target's path, outermost first."""

    memory: MemoryPolicy | None = None
    """None: no limit is ever raised."""
    rollback: RollbackPolicy | None = None
    """None: no release is ever taken back."""
    restart_dependencies: bool = False
    """Restart what runs behind a needed service when none of its pods is ready."""
    dependencies: tuple[ObjectName, ...] = ()
    """Services that these pods need, in the same namespace, in the order in which they are brought back."""
    prometheus: Annotated[str | None, ConnectionOf("http")] = None
    """Where the kubelets' ``container_memory_working_set_bytes`` are; null: its memory is not told."""
    jaeger: Annotated[str | None, ConnectionOf("http")] = None
    """Where its traces are, under the name of its workload; null: they are not looked at."""
    wait: Annotated[Seconds, Field(ge=10, le=7200)] = 900
    """So long what was done may take to show; a rollout ends with its own progress deadline."""
    hold: Annotated[Seconds, Field(ge=5, le=7200)] = 600
    """Ready and without restart for so long counts as repaired."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("pod"))
        return Symptom(
            what=f"the pod {name} crashes again and again",
            solved=f"every pod of the workload of {name} ready, and none of them restarted",
            measured_by="the container states and restart counts in the Kubernetes API",
            hold=self.hold,
            allowances=("the time that a rollout takes, up to its progress deadline",),
        )
