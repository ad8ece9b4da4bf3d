"""Look at the backups of a system: on their host, and in the bucket they go to."""

from __future__ import annotations

import time

from nightshift.remediation.backups.facts import BackupDiagnosis
from nightshift.remediation.backups.policy import BackupFailurePolicy, BackupSet, BucketUpload
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import dumps
from nightshift.remediation.connections import HostConnection, S3Connection
from nightshift.remediation.inventory import serves
from nightshift.tasks.steps import diagnostic

_LOOKS = 3


@serves("bybit_strategy_tester.BackupFailed: d1 d2 d3 r3.1")
@diagnostic("look at the backups", of="{host} {backup}")
def diagnose_backups(
    host: str, connection: HostConnection, bucket: S3Connection | None, backup: str, policy: BackupFailurePolicy
) -> BackupDiagnosis:
    """Age, size, wholeness and proof of the dumps, room, the server, the uploading identity and the bucket."""
    return look(host, connection, bucket, backup, policy.backups[backup])


@diagnostic("watch the newest backup", of="{host} {backup}")
def watch_backups(
    host: str, connection: HostConnection, bucket: S3Connection | None, backup: str, policy: BackupFailurePolicy
) -> tuple[BackupDiagnosis, ...]:
    """Looks at even intervals over the watch time, the first at once and the last at its end."""
    looks = [look(host, connection, bucket, backup, policy.backups[backup])]
    for _ in range(_LOOKS - 1):
        time.sleep(policy.watch / (_LOOKS - 1))
        looks.append(look(host, connection, bucket, backup, policy.backups[backup]))
    return tuple(looks)


def look(
    host: str, connection: HostConnection, bucket: S3Connection | None, backup: str, rule: BackupSet
) -> BackupDiagnosis:
    """One look at both ends."""
    with open_host(host, connection) as opened:
        seen = dumps.look_at_backups(opened, backup, rule, bucket)
    if bucket is None or not isinstance(rule.upload, BucketUpload):
        return seen
    # boto3 is imported for systems that have a bucket.
    from nightshift.remediation.clients.s3 import read_bucket

    key = rule.upload.prefix + seen.newest.file.path.rpartition("/")[2] if seen.newest else None
    return seen.model_copy(update={"bucket": read_bucket(rule.upload.bucket, bucket, rule.upload.prefix, key)})
