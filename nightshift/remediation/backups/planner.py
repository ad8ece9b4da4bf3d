"""What may be done about backups that are missing, broken, unproven or not uploaded. Pure.

Follows bybit_strategy_tester.BackupFailed of the inventory, with its hazards: the disk is looked at before a run
(r1.1), one run at a time (r1.1), the identity is the uploading profile's (r2.1), the server must answer, not only have
a version (r3.1), and a dump counts when it was restored, not when it was written (r3.2). Also serves
BackupSizeAnomaly and BackupUploadFailed, which the document names without a body.
"""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.backups.arguments import MakeBackup, ProveBackup, UploadBackup
from nightshift.remediation.backups.facts import BackupDiagnosis
from nightshift.remediation.backups.policy import BackupFailurePolicy, BackupSet
from nightshift.remediation.backups.retention import retention
from nightshift.remediation.backups.sizes import Size, room_needed, size_of_newest, usual_size
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Action, Plan, Proposal, Quantity, Refusal, Risk, Target, format_bytes
from nightshift.remediation.text import printable

NOTHING_TO_DO = "Nothing to do: the newest backup is proven, fresh, and where it should be."
ONE = Quantity(amount=1, unit="backups")


def plan_backup(target: Target, diagnosis: BackupDiagnosis, policy: BackupFailurePolicy) -> Plan:
    """What is done about one series of backups, least that helps first.

    Args:
        target: the series.
        diagnosis: of this series.
        policy: names it.
    """
    rule = policy.backups[diagnosis.name]
    goal = f"Have a proven backup {diagnosis.name} younger than {format_duration(policy.fresh_within)}"
    expected = policy.symptom(target).solved
    if not (wrong := tuple(troubles(diagnosis, policy))):
        return Plan(goal=NOTHING_TO_DO, target=target, expected=expected)
    if refusal := _credentials(diagnosis):
        return Plan(goal=goal, target=target, refusals=(refusal,), expected=expected)
    remake = needs_another(diagnosis, policy)
    refusals = tuple(_against_making(diagnosis)) if remake else ()
    if not refusals:
        refusals = tuple(_against_proving(diagnosis, rule)) if remake or not _is_proven(diagnosis) else ()
    proposals = tuple(_proposals(diagnosis, rule))
    if refusals:
        return Plan(goal=goal, target=target, refusals=refusals, proposals=proposals, expected=expected)
    actions = tuple(_actions(target, diagnosis, policy, "; ".join(wrong), remake=remake))
    unreached = tuple(_against_uploading(diagnosis))
    return Plan(goal=goal, target=target, actions=actions, refusals=unreached, proposals=proposals, expected=expected)


def troubles(diagnosis: BackupDiagnosis, policy: BackupFailurePolicy) -> Iterator[str]:
    """What is wrong with the newest backup, in words; nothing when it is as it should be."""
    rule, newest, age = policy.backups[diagnosis.name], diagnosis.newest, diagnosis.age
    if newest is None or age is None:
        yield "there is no backup at all"
        return
    if age > policy.fresh_within:
        yield f"the newest backup is {format_duration(age)} old"
    if diagnosis.broken:
        yield f"the newest backup cannot be read to its end: {printable(diagnosis.broken)}"
    elif not newest.proven:
        yield f"nobody has restored the newest backup: {printable(newest.proof)}"
    if size_of_newest(diagnosis.dumps, rule) is Size.SHRUNK:
        yield f"the newest backup has shrunk: {sizes_in_words(diagnosis, rule)}"
    if rule.upload is not None and not diagnosis.is_stored():
        yield f"{rule.upload.place} does not have the newest backup"


def needs_another(diagnosis: BackupDiagnosis, policy: BackupFailurePolicy) -> bool:
    """Whether only another backup helps: there is none, it is old, or it is broken."""
    age = diagnosis.age
    return age is None or age > policy.fresh_within or bool(diagnosis.broken)


def sizes_in_words(diagnosis: BackupDiagnosis, rule: BackupSet) -> str:
    """The newest size beside the usual one."""
    if diagnosis.newest is None:
        return "no backup"
    size, usual = diagnosis.newest.file.size, usual_size(diagnosis.dumps, rule)
    if usual is None:
        return f"{format_bytes(size)}; there are too few earlier ones to say what is usual"
    return f"{format_bytes(size)}, {size / usual:.0%} of the usual {format_bytes(usual)}"


def _is_proven(diagnosis: BackupDiagnosis) -> bool:
    return diagnosis.newest is not None and diagnosis.newest.proven


@serves("bybit_strategy_tester.BackupFailed: r2.1")
def _credentials(diagnosis: BackupDiagnosis) -> Refusal | None:
    """Invalid credentials are for a person: trying on could lock the account out, and hides what was changed."""
    identity, bucket = diagnosis.identity, diagnosis.bucket
    if identity is not None and identity.refused:
        what, words = "the profile that uploads", identity.complaint
    elif bucket is not None and bucket.refused:
        what, words = "who reads where backups are kept besides", bucket.complaint
    else:
        return None
    return Refusal(
        what="Doing anything about the backups",
        reason=f"the credentials of {what} are not accepted: {printable(words)}",
        lifted_by="put the right key there, or give its account the permission; nothing was tried with another one",
    )


