"""A change of a workload, made or proposed: made where nobody would put it back, else proposed at its owner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nightshift.remediation.kubernetes.objects import KubernetesObject, Workload
from nightshift.remediation.kubernetes.ownership import (
    FieldChange,
    Insists,
    Ownership,
    at_the_owner,
    diff_of,
    owner_of,
)
from nightshift.remediation.models import Action, Proposal, Refusal


@dataclass
class Changes:
    """Collects what a plan does, refuses and proposes."""

    actions: list[Action] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)

    def change(
        self,
        action: Action,
        obj: KubernetesObject,
        fields: Sequence[FieldChange],
        *,
        owner: Ownership | None = None,
    ) -> bool:
        """Take the action, unless the object's owner would revert it: then it is proposed there. True when taken."""
        owner = owner or owner_of(obj, fields)
        kind = str(obj.kind) if isinstance(obj, Workload) else type(obj).__name__
        if owner is not None:
            self.proposals.append(at_the_owner(action.title, owner, diff_of(kind, obj, fields)))
        if owner is not None and owner.insists is Insists.REVERTS:
            reason = f"{owner.where} owns it ({owner.evidence}) and would put it back"
            self.refusals.append(
                Refusal(what=action.title, reason=reason, lifted_by=f"the same change in {owner.where}")
            )
            return False
        self.actions.append(action)
        return True
