"""A claim that was never bound, made anew with another storage class: when it may be, and how it is taken back. Pure.

Follows octollm.PersistentVolumeClaimPending.r1.2 ("the field cannot be changed once set: the claim has to be
re-created, only while it is unbound").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import JsonValue, model_validator

from nightshift.remediation.actions import Effect
from nightshift.remediation.kubernetes.configuring import ObjectArguments
from nightshift.remediation.kubernetes.names import ObjectName
from nightshift.remediation.kubernetes.objects import Claim
from nightshift.remediation.kubernetes.undoing import opposite_of
from nightshift.remediation.models import Action, canonical_json
from nightshift.remediation.text import listed, printable

MOST_BYTES = 32 * 1024
"""Of a definition: it is kept in the plan and the journal."""
_BINDING = ("pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller")
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
_PLAIN = frozenset({"accessModes", "resources", "storageClassName", "volumeMode"})


class RecreateClaim(ObjectArguments):
    """Delete a claim that was never bound and make it again with another class and nothing else changed."""

    KIND: ClassVar[str] = "recreate_claim"
    from_class: ObjectName
    to_class: ObjectName
    definition: dict[str, JsonValue]
    """``labels``, ``annotations`` and ``spec`` as they were: from these it can be made again in any case."""
    back: bool = False
    """As an undo: the class need not exist, and without a uid there must be no claim of this name."""

    @model_validator(mode="after")
    def _locked(self) -> Self:
        if self.from_class == self.to_class:
            raise ValueError("the claim is made anew with another class")
        if not self.uid and not self.back:
            raise ValueError("only this very claim is replaced: its uid is needed")
        return self

    @property
    def mark(self) -> str:
        """By which the new claim is known again."""
        return f"{self.KIND} {self.uid or 'back'} {self.to_class}"


def was_bound(claim: Claim) -> str:
    """Why it is not certain that the claim never had a volume; empty: it never had one."""
    if claim.phase != "Pending":
        return f"is {printable(claim.phase, 20).lower() or 'without a phase'}"
    if claim.volume or claim.capacity_bytes or any(mark in claim.meta.annotations for mark in _BINDING):
        return "names a volume"
    return ""


def not_plain(claim: Claim) -> str:
    """What in the claim asks for more than any class can give; empty: nothing."""
    spec = claim.definition.get("spec")
    if not isinstance(spec, Mapping) or len(canonical_json(claim.definition)) > MOST_BYTES:
        return "its definition is not known, or too large to be kept"
    if _OLD_CLASS in claim.meta.annotations:
        return f"its class stands in the annotation {_OLD_CLASS}"
    more = sorted(key for key, value in spec.items() if key not in _PLAIN and value)
    return f"it asks for {listed([printable(key, 40) for key in more])}" if more else ""


def claim_back(action: Action, effect: Effect | None) -> Action:
    """With the class from before. Where it was deleted and no new one is there, it is only made again."""
    done = RecreateClaim.from_json(action.arguments)
    uid = str(effect.evidence.get("uid") or "") if effect is not None else ""
    classes = {"from_class": done.to_class, "to_class": done.from_class}
    opposite = done.model_copy(update={"uid": uid, "back": True, **classes})
    title = f"Make the claim {done.name} anew with the class {done.from_class}"
    return opposite_of(action, opposite, title, "It named this class before.")
