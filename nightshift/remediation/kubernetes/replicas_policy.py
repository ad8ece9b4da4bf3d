"""What may be done when a workload has fewer pods than it should; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from nightshift.remediation.durations import Seconds
from nightshift.remediation.kubernetes.rollback import RollbackPolicy
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable


class ReplicasPolicy(Value):
    """Limits of the flow ``deployment-replicas-mismatch``."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "namespace", "deployment")
    """Kinds of the target's path, outermost first."""

    rollback: RollbackPolicy | None = None
    """None: no release is ever taken back."""
    default_deadline: Annotated[Seconds, Field(ge=60, le=7200)] = 600
    """A rollout of a workload without a progress deadline of its own is waited for so long."""
    wait: Annotated[Seconds, Field(ge=10, le=7200)] = 900
    """So long what was done may take to show; a rollout ends with its own progress deadline."""
    hold: Annotated[Seconds, Field(ge=5, le=7200)] = 300
    """All pods must be available for so long on end."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("deployment"))
        return Symptom(
            what=f"fewer pods of {name} available than wanted",
            solved=f"as many pods of {name} available as wanted, and its rollout complete",
            measured_by="the status of the Deployment in the Kubernetes API",
            hold=self.hold,
            allowances=("a rollout within its progress deadline",),
        )
