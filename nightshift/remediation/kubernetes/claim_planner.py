"""Why a claim is not bound, and a larger claim where its storage class can do it.

Covers octollm.PersistentVolumeClaimPending.d1-d4, r1.1-r3.3: what is there is proposed, because it creates or
re-creates what holds data, but for :mod:`.claim_replacement` and :mod:`.storage_classes`; and
cryptofunk.DiskSpaceWarning.r3.1 without its hazard:
the new size is computed from the present one, so that it never shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.arguments import ExpandClaim
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.claim_diagnosis import NO_PROVISIONER, ClaimDiagnosis
from nightshift.remediation.kubernetes.claim_policy import ClaimExpansion, ClaimPendingPolicy
from nightshift.remediation.kubernetes.claim_replacement import replace_class
from nightshift.remediation.kubernetes.drain_plan import pod_name
from nightshift.remediation.kubernetes.objects import Claim, PersistentVolume
from nightshift.remediation.kubernetes.ownership import FieldChange
from nightshift.remediation.kubernetes.storage_classes import copy_class
from nightshift.remediation.models import (
    Action,
    Finding,
    Impact,
    Plan,
    Proposal,
    Quantity,
    Refusal,
    Risk,
    Target,
    Verdict,
    format_bytes,
)
from nightshift.remediation.text import counted, listed, printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a claim without trouble."""
_MIB, _GIB = 2**20, 2**30
_MOST = 5


def plan_pending_claim(target: Target, diagnosis: ClaimDiagnosis, policy: ClaimPendingPolicy) -> Plan:
    """Why it is not bound, with what a person can do; nothing when it only waits for its first pod."""
    claim, name = diagnosis.claim, printable(diagnosis.claim.name, 120)
    if claim.phase == "Bound":
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{name} is bound.")
    waits_for_pod = _waits_for_first_consumer(diagnosis)
    if waits_for_pod and not diagnosis.consumers:
        expected = f"{name} is bound as soon as a pod uses it (WaitForFirstConsumer), and no pod does."
        return Plan(goal=NOTHING_TO_DO, target=target, expected=expected)
    goal = f"Have the claim {name} bound: it is {printable(claim.phase, 20).lower() or 'without a phase'}"
    if is_young(diagnosis, policy):
        reason = f"it is {format_duration(diagnosis.age)} old and being worked on"
        refusal = Refusal(
            what=f"Looking further into {name}", reason=reason, lifted_by=format_duration(policy.patience)
        )
        return Plan(goal=goal, target=target, refusals=(refusal,))
    changes = Changes()
    replace_class(target, diagnosis, policy, changes)
    copy_class(target, diagnosis, policy, changes)
    looks: tuple[Callable[[ClaimDiagnosis], Proposal | None], ...] = (_lost, _no_class, _refused, _no_volume, _no_node)
    found = [proposal for look in looks if (proposal := look(diagnosis)) is not None]
    if not found:
        served = diagnosis.storage_class
        who = printable(served.provisioner, 100) if served is not None else "its provisioner"
        found = [
            Proposal(title=f"Look at the pods of {who}", reason="Nobody says why the claim waits: no event at all.")
        ]
    goal = f"{goal}. {found[0].title}"
    return Plan(
        goal=goal,
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=(*changes.proposals, *found),
        expected=f"{name} bound, and its pods scheduled.",
    )


def is_young(diagnosis: ClaimDiagnosis, policy: ClaimPendingPolicy) -> bool:
    """Whether it is pending for so short a time that it may be bound in a moment."""
    return diagnosis.claim.phase == "Pending" and diagnosis.age < policy.patience


def in_words(diagnosis: ClaimDiagnosis) -> str:
    """One look as a line for people."""
    claim = diagnosis.claim
    return f"{printable(claim.phase, 20) or 'without a phase'}, {format_bytes(claim.requested_bytes)} asked for"


def findings_of(diagnosis: ClaimDiagnosis) -> tuple[Finding, ...]:
    """The claim, its class and what was said about it."""
    claim, served = diagnosis.claim, diagnosis.storage_class
    named = "default class" if claim.storage_class is None else printable(claim.storage_class, 80) or "no class"
    mode = f", {served.binding_mode}" if served is not None else ", which does not exist" * bool(claim.storage_class)
    newest = sorted(diagnosis.events, key=lambda event: (event.last_at or diagnosis.now, event.uid))[-_MOST:]
    return (
        Finding(
            title=f"{printable(claim.name, 120)} is {printable(claim.phase, 20) or 'without a phase'}",
            detail=f"{format_bytes(claim.requested_bytes)} of {named}{mode}",
            troubling=claim.phase != "Bound",
        ),
        Finding(title=f"{counted(len(diagnosis.consumers), 'pod')} use it"),
        *(Finding(title=f"Event {printable(e.reason, 60)}", detail=printable(e.message, 300)) for e in newest),
    )


