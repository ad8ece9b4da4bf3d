"""Backups of a database on a host (operations ``backup.run``, ``backup.dump_database``, ``backup.upload``)."""

from __future__ import annotations

from typing import Any

from nightshift.remediation.backups.arguments import MakeBackup, ProveBackup, UploadBackup
from nightshift.remediation.backups.facts import BackupDiagnosis, BucketFact, DumpFact, IdentityFact
from nightshift.remediation.backups.policy import BackupSet, BucketUpload, ResticUpload
from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.clients.host_probe.disk import parse, path_text
from nightshift.remediation.connections import S3Connection
from nightshift.remediation.disk_space.diagnosis import FileFact
from nightshift.remediation.models import Value

LOOKING_SECONDS = 120.0
"""The newest dump is read whole, for its checksum."""
LISTING_SECONDS = 30.0
MAKING_SECONDS = 600.0
PROVING_SECONDS = 600.0
UPLOADING_SECONDS = 120.0
"""For one try."""


class Proven(Value):
    """What a restore showed."""

    path: str
    sha256: str
    tables: int
    rows: dict[str, int]


class ListedBackups(Value):
    """What is kept, by names, sizes and marks."""

    now: float
    """Unix time, by the host's clock."""
    dumps: tuple[DumpFact, ...] = ()
    """Newest first."""
    far: BucketFact | None = None
    """A restic repository; None: they do not go to one."""


class Uploaded(Value):
    """What was sent to the bucket."""

    key: str
    sha256: str
    size: int


def look_at_backups(
    host: Host, name: str, rule: BackupSet, bucket: S3Connection | None, *, far: bool = True
) -> BackupDiagnosis:
    """How the backups on the host stand, with the server, the disk and the identity that uploads.

    Follows bybit_strategy_tester.BackupFailed.d1, d3, r2.1 and r3.1 of the inventory.

    Args:
        host: where they lie.
        name: of the series.
        rule: of the series.
        bucket: where they go, if that is a bucket.
        far: whether to look at where they go as well, as far as the host does that.

    Raises:
        TargetChangedError: their directory is not there.
        NightshiftError: as :func:`ask`.
    """
    upload = _upload(rule, bucket) if far else None
    answer = ask(
        host, f"look at the backups {name}", "backups", seconds=LOOKING_SECONDS, rule=_rule(rule), upload=upload
    )
    seen = parse(BackupDiagnosis, {"name": name, **answer})
    wanted, identity = rule.upload.identity if isinstance(rule.upload, BucketUpload) else None, seen.identity
    if identity is None or wanted is None or identity.complaint or identity.arn == wanted:
        return seen
    complaint = f"it is {identity.arn}, and should be {wanted}"
    return seen.model_copy(update={"identity": IdentityFact(arn=identity.arn, complaint=complaint, refused=True)})


def list_backups(host: Host, name: str, rule: BackupSet) -> ListedBackups:
    """What is kept on the host, and in a restic repository, without reading any of it.

    Raises:
        TargetChangedError: their directory is not there.
        NightshiftError: as :func:`ask`.
    """
    answer = ask(
        host,
        f"list the backups {name}",
        "backups_listed",
        seconds=LISTING_SECONDS,
        rule=_rule(rule),
        upload=_upload(rule, None),
    )
    return parse(ListedBackups, answer)


def make(host: Host, arguments: MakeBackup) -> FileFact:
    """One more backup; the file.

    Raises:
        DiskFullError: there was no room; nothing of it stays.
        TargetChangedError: one is being made already.
        NightshiftError: as :func:`ask`.
    """
    answer = ask(
        host,
        f"make a backup {arguments.name}",
        MakeBackup.KIND,
        seconds=MAKING_SECONDS,
        name=arguments.name,
        rule=_rule(arguments.rule),
        newer_than_ns=arguments.newer_than_ns,
        room=arguments.room,
    )
    return parse(FileFact, answer)


def prove(host: Host, arguments: ProveBackup) -> Proven:
    """Restore the newest backup into a scratch database, and mark it as proven.

    Raises:
        CommandFailedError: it cannot be restored, or lacks rows.
        TargetChangedError: there is no newer one.
        NightshiftError: as :func:`ask`.
    """
    answer = ask(
        host,
        f"prove the newest backup {arguments.name}",
        ProveBackup.KIND,
        seconds=PROVING_SECONDS,
        rule=_rule(arguments.rule),
        newer_than_ns=arguments.newer_than_ns,
    )
    return parse(Proven, {key: answer[key] for key in Proven.model_fields})


def upload(host: Host, arguments: UploadBackup, bucket: S3Connection | None) -> Uploaded:
    """Copy the newest proven backup to where it goes, once.

    Raises:
        AuthenticationError: the profile's credentials were not accepted.
        TargetChangedError: the newest backup is not proven.
        NightshiftError: as :func:`ask`.
    """
    answer = ask(
        host,
        f"upload the newest backup {arguments.name}",
        UploadBackup.KIND,
        seconds=UPLOADING_SECONDS,
        rule=_rule(arguments.rule),
        upload=_upload(arguments.rule, bucket),
        prefix=arguments.rule.upload.prefix if isinstance(arguments.rule.upload, BucketUpload) else "",
        newer_than_ns=arguments.newer_than_ns,
    )
    return parse(Uploaded, answer)


def _rule(rule: BackupSet) -> dict[str, Any]:
    written = rule.model_dump(mode="json", exclude={"upload"})
    return {**written, "directory": path_text(rule.directory), "log": path_text(rule.log) if rule.log else None}


def _upload(rule: BackupSet, bucket: S3Connection | None) -> dict[str, Any] | None:
    """What the host's own program needs to know; keys and passwords are the host's own."""
    if isinstance(rule.upload, ResticUpload):
        return rule.upload.model_dump(mode="json")
    if rule.upload is None or bucket is None:
        return None
    return {
        "tool": rule.upload.tool,
        "bucket": bucket.bucket,
        "region": bucket.region,
        "endpoint": str(bucket.endpoint) if bucket.endpoint else None,
        "profile": rule.upload.profile,
    }