def _against_making(diagnosis: BackupDiagnosis) -> Iterator[Refusal]:
    usage, what = diagnosis.usage, f"Making a backup {diagnosis.name}"
    if diagnosis.running:
        yield Refusal(
            what=what,
            reason=f"one is being made at this moment: {printable('; '.join(diagnosis.running))}",
            lifted_by="wait until it has ended",
        )
    if diagnosis.server.complaint:
        yield Refusal(
            what=what,
            reason=f"the database does not answer: {printable(diagnosis.server.complaint)}",
            lifted_by="repair the database first (database_unavailable)",
        )
    if usage.read_only:
        yield Refusal(what=what, reason=f"{printable(usage.mount)} is mounted read-only, often after an I/O error")
    need = room_needed(diagnosis.dumps, diagnosis.server.bytes)
    if usage.available_bytes < need:
        yield Refusal(
            what=what,
            reason=f"{printable(usage.mount)} has {format_bytes(usage.available_bytes)} free, "
            f"and {format_bytes(need)} are needed",
            lifted_by="free space first (disk_space_reclaim)",
        )


def _against_proving(diagnosis: BackupDiagnosis, rule: BackupSet) -> Iterator[Refusal]:
    if diagnosis.server.bytes > rule.proof.largest:
        yield Refusal(
            what=f"Proving a backup {diagnosis.name} by restoring it",
            reason=f"the database has {format_bytes(diagnosis.server.bytes)}, more than the "
            f"{format_bytes(rule.proof.largest)} that are restored by themselves",
            lifted_by="restore it by hand, or raise proof.largest",
        )


def _against_uploading(diagnosis: BackupDiagnosis) -> Iterator[Refusal]:
    what = "Uploading the backup"
    identity, bucket = diagnosis.identity, diagnosis.bucket
    if identity is not None and identity.complaint:
        yield Refusal(what=what, reason=f"the uploading profile is not known: {printable(identity.complaint)}")
    elif bucket is not None and bucket.complaint:
        yield Refusal(what=what, reason=f"where backups are kept besides cannot be read: {printable(bucket.complaint)}")
    elif bucket is not None and bucket.same is not None and not diagnosis.is_stored():
        yield Refusal(
            what=what,
            reason=f"another object has that name already, {printable(bucket.same.key)}",
            lifted_by="look at both and remove the wrong one; nothing there is overwritten",
        )


def _proposals(diagnosis: BackupDiagnosis, rule: BackupSet) -> Iterator[Proposal]:
    usage = diagnosis.usage
    if usage.available_bytes < room_needed(diagnosis.dumps, diagnosis.server.bytes):
        yield Proposal(
            title=f"Free space on {printable(usage.mount)}",
            detail=f"start the flow disk-space-reclaim for its filesystem {printable(usage.mount)}",
            reason="another backup would not fit",
        )
    if size_of_newest(diagnosis.dumps, rule) is Size.SHRUNK and not diagnosis.broken:
        yield Proposal(
            title="Find out what the newest backup lacks",
            detail="compare its list of tables with an earlier one: pg_restore --list",
            reason=f"it can be restored, but has {sizes_in_words(diagnosis, rule)}",
        )


def _actions(
    target: Target, diagnosis: BackupDiagnosis, policy: BackupFailurePolicy, why: str, *, remake: bool
) -> Iterator[Action]:
    rule, name = policy.backups[diagnosis.name], diagnosis.name
    newest = diagnosis.newest.file.modified_ns if diagnosis.newest else 0
    # What is proven and uploaded is the newest: the one that is about to be made, or the one that is there.
    newer_than = newest if remake else newest - 1
    if remake:
        room = room_needed(diagnosis.dumps, diagnosis.server.bytes)
        tool = printable(rule.make.arguments[0]) if rule.make.tool == "command" else rule.make.tool
        yield _action(
            target,
            MakeBackup(name=name, rule=rule, newer_than_ns=newest, room=room),
            f"Make a backup {name} of {printable(rule.source.database)} with {tool}",
            why,
            Risk.MEDIUM,
            "delete the new backup",
        )
    if remake or not _is_proven(diagnosis):
        where = "cluster" if rule.make.tool == "pgbackrest" else "database"
        yield _action(
            target,
            ProveBackup(name=name, rule=rule, newer_than_ns=newer_than),
            f"Prove it: restore it into a scratch {where}, count rows, and remove that again",
            "only what was restored once counts as a backup",
            Risk.LOW,
            f"{CANNOT_BE_UNDONE}, and need not be: what was restored is removed",
        )
    if rule.upload is not None and not tuple(_against_uploading(diagnosis)):
        upload = UploadBackup(
            name=name, rule=rule, newer_than_ns=newer_than, retries=policy.retries, first_pause=policy.first_pause
        )
        if remake or not diagnosis.is_stored():
            yield _action(
                target,
                upload,
                f"Upload it with {rule.upload.tool}, and compare the checksum that {rule.upload.place} has",
                "a backup on the same host is lost with it",
                Risk.LOW,
                f"delete it from {rule.upload.place}",
            )
    if not tuple(_against_uploading(diagnosis)) and (old := retention(target, diagnosis, rule)) is not None:
        # Last: an action that fails ends the plan, so that nothing old goes before the new one is proven and kept.
        yield old


def _action(target: Target, arguments: ActionArguments, title: str, reason: str, risk: Risk, undo: str) -> Action:
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(f"newest backup {target.part('backup')}",),
        title=title,
        reason=reason,
        risk=risk,
        bound=ONE,
        undo=undo,
    )
