"""Look at the volume of a PostgreSQL server: how full it is, what fills it, and whether it stays below its ceiling."""

from __future__ import annotations

import time

from nightshift.remediation.clients import database_volume as volume
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.connections import HttpConnection, PostgresConnection
from nightshift.remediation.disk_space.database_diagnosis import DatabaseVolumeDiagnosis, VolumeUsage, WatchedVolume
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy, VolumeSize
from nightshift.remediation.errors import TargetUnreachableError
from nightshift.remediation.inventory import serves
from nightshift.tasks.steps import diagnostic

LEAST_SCRAPES = 5
"""A Prometheus is watched for at least so many of its scrapes: three measurements, with one missed and one late."""


@serves("cryptofunk.DiskSpaceWarning: d1")
@diagnostic("measure a database's volume", of="{database} {claim}")
def measure_database_volume(
    database: str, connection: PostgresConnection, claim: str, size: VolumeSize, prometheus: HttpConnection | None
) -> VolumeUsage:
    """Bytes in use on the volume (operation ``host.disk_usage``, cryptofunk.DiskSpaceWarning.d1)."""
    with open_postgres(database, connection) as session:
        return volume.measure_volume(session, database, claim, size, prometheus)


@serves("cryptofunk.DiskSpaceWarning: d2")
@diagnostic("find what fills a database's volume", of="{database} {claim}")
def diagnose_database_volume(
    database: str,
    connection: PostgresConnection,
    claim: str,
    policy: DatabaseVolumePolicy,
    prometheus: HttpConnection | None,
) -> DatabaseVolumeDiagnosis:
    """Usage and everything the policy may touch (``postgres.largest_tables``, cryptofunk.DiskSpaceWarning.d2)."""
    with open_postgres(database, connection) as session:
        usage = volume.measure_volume(session, database, claim, policy.size, prometheus)
        return volume.diagnose_database_volume(session, usage, policy)


@serves("cryptofunk.DiskSpaceWarning: v1")
@diagnostic("watch a database's volume", of="{database} {claim}")
def watch_database_volume(
    database: str,
    connection: PostgresConnection,
    claim: str,
    policy: DatabaseVolumePolicy,
    prometheus: HttpConnection | None,
    samples: int = 12,
) -> WatchedVolume:
    """Usage at even intervals over the policy's watch time, the first at once and the last at its end.

    Where a Prometheus measures, it is watched for long enough to see several of its scrapes. A look that tells nothing
    ends nothing: what counts is whether it can be told at the end.
    """
    seen: list[VolumeUsage] = []
    unknown, hold = "", policy.watch
    for number in range(samples):
        if number:
            time.sleep(hold / (samples - 1))
        try:
            # A connection for each look: one that idles for minutes is one fewer for others.
            with open_postgres(database, connection) as session:
                seen.append(volume.measure_volume(session, database, claim, policy.size, prometheus))
            hold, unknown = max(hold, LEAST_SCRAPES * seen[-1].scrape_interval), ""
        except TargetUnreachableError as error:
            unknown = str(error)
    return WatchedVolume(samples=tuple(seen), unknown=unknown)
