"""The least harm that brings a nearly full filesystem below its target.

A pure function of what was seen and what is allowed: the same diagnosis gives the same plan, to the digest.
Covers the automatable steps of cryptofunk.DiskSpaceWarning (host part), test_watcher.HighDiskUsage and
bybit_strategy_tester.DiskSpaceCritical of the inventory.
"""

from __future__ import annotations

from nightshift.remediation.disk_space.candidates import Survey
from nightshift.remediation.disk_space.diagnosis import DiskSpaceDiagnosis, FilesystemUsage
from nightshift.remediation.disk_space.guards import Scene
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.disk_space.proposals import (
    blindness,
    crowded,
    expansion,
    forbidden_deleted_files,
    stop_growth,
    uncovered,
)
from nightshift.remediation.disk_space.space import (
    Space,
    in_trouble,
    inodes_percent_after,
    missing,
    percent_after,
)
from nightshift.remediation.models import Action, Plan, Proposal, Refusal, Target
from nightshift.remediation.text import printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a filesystem without trouble."""


def plan_disk_cleanup(
    target: Target, diagnosis: DiskSpaceDiagnosis, policy: DiskSpacePolicy, *, force: bool = False
) -> Plan:
    """The actions that reach the policy's targets for bytes and inodes, in order of risk, then of harm.

    It stops as soon as their gains reach the targets with a small margin. Where everything allowed is not enough,
    the plan holds all of it and says what is left for people.

    Args:
        target: the filesystem.
        diagnosis: made with this very policy; its rule numbers are positions in it.
        policy: what may go and what must stay.
        force: aim at the target even while usage is below the alert's threshold.

    Raises:
        ValueError, IndexError: the diagnosis was made with another policy.
    """
    usage = diagnosis.usage
    if refusal := _refuse_all(usage, policy):
        return Plan(goal=f"Free space on {printable(usage.mount)}", target=target, refusals=(refusal,))
    need = missing(usage, policy)
    if not need or not (force or in_trouble(usage, policy)):
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{_state(usage, Space())}, as it should be.")
    survey = Survey(diagnosis, Scene(usage.device, diagnosis.now, policy))
    actions: list[Action] = []
    gained = Space()
    for candidate in survey.candidates():
        if taken := candidate.take(target, need - gained):
            actions.append(taken[0])
            gained += taken[1]
    short = missing(usage, policy, margin=0) - gained
    denied = list(forbidden_deleted_files(diagnosis, policy))
    return Plan(
        goal=_goal(usage, need, policy),
        target=target,
        actions=tuple(actions),
        refusals=(*survey.refusals, *(refusal for refusal, _ in denied), *blindness(diagnosis.blind)),
        proposals=(*(proposal for _, proposal in denied), *_proposals(diagnosis, policy, short, gained)),
        expected=_expected(usage, short, gained, policy),
        separable=True,
    )


def _refuse_all(usage: FilesystemUsage, policy: DiskSpacePolicy) -> Refusal | None:
    what = f"Freeing space on {printable(usage.mount)}"
    if policy.mounts and usage.mount not in policy.mounts:
        return Refusal(
            what=what, reason="the policy does not name this mount point", lifted_by="the mount point in mounts"
        )
    if usage.read_only:
        return Refusal(
            what=what,
            reason="the filesystem is mounted read-only, often after an I/O error: nothing can be freed on it",
            lifted_by="look at the kernel log and the disk, repair, and mount it writable",
        )
    if usage.used_bytes < 0 or usage.available_bytes < 0 or usage.used_bytes + usage.available_bytes == 0:
        return Refusal(what=what, reason="its size and usage as reported make no sense")
    return None


def _goal(usage: FilesystemUsage, need: Space, policy: DiskSpacePolicy) -> str:
    mount = printable(usage.mount)
    if need.inodes and not need.bytes:
        return (
            f"Free {need} on {mount}: it runs out of inodes ({usage.inodes_used_percent:.1f} % used, target "
            f"{policy.target_used_inodes_percent:g} %), while {100 - usage.used_percent:.1f} % of its bytes are free"
        )
    inodes = f"; inodes {usage.inodes_used_percent:.1f} % used, target {policy.target_used_inodes_percent:g} %"
    return (
        f"Free {need} on {mount}: {usage.used_percent:.1f} % used, target {policy.target_used_percent:g} %"
        f"{inodes if need.inodes else ''}"
    )


def _state(usage: FilesystemUsage, gain: Space) -> str:
    inodes = f" and {inodes_percent_after(usage, gain):.1f} % of its inodes" if usage.inodes_total else ""
    return f"{printable(usage.mount)} has {percent_after(usage, gain):.1f} % of its bytes{inodes} in use"


def _expected(usage: FilesystemUsage, short: Space, gained: Space, policy: DiskSpacePolicy) -> str:
    state = f"{_state(usage, gained)}, after {usage.used_percent:.1f} %"
    if short:
        return f"{state}. That is {short} short of the target; the proposals say what people can do."
    return f"{state}: at or below the target of {policy.target_used_percent:g} %."


def _proposals(
    diagnosis: DiskSpaceDiagnosis, policy: DiskSpacePolicy, short: Space, gained: Space
) -> tuple[Proposal, ...]:
    left = [*stop_growth(diagnosis)]
    if short:
        left += uncovered(diagnosis, policy)
    if short.inodes:
        left += crowded(diagnosis)
    if short.bytes:
        left += expansion(diagnosis.usage, policy, gained)
    return tuple(left)