def claim_size(present: int, used: int, target_percent: float, rule: ClaimExpansion) -> tuple[int, str]:
    """The new size in bytes and as Kubernetes writes it: by the factor, or more where the target needs more.

    Whole GiB (MiB for small claims), never above the ceiling; the caller must not take one that is not larger.
    """
    wanted = max(math.ceil(present * rule.factor), math.ceil(used / (target_percent / 100)))
    unit, name = (_GIB, "Gi") if present >= _GIB else (_MIB, "Mi")
    count = min(-(-wanted // unit), rule.ceiling // unit)
    return count * unit, f"{count}{name}"


@serves("cryptofunk.DiskSpaceWarning: r3.1")
def expand(
    target: Target,
    diagnosis: ClaimDiagnosis,
    used_bytes: int,
    target_percent: float,
    rule: ClaimExpansion,
    changes: Changes,
) -> None:
    """Grow the claim, or say why not (kubernetes.expand_pvc: growth only, allowVolumeExpansion).

    Args:
        target: with the element ``cluster``.
        diagnosis: of the claim.
        used_bytes: of its volume.
        target_percent: what is used shall be at most this share, where the ceiling allows.
        rule: how far.
        changes: where the action, the refusal or the proposal goes.
    """
    claim, name = diagnosis.claim, printable(diagnosis.claim.name, 120)
    present = claim.requested_bytes
    size, written = claim_size(present, used_bytes, target_percent, rule)
    what = f"Growing the claim {name}"
    if (refusal := _why_not_grow(diagnosis, size, rule, what)) is not None:
        changes.refusals.append(refusal)
        if not _can_grow(diagnosis):
            changes.proposals.append(_other_class(diagnosis, written))
        return
    arguments = ExpandClaim(
        namespace=claim.namespace, name=claim.name, uid=claim.uid, from_bytes=present, to_bytes=size
    )
    action = Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(claim.uid,),
        title=f"Grow the claim {name} from {format_bytes(present)} to {format_bytes(size)}",
        reason=f"{format_bytes(used_bytes)} are used; the volume grows while it is in use.",
        risk=Risk.HIGH,
        bound=Quantity(amount=size - present, unit="bytes"),
        gain=Quantity(amount=size - present, unit="bytes"),
        undo="cannot be undone: volumes do not shrink, and the larger one costs more",
        impact=Impact(
            what=f"claim {name}",
            how_much=format_bytes(claim.capacity_bytes or present),
            users=listed([pod_name(pod) for pod in diagnosis.consumers]) or "no pod",
        ),
    )
    field = FieldChange(path="spec.resources.requests.storage", before=_written(present), after=written)
    changes.change(action, claim, (field,))


@serves("octollm.PersistentVolumeClaimPending: v1")
def judge_bound(name: str, after: ClaimDiagnosis | None) -> Verdict:
    """Whether the claim that was made anew got its volume, or gets it with its first pod."""
    name = printable(name, 120)
    if after is None:
        return Verdict(healthy=False, reason=f"The claim {name} is gone.")
    if after.claim.phase == "Bound":
        return Verdict(healthy=True, reason=f"The claim {name} is bound.")
    if _waits_for_first_consumer(after) and not after.consumers:
        return Verdict(healthy=True, reason=f"The claim {name} is bound as soon as a pod uses it.")
    return Verdict(healthy=False, reason=f"The claim {name} is {in_words(after)}.")


def _can_grow(diagnosis: ClaimDiagnosis) -> bool:
    served = diagnosis.storage_class
    return served is not None and served.allow_expansion


def _other_class(diagnosis: ClaimDiagnosis, size: str) -> Proposal:
    others = [printable(c.name, 60) for c in diagnosis.classes if c.allow_expansion]
    return Proposal(
        title=f"Move {printable(diagnosis.claim.name, 120)} to a claim of {size} whose class can grow, "
        "or allow expansion in its class where its driver can do it",
        detail=f"Classes that can grow: {listed(others, _MOST) or 'none'}.",
        reason="The class of a claim cannot be changed.",
    )


def _why_not_grow(diagnosis: ClaimDiagnosis, size: int, rule: ClaimExpansion, what: str) -> Refusal | None:
    claim = diagnosis.claim
    if claim.phase != "Bound" or claim.requested_bytes <= 0:
        return Refusal(what=what, reason="it is not bound")
    if size <= claim.requested_bytes:
        present, ceiling = format_bytes(claim.requested_bytes), format_bytes(rule.ceiling)
        return Refusal(
            what=what, reason=f"it has {present}, and the ceiling is {ceiling}", lifted_by="a higher ceiling"
        )
    if not _can_grow(diagnosis):
        lifted_by = "allowVolumeExpansion: true in its storage class, where its driver can do it"
        return Refusal(what=what, reason="its storage class does not allow it", lifted_by=lifted_by)
    for kind in ("Resizing", "FileSystemResizePending", "ModifyingVolume"):
        condition = claim.condition(kind)
        if condition is not None and condition.is_true:
            return Refusal(what=what, reason=f"it is being grown already ({kind})", lifted_by="the end of that")
    if claim.capacity_bytes and claim.capacity_bytes < claim.requested_bytes:
        asked, has = format_bytes(claim.requested_bytes), format_bytes(claim.capacity_bytes)
        reason = f"{asked} were asked for before, and it has only {has}"
        return Refusal(what=what, reason=reason, lifted_by="the storage driver doing what it was asked")
    return None


def _waits_for_first_consumer(diagnosis: ClaimDiagnosis) -> bool:
    served = diagnosis.storage_class
    return diagnosis.claim.phase == "Pending" and served is not None and served.binding_mode == "WaitForFirstConsumer"


def _lost(diagnosis: ClaimDiagnosis) -> Proposal | None:
    if diagnosis.claim.phase != "Lost":
        return None
    return Proposal(
        title=f"Restore from a backup: the volume {printable(diagnosis.claim.volume, 120)} exists no more",
        reason="The claim is bound to a volume that is gone; a new one would be empty.",
    )


@proposes("octollm.PersistentVolumeClaimPending: r1.1")
def _no_class(diagnosis: ClaimDiagnosis) -> Proposal | None:
    claim = diagnosis.claim
    if claim.storage_class == "" or diagnosis.storage_class is not None or claim.phase == "Lost":
        return None
    there = listed([printable(c.name, 60) for c in diagnosis.classes], _MOST) or "none"
    if claim.storage_class is None:
        return Proposal(
            title="Make one storage class the default, or name one in the claim",
            detail=f"Classes: {there}.",
            reason="The claim names no class, and none is the default.",
        )
    return Proposal(
        title=f"Create the storage class {printable(claim.storage_class, 120)}, "
        "or make the claim anew with one that exists",
        detail=f"Classes: {there}. The class of a claim cannot be changed.",
        reason="The claim was never bound, so that making it anew loses nothing.",
    )


@proposes("octollm.PersistentVolumeClaimPending: r2.1 r2.2")
def _refused(diagnosis: ClaimDiagnosis) -> Proposal | None:
    failed = [e for e in diagnosis.events if e.reason in ("ProvisioningFailed", "FailedBinding", "FailedCreate")]
    told = [e for e in failed if diagnosis.storage_class is not None or e.reason != "ProvisioningFailed"]
    if not told or diagnosis.claim.storage_class == "":
        return None
    newest = max(told, key=lambda event: (event.last_at or diagnosis.now, event.uid))
    said = newest.message[:2000]
    quota = any(word in said.lower() for word in ("quota", "limit exceeded", "insufficient"))
    title = "Raise the quota of the storage, or free some" if quota else "Look at what the provisioner says"
    return Proposal(title=title, detail=printable(said, 300), reason="The volume was asked for and refused.")


@proposes("octollm.PersistentVolumeClaimPending: r3.3")
def _no_volume(diagnosis: ClaimDiagnosis) -> Proposal | None:
    """A claim for a hand-made volume: why each volume that is there does not fit."""
    claim = diagnosis.claim
    served = diagnosis.storage_class
    by_hand = claim.storage_class == "" or (served is not None and served.provisioner == NO_PROVISIONER)
    if not by_hand or claim.phase == "Lost":
        return None
    why = [f"{printable(v.name, 60)}: {_misfit(v, claim)}" for v in diagnosis.volumes[:50]]
    return Proposal(
        title=f"Make a volume that fits, of at least {format_bytes(claim.requested_bytes)}",
        detail=listed(why, _MOST) or "There is no volume at all.",
        reason="The claim takes hand-made volumes only.",
    )


def _misfit(volume: PersistentVolume, claim: Claim) -> str:
    if volume.phase != "Available":
        whose = f" by {printable(volume.claim, 80)}" if volume.claim else ""
        return f"{printable(volume.phase, 20).lower()}{whose}"
    if volume.storage_class != (claim.storage_class or ""):
        return f"of class {printable(volume.storage_class, 60) or 'none'}"
    if volume.capacity_bytes < claim.requested_bytes:
        return f"only {format_bytes(volume.capacity_bytes)}"
    if not set(claim.access_modes) <= set(volume.access_modes):
        return "other access modes"
    if volume.volume_mode != claim.volume_mode:
        return "other volume mode"
    if claim.selector is not None and not claim.selector.matches(volume.meta.labels):
        return "other labels than the claim selects"
    return "fits: the controller that binds them does not work"


def _no_node(diagnosis: ClaimDiagnosis) -> Proposal | None:
    """It waits for its pod, which finds no node: then the pod is the trouble."""
    if not _waits_for_first_consumer(diagnosis):
        return None
    waiting = [pod for pod in diagnosis.consumers if not pod.node]
    if not waiting:
        return None
    scheduled = waiting[0].condition("PodScheduled")
    said = printable(scheduled.message, 300) if scheduled is not None else ""
    return Proposal(
        title=f"Find a node for {listed([pod_name(pod) for pod in waiting])}",
        detail=said,
        reason="The volume is made where its first pod is placed, and the pod is not placed.",
    )


def _written(amount: int) -> str:
    """As in a manifest: ``100Gi``."""
    return f"{amount // _GIB}Gi" if amount % _GIB == 0 else str(amount)
