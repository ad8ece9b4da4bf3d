"""What may be done about a volume claim; written once per runbook in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from nightshift.remediation.connections import ConnectionOf, NamespaceOfCluster
from nightshift.remediation.disk_space.policy import Bytes
from nightshift.remediation.durations import Seconds
from nightshift.remediation.kubernetes.names import Namespace, ObjectName
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable


class ClaimPendingPolicy(Value):
    """Limits of the flow ``volume-claim-pending``: why a claim is not bound, and what it may become."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "namespace", "claim")
    """Kinds of the target's path, outermost first."""

    patience: Annotated[Seconds, Field(ge=0, le=3600)] = 120
    """A claim that is younger is being worked on."""
    replace_class: Mapping[ObjectName, ObjectName] = Field(default_factory=dict)
    """Missing storage classes, each with the one that a claim which was never bound is made anew with instead."""
    copy_class: Mapping[ObjectName, ObjectName] = Field(default_factory=dict)
    """Missing storage classes, each with the one whose copy is made under the missing name."""
    bound_within: Annotated[Seconds, Field(ge=1, le=3600)] = 300
    """How long the storage may take for a claim that was made anew, or whose class was made."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if both := sorted(self.replace_class.keys() & self.copy_class.keys()):
            raise ValueError(f"{both[0]} stands in replace_class and in copy_class: leave it in one of them")
        if itself := sorted(name for name, copied in self.copy_class.items() if name == copied):
            raise ValueError(f"{itself[0]} is its own copy in copy_class: name a class that exists")
        return self

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


class ClaimExpansion(Value):
    """A larger claim, asked for in the cluster where it can be asked; a claim cannot be shrunk again."""

    cluster: Annotated[str, ConnectionOf("kubernetes")]
    """Name of the connection to the cluster of the claim."""
    namespace: Annotated[Namespace | None, NamespaceOfCluster()] = None
    """Of the claim; null: the namespace of that connection."""
    factor: float = Field(default=1.5, gt=1, le=4)
    """The new size relative to the present one."""
    ceiling: Bytes
    """Never grown above this."""
    grown_within: Annotated[Seconds, Field(ge=1, le=3600)] = 600
    """How long the storage driver may take for it."""
