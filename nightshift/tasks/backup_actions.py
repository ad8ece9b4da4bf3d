"""Making, proving and uploading a backup, each with what makes it safe to run unattended.

Only the gate carries these out. Nothing here deletes a backup, overwrites an object, or restores into a
database in use.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from nightshift.remediation.actions import Connections, Effect, Observation
from nightshift.remediation.backups.arguments import MakeBackup, ProveBackup, UploadBackup
from nightshift.remediation.backups.facts import BackupDiagnosis, BucketFact
from nightshift.remediation.backups.planner import ONE
from nightshift.remediation.backups.policy import BackupSet, BucketUpload
from nightshift.remediation.backups.sizes import growing_pauses
from nightshift.remediation.clients.host_probe import dumps, permissions
from nightshift.remediation.clients.host_probe.asking import ends_within
from nightshift.remediation.connections import S3Connection
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    ConfigurationError,
    NotMeasuredError,
    TargetChangedError,
)
from nightshift.remediation.models import Action, format_bytes
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import counted, printable
from nightshift.tasks.disk_space_actions import host_of
from nightshift.tasks.steps import action

_PAUSES = growing_pauses(10, 3)
"""The longest that a policy may ask for."""


def _seen(action: Action, connections: Connections, rule: BackupSet) -> BackupDiagnosis:
    with host_of(action, connections) as host:
        return dumps.look_at_backups(host, action.target.part("backup"), rule, None, far=False)


def _lacks(action: Action, connections: Connections, rule: BackupSet) -> Sequence[Lack]:
    with host_of(action, connections) as host:
        return permissions.lacks(host, permissions.to_back_up(rule))


def _nobody_was_faster(action: Action, connections: Connections) -> None:
    arguments = MakeBackup.from_json(action.arguments)
    seen = _seen(action, connections, arguments.rule)
    if seen.running:
        raise TargetChangedError(f"A backup is being made already: {seen.running[0]}.")
    # A newer one that cannot be read to its end is nobody's backup: a run, or a command, was cut off in the middle.
    if seen.newest is not None and seen.newest.file.modified_ns > arguments.newer_than_ns and not seen.broken:
        raise TargetChangedError("Something else made a backup meanwhile.")


def _is_made(action: Action, connections: Connections) -> Observation:
    """A dump gets its name only when it is whole; what the system's own command left is read to its end."""
    arguments = MakeBackup.from_json(action.arguments)
    seen = _seen(action, connections, arguments.rule)
    if seen.running:
        return Observation.UNKNOWN
    made = seen.newest is not None and seen.newest.file.modified_ns > arguments.newer_than_ns and not seen.broken
    return Observation.DONE if made else Observation.NOT_DONE


@action(
    kind=MakeBackup.KIND,
    name="make a backup",
    timeout=ends_within(dumps.MAKING_SECONDS),
    precondition=_nobody_was_faster,
    observe=_is_made,
    permitted=lambda action, connections: _lacks(action, connections, MakeBackup.from_json(action.arguments).rule),
    undo=None,
)
def make_backup(action: Action, connections: Connections) -> Effect:
    """Operations ``backup.run``, ``backup.dump_database``: bybit BackupFailed.r1.1 and r3.2, one run at a time."""
    with host_of(action, connections) as host:
        made = dumps.make(host, MakeBackup.from_json(action.arguments))
    return Effect(
        summary=f"made {printable(made.path)}, {format_bytes(made.size)}",
        amount=ONE,
        evidence={"path": made.path, "size": made.size},
    )


def _is_there(action: Action, connections: Connections) -> None:
    arguments = ProveBackup.from_json(action.arguments)
    newest = _seen(action, connections, arguments.rule).newest
    if newest is None or newest.file.modified_ns <= arguments.newer_than_ns:
        raise TargetChangedError("There is no newer backup that could be proven.")


def _is_proven(action: Action, connections: Connections) -> Observation:
    """Carrying it out again is safe: the scratch database of a run that was ended is dropped first."""
    arguments = ProveBackup.from_json(action.arguments)
    newest = _seen(action, connections, arguments.rule).newest
    proven = newest is not None and newest.proven and newest.file.modified_ns > arguments.newer_than_ns
    return Observation.DONE if proven else Observation.NOT_DONE


@action(
    kind=ProveBackup.KIND,
    name="prove a backup",
    timeout=ends_within(dumps.PROVING_SECONDS),
    precondition=_is_there,
    observe=_is_proven,
    permitted=lambda action, connections: _lacks(action, connections, ProveBackup.from_json(action.arguments).rule),
    undo=None,
)
def prove_backup(action: Action, connections: Connections) -> Effect:
    """Bybit BackupFailed.r1.1 (``--verify``) and the hazard of r3.2, by a restore instead of a list of contents."""
    with host_of(action, connections) as host:
        proven = dumps.prove(host, ProveBackup.from_json(action.arguments))
    rows = "; ".join(f"{table}: {number:,} rows" for table, number in proven.rows.items())
    return Effect(
        summary=f"restored {counted(proven.tables, 'table')}" + (f" ({rows})" if rows else ""),
        amount=ONE,
        evidence={"path": proven.path, "sha256": proven.sha256, "tables": proven.tables, "rows": dict(proven.rows)},
    )


