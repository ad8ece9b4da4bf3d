"""What may be done about a volume claim; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from nightshift.remediation.disk_space.policy import Bytes, Percent
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable


class ClaimPendingPolicy(Value):
    """Limits of the flow ``volume-claim-pending``: it changes nothing, it says why a claim is not bound."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "namespace", "claim")
    """Kinds of the target's path, outermost first."""

    patience: Annotated[Seconds, Field(ge=0, le=3600)] = 120
    """A claim that is younger is being worked on."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that it is over."""
        name = printable(target.part("claim"))
        return Symptom(
            what=f"the claim {name} is pending",
            solved=f"the claim {name} bound",
            measured_by="the status of the claim in the Kubernetes API",
            hold=1,
            allowances=("claims that wait for the first pod that uses them",),
        )


class ClaimExpansionPolicy(Value):
    """How far a claim may be grown."""

    factor: Annotated[float, Field(gt=1, le=4)] = 1.25
    """The new size is the old one times this, or what the target needs, up to the ceiling."""
    ceiling: Bytes
    """No claim is grown above this."""
    target_used_percent: Percent = 80
    """It is grown so far that its content takes at most this share, where the ceiling allows."""
