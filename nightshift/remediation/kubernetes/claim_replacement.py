"""A claim that was never bound, made anew with the class that the policy names instead of the missing one. Pure.

Follows octollm.PersistentVolumeClaimPending.r1.2 and its hazard: only while it is unbound, and only this very claim.
"""

from __future__ import annotations

from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.claim_diagnosis import NO_PROVISIONER, ClaimDiagnosis
from nightshift.remediation.kubernetes.claim_policy import ClaimPendingPolicy
from nightshift.remediation.kubernetes.drain_plan import pod_name
from nightshift.remediation.kubernetes.ownership import FieldChange, at_the_owner, diff_of, owner_of
from nightshift.remediation.kubernetes.recreating import RecreateClaim, not_plain, was_bound
from nightshift.remediation.models import (
    Action,
    Impact,
    Plan,
    Quantity,
    Refusal,
    Risk,
    Target,
    UndoWhen,
)
from nightshift.remediation.text import listed, printable

_MOST = 5


@serves("octollm.PersistentVolumeClaimPending: r1.2")
def replace_class(target: Target, diagnosis: ClaimDiagnosis, policy: ClaimPendingPolicy, changes: Changes) -> None:
    """Make the claim anew with the class that the policy names instead of its missing one, or say why not.

    A person always decides (kubernetes.recreate_pvc): for a moment there is no claim.
    """
    claim, missing = diagnosis.claim, diagnosis.claim.storage_class
    if not missing or diagnosis.storage_class is not None or missing not in policy.replace_class:
        return
    instead = policy.replace_class[missing]
    name = printable(claim.name, 120)
    title = f"Make the claim {name} anew with the class {instead} instead of {printable(missing, 120)}"
    if why := _why_not_anew(diagnosis, instead):
        changes.refusals.append(Refusal(what=title, reason=why))
        return
    field = FieldChange(path="spec.storageClassName", before=missing, after=instead)
    if (owner := owner_of(claim, (field,))) is not None:
        changes.proposals.append(at_the_owner(title, owner, diff_of(type(claim).__name__, claim, (field,))))
        reason = f"{owner.where} owns it ({owner.evidence})"
        changes.refusals.append(Refusal(what=title, reason=reason, lifted_by=f"the same change in {owner.where}"))
        return
    arguments = RecreateClaim(
        namespace=claim.namespace,
        name=claim.name,
        uid=claim.uid,
        from_class=missing,
        to_class=instead,
        definition=dict(claim.definition),
    )
    changes.actions.append(
        Action(
            kind=arguments.KIND,
            target=target,
            arguments=arguments.to_json(),
            items=(claim.uid,),
            title=title,
            reason="It was never bound, so that nothing is lost; nothing else in it changes.",
            risk=Risk.HIGH,
            asks="The claim is deleted and made again, and its data will be on another kind of storage.",
            bound=Quantity(amount=1, unit="claims"),
            undo=f"made anew with the class {printable(missing, 120)}, while it is not bound",
            undo_when=UndoWhen.BY_HAND,
            impact=Impact(
                what=f"claim {name}",
                how_much="without a volume",
                users=listed([pod_name(pod) for pod in diagnosis.consumers]) or "no pod",
            ),
        )
    )


def plan_again(target: Target, begun: Action) -> Plan:
    """The claim was deleted and the new one is not there: it is made from what the journal kept."""
    done = RecreateClaim.from_json(begun.arguments)
    arguments = done.model_copy(update={"uid": "", "back": True})
    update = {
        "arguments": arguments.to_json(),
        "title": f"Make the claim {done.name}, which was deleted for it, with the class {done.to_class}",
        "reason": "It was deleted, and the new one could not be made then.",
    }
    goal = f"Have the claim {done.name} again: making it anew was interrupted"
    return Plan(goal=goal, target=target, actions=(begun.model_copy(update=update),), expected=f"{done.name} bound.")


def _why_not_anew(diagnosis: ClaimDiagnosis, instead: str) -> str:
    """Empty: nothing is lost by it, and it lasts."""
    claim = diagnosis.claim
    if bound := was_bound(claim):
        return f"it {bound}: only a claim that was never bound is made anew"
    if claim.meta.deletion_at is not None:
        return "it is being deleted"
    if any(v.claim == f"{claim.namespace}/{claim.name}" for v in diagnosis.volumes):
        return "a volume is kept for it"
    if claim.meta.owners:
        return f"{printable(claim.meta.owners[0].kind, 60)} {printable(claim.meta.owners[0].name, 120)} owns it"
    if diagnosis.stateful_set:
        return f"the template of StatefulSet {printable(diagnosis.stateful_set, 120)} names the missing class"
    if placed := [pod_name(pod) for pod in diagnosis.consumers if pod.node]:
        return f"{listed(placed, _MOST)} on a node would keep it from being deleted"
    if more := not_plain(claim):
        return more
    served = next((c for c in diagnosis.classes if c.name == instead), None)
    if served is None:
        return f"the class {instead} that the runbook names does not exist either"
    return "" if served.provisioner != NO_PROVISIONER else f"the class {instead} makes no volumes by itself"
