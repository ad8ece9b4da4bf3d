"""Look at a filesystem: how full it is, what fills it, and whether it stays below its ceiling."""

from __future__ import annotations

import time

from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import disk
from nightshift.remediation.connections import HostConnection
from nightshift.remediation.disk_space.diagnosis import DiskSpaceDiagnosis, FilesystemUsage
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.inventory import serves
from nightshift.tasks.steps import diagnostic


@serves("test_watcher.HighDiskUsage: d1")
@diagnostic("measure disk usage", of="{host} {mount}")
def measure_disk_usage(host: str, connection: HostConnection, mount: str) -> FilesystemUsage:
    """Bytes and inodes in use on one mounted filesystem (operation ``host.disk_usage``)."""
    with open_host(host, connection) as opened:
        return disk.read_usage(opened, mount)


@serves("test_watcher.HighDiskUsage: d2", "bybit_strategy_tester.DiskSpaceCritical: d1")
@diagnostic("find what fills the disk", of="{host} {mount}")
def diagnose_disk_space(
    host: str, connection: HostConnection, mount: str, policy: DiskSpacePolicy
) -> DiskSpaceDiagnosis:
    """Usage, culprits, and everything the policy may touch (``host.largest_directories`` and its kin)."""
    with open_host(host, connection) as opened:
        return disk.diagnose_disk_space(opened, mount, policy)


@serves("test_watcher.HighDiskUsage: v1", "bybit_strategy_tester.DiskSpaceCritical: v1")
@diagnostic("watch disk usage", of="{host} {mount}")
def watch_disk_usage(
    host: str, connection: HostConnection, mount: str, seconds: float, samples: int = 12
) -> tuple[FilesystemUsage, ...]:
    """Usage at even intervals over the watch time, the first at once and the last at its end."""
    with open_host(host, connection) as opened:
        seen = [disk.read_usage(opened, mount)]
        for _ in range(samples - 1):
            time.sleep(seconds / (samples - 1))
            seen.append(disk.read_usage(opened, mount))
    return tuple(seen)