def _at_far_end(action: Action, connections: Connections) -> BackupDiagnosis:
    """The newest dump with what has its name where it is kept besides, each with its checksum."""
    rule = UploadBackup.from_json(action.arguments).rule
    bucket = _bucket(rule, connections)
    with host_of(action, connections) as host:
        seen = dumps.look_at_backups(host, action.target.part("backup"), rule, None)
    if bucket is None or not isinstance(rule.upload, BucketUpload) or seen.newest is None:
        return _answering(seen)
    # boto3 is imported for systems that have a bucket.
    from nightshift.remediation.clients.s3 import read_object

    same = read_object(rule.upload.bucket, bucket, rule.upload.prefix + seen.newest.file.path.rpartition("/")[2])
    return seen.model_copy(update={"bucket": BucketFact(same=same)})


def _answering(seen: BackupDiagnosis) -> BackupDiagnosis:
    """The same, if a repository told what it has."""
    if seen.bucket is not None and seen.bucket.complaint:
        error = AuthenticationError if seen.bucket.refused else NotMeasuredError
        raise error(seen.bucket.complaint)
    return seen


def _bucket(rule: BackupSet, connections: Connections) -> S3Connection | None:
    """The connection to the bucket, if backups go to one."""
    if not isinstance(rule.upload, BucketUpload):
        return None
    found = connections.get(rule.upload.bucket)
    if not isinstance(found, S3Connection):
        raise ConfigurationError(f"There is no bucket {rule.upload.bucket!r} in the catalogue any more.")
    return found


def _is_proven_and_its_name_free(action: Action, connections: Connections) -> None:
    arguments = UploadBackup.from_json(action.arguments)
    seen = _at_far_end(action, connections)
    if seen.newest is None or not seen.newest.proven or seen.newest.file.modified_ns <= arguments.newer_than_ns:
        raise TargetChangedError("The newest backup is not proven; only what was restored once is uploaded.")
    if seen.is_stored():
        raise TargetChangedError("It is there already.")
    if seen.bucket is not None and seen.bucket.same is not None:
        raise TargetChangedError("Another object has that name there; nothing is overwritten.")


def _is_stored(action: Action, connections: Connections) -> Observation:
    """Told by the checksum of what is there; an upload that was cut off leaves nothing."""
    seen = _at_far_end(action, connections)
    if seen.is_stored():
        return Observation.DONE
    return Observation.UNKNOWN if seen.bucket is not None and seen.bucket.same is not None else Observation.NOT_DONE


@action(
    kind=UploadBackup.KIND,
    name="upload a backup",
    timeout=(1 + len(_PAUSES)) * (ends_within(dumps.UPLOADING_SECONDS) + ends_within(dumps.LOOKING_SECONDS))
    + sum(_PAUSES),
    precondition=_is_proven_and_its_name_free,
    observe=_is_stored,
    permitted=lambda action, connections: _lacks(action, connections, UploadBackup.from_json(action.arguments).rule),
    undo=None,
)
def upload_backup(action: Action, connections: Connections) -> Effect:
    """Operation ``backup.upload``: bybit BackupFailed.r2.2, again after growing pauses, compared afterwards."""
    arguments = UploadBackup.from_json(action.arguments)
    pauses = growing_pauses(arguments.first_pause, arguments.retries)
    for tries, pause in enumerate((0.0, *pauses), 1):
        time.sleep(pause)
        failure = _tried(action, connections, arguments)
        stored = _at_far_end(action, connections)
        if stored.is_stored() and stored.newest is not None:
            key = stored.bucket.same.key if stored.bucket and stored.bucket.same else ""
            return Effect(
                summary=f"uploaded {printable(key)}, {format_bytes(stored.newest.file.size)}, compared by checksum, "
                f"in {counted(tries, 'try', 'tries')}",
                amount=ONE,
                evidence={"key": key, "sha256": stored.newest.sha256, "tries": tries},
            )
    raise failure or CommandFailedError("The upload ended well, but no checksum of it can be had there.")


def _tried(action: Action, connections: Connections, arguments: UploadBackup) -> CommandFailedError | None:
    """One try; why it failed, where trying again may help. Credentials that are not accepted are no such reason."""
    try:
        with host_of(action, connections) as host:
            dumps.upload(host, arguments, _bucket(arguments.rule, connections))
    except CommandFailedError as error:
        return error
    return None
