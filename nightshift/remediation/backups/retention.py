"""Which old backups may go: never one of the newest proven ones, nor anything newer than them. Pure.

Operation ``backup.apply_retention``, the last action of a plan: only once a new backup is proven and, where one is kept
elsewhere, there, too. What stays is looked at once more, on the host, in the moment before anything is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.backups.facts import BackupDiagnosis, DumpFact
from nightshift.remediation.backups.policy import BackupSet
from nightshift.remediation.disk_space.arguments import ApplyBackupRetention, ListedFile
from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Action, Quantity, Risk, Target, format_bytes
from nightshift.remediation.text import counted, printable


def staying(dumps: Sequence[DumpFact], rule: BackupSet) -> tuple[DumpFact, ...]:
    """The newest proven ones, newest first; none while there are fewer of them than the policy wants."""
    if rule.retention is None:
        return ()
    proven = tuple(dump for dump in dumps if dump.proven)[: rule.retention.keep_proven]
    return proven if len(proven) == rule.retention.keep_proven else ()


def expired(dumps: Sequence[DumpFact], rule: BackupSet, now: float) -> tuple[DumpFact, ...]:
    """Those that may go, oldest first, as many as one plan deletes: old, and older than every one that stays."""
    kept = staying(dumps, rule)
    if not kept or rule.retention is None:
        return ()
    before = min(min(dump.file.modified_ns for dump in kept), round((now - rule.retention.older_than) * 1e9))
    old = sorted((dump for dump in dumps if dump.file.modified_ns < before), key=lambda dump: dump.file.modified_ns)
    return tuple(old[: rule.retention.most])


def retention(target: Target, diagnosis: BackupDiagnosis, rule: BackupSet) -> Action | None:
    """Delete what the policy does not keep; None where there is nothing of that kind, or not enough is proven."""
    gone, kept = expired(diagnosis.dumps, rule, diagnosis.now), staying(diagnosis.dumps, rule)
    if not gone or rule.retention is None:
        return None
    size = sum(dump.file.allocated for dump in gone)
    age = format_duration(rule.retention.older_than)
    arguments = ApplyBackupRetention(
        root=rule.directory,
        files=tuple(ListedFile.of(dump.file) for dump in gone),
        keep=tuple(ListedFile.of(dump.file) for dump in kept),
        verified_by="verified-file",
    )
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=tuple(dump.file.identity for dump in gone),
        title=f"Delete {counted(len(gone), 'backup')} older than {age} below {printable(rule.directory)} "
        f"({format_bytes(size)})",
        reason=f"The newest {counted(len(kept), 'proven backup')}, and everything newer than them, stay.",
        risk=Risk.HIGH,
        bound=Quantity(amount=size, unit="bytes"),
        undo=CANNOT_BE_UNDONE,
    )
