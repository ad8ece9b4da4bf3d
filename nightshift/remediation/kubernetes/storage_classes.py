"""A missing storage class, made as a copy of one that exists: when it may be, and how it is taken back. Pure.

Follows octollm.PersistentVolumeClaimPending.r1.1 without its hazard: driver and parameters are those of a class that
the cluster has, so that no superseded driver is named.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from nightshift.remediation.actions import Effect
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.claim_diagnosis import NO_PROVISIONER, ClaimDiagnosis
from nightshift.remediation.kubernetes.claim_policy import ClaimPendingPolicy
from nightshift.remediation.kubernetes.drain_plan import pod_name
from nightshift.remediation.kubernetes.names import ObjectName
from nightshift.remediation.kubernetes.undoing import opposite_of
from nightshift.remediation.models import Action, Impact, Quantity, Refusal, Risk, Target, UndoWhen
from nightshift.remediation.text import listed, printable


class CreateStorageClass(ActionArguments):
    """Make a missing storage class as a copy of one that exists; a copy is never the default class."""

    KIND: ClassVar[str] = "create_storage_class"
    name: ObjectName
    copied: ObjectName
    """The class that it is a copy of."""
    uid: str = Field(min_length=1)
    """Of the class that is copied."""
    content: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Digest of what is copied; its parameters themselves stay in the cluster."""

    @model_validator(mode="after")
    def _another(self) -> Self:
        if self.name == self.copied:
            raise ValueError("a class is copied under another name")
        return self

    @property
    def mark(self) -> str:
        """By which the copy is known again."""
        return f"{self.KIND} {self.uid} {self.content[:16]}"


class RemoveStorageClass(ActionArguments):
    """Delete a storage class that Nightshift made, while no claim and no volume names it."""

    KIND: ClassVar[str] = "remove_storage_class"
    name: ObjectName
    uid: str


@serves("octollm.PersistentVolumeClaimPending: r1.1")
def copy_class(target: Target, diagnosis: ClaimDiagnosis, policy: ClaimPendingPolicy, changes: Changes) -> None:
    """Make the missing class as a copy of the one that the policy names, or say why not.

    A person always decides (kubernetes.create_storage_class): a class is for the whole cluster.
    """
    claim, missing = diagnosis.claim, diagnosis.claim.storage_class
    if not missing or diagnosis.storage_class is not None or missing not in policy.copy_class:
        return
    if claim.phase != "Pending":
        return
    copied = policy.copy_class[missing]
    title = f"Make the storage class {missing} as a copy of {copied}"
    served = next((c for c in diagnosis.classes if c.name == copied), None)
    if served is None:
        changes.refusals.append(Refusal(what=title, reason=f"the class {copied} does not exist either"))
        return
    if served.provisioner == NO_PROVISIONER:
        changes.refusals.append(Refusal(what=title, reason=f"the class {copied} makes no volumes by itself"))
        return
    arguments = CreateStorageClass(name=missing, copied=copied, uid=served.uid, content=served.content)
    changes.actions.append(
        Action(
            kind=arguments.KIND,
            target=target,
            arguments=arguments.to_json(),
            items=(missing,),
            title=title,
            reason=f"{printable(claim.name, 120)} waits for it. Its volumes are made by "
            f"{printable(served.provisioner, 100)}, as those of {copied}.",
            risk=Risk.MEDIUM,
            asks="A storage class is for the whole cluster: every claim that names it gets volumes from then on.",
            bound=Quantity(amount=1, unit="storage classes"),
            undo="deleted again, while no claim and no volume names it",
            undo_when=UndoWhen.BY_HAND,
            impact=Impact(
                what=f"storage class {missing}",
                how_much="new in the cluster",
                users=listed([pod_name(pod) for pod in diagnosis.consumers]) or "no pod",
            ),
        )
    )


def class_away(action: Action, effect: Effect | None) -> Action:
    """Without it; a class of which nobody recorded that it was made is not found by this."""
    done = CreateStorageClass.from_json(action.arguments)
    uid = str(effect.evidence.get("uid") or "") if effect is not None else ""
    away = RemoveStorageClass(name=done.name, uid=uid)
    return opposite_of(action, away, f"Delete the storage class {done.name} again", "There was none before.")
