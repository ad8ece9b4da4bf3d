"""A larger claim for a database's volume: asked for where its cluster was seen, else proposed with its patch.

Follows cryptofunk.DiskSpaceWarning.r3.1 without its hazard: the size follows from the present one, and never shrinks.
"""

from __future__ import annotations

from nightshift.remediation.disk_space.database_diagnosis import ClaimFact, DatabaseVolumeDiagnosis
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.disk_space.database_proposals import expansion
from nightshift.remediation.disk_space.diagnosis import Blindness
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.claim_diagnosis import ClaimDiagnosis
from nightshift.remediation.kubernetes.claim_planner import expand
from nightshift.remediation.models import Proposal, Refusal, Target, format_bytes
from nightshift.remediation.text import printable

_SHOWN = 0.9
"""Share of a claim's capacity below which its file system was not grown yet: file systems keep less for themselves."""


def with_claim(diagnosis: DatabaseVolumeDiagnosis, seen: ClaimDiagnosis | Blindness) -> DatabaseVolumeDiagnosis:
    """The diagnosis with what the cluster says of the claim, or with why that is not known."""
    if isinstance(seen, Blindness):
        return diagnosis.model_copy(update={"blind": (*diagnosis.blind, seen)})
    claim, served = seen.claim, seen.storage_class
    fact = ClaimFact(
        namespace=claim.namespace,
        name=claim.name,
        requested_bytes=claim.requested_bytes,
        expandable=served is not None and served.allow_expansion,
    )
    return diagnosis.model_copy(update={"claim": fact})


def growth(
    target: Target,
    diagnosis: DatabaseVolumeDiagnosis,
    policy: DatabaseVolumePolicy,
    seen: ClaimDiagnosis | None,
) -> Changes:
    """The claim's growth as an action, or as what a person can do, or why not.

    Args:
        target: of the incident, with the element ``claim``.
        diagnosis: of the volume.
        policy: its rule ``expand``.
        seen: the claim in its cluster; None where it was not asked, or not reached.
    """
    changes = Changes()
    # A declared capacity does not grow with the claim, so that nothing would tell that it helped.
    if policy.expand is None or seen is None or policy.size.prometheus is None:
        larger = expansion(target.part("claim"), diagnosis, policy)
        if isinstance(larger, Refusal):
            changes.refusals.append(larger)
        elif isinstance(larger, Proposal):
            changes.proposals.append(larger)
        return changes
    if (capacity := seen.claim.capacity_bytes) and diagnosis.volume.total_bytes < capacity * _SHOWN:
        has, shown = format_bytes(capacity), format_bytes(diagnosis.volume.total_bytes)
        reason = f"it has {has} already, and its file system shows only {shown}"
        what = f"Growing the claim {printable(seen.claim.name, 120)}"
        changes.refusals.append(Refusal(what=what, reason=reason, lifted_by="the file system being grown, too"))
        return changes
    below = target.model_copy(update={"path": (*target.path, "cluster", policy.expand.cluster)})
    used = diagnosis.volume.used_bytes
    expand(below, seen, used, policy.target_used_percent, policy.expand, changes)
    return changes
