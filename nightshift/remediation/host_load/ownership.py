"""Whose process is it, may it ever be ended, and is it a job that is known to take all it gets?

Serves test_watcher.HighCPUUsage.r1.1, and the hazards of its r2.1 and of bybit_strategy_tester.HighCPUUsage.r1.1: a
process is known by what the kernel says of it (unit, container, account, executable), never by its name alone; its name
can only protect it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from posixpath import basename

from nightshift.remediation.durations import format_duration
from nightshift.remediation.host_load.objects import Process
from nightshift.remediation.host_load.policy import KnownJob, OnHost
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.inventory import serves
from nightshift.remediation.text import printable

NEVER = frozenset(
    {
        "agetty",
        "beam.smp",
        "containerd",
        "containerd-shim",
        "containerd-shim-runc-v2",
        "cron",
        "crond",
        "dbus-broker",
        "dbus-daemon",
        "docker-init",
        "docker-proxy",
        "dockerd",
        "etcd",
        "init",
        "login",
        "mariadbd",
        "mongod",
        "mysqld",
        "pgbouncer",
        "postgres",
        "postmaster",
        "redis-server",
        "runc",
        "sshd",
        "sshd-session",
        "su",
        "sudo",
        "supervisord",
        "systemd",
        "systemd-journald",
        "systemd-logind",
        "systemd-udevd",
        "tini",
        "valkey-server",
    }
)
"""Programs that are never ended, as the probe on the host has them, too: it refuses by itself."""


@dataclass(frozen=True)
class Owned:
    """A process with what it belongs to."""

    process: Process
    service: str | None
    """Name of the system's own service; None: it belongs to somebody else."""
    job: KnownJob | None
    """The known job that it does."""

    @property
    def overdue(self) -> bool:
        """Whether its job runs for longer than it should. How old a worker is says nothing of the job it works on."""
        return self.job is not None and _does(self.process, self.job) and self.process.age > self.job.at_most

    @property
    def expected(self) -> bool:
        """Whether it does what it should, for not longer than it should."""
        return self.job is not None and not self.overdue

    @property
    def name(self) -> str:
        """For people: ``python3 /opt/run.py (pid 4711 of backend)``."""
        whose = self.service if self.service is not None else f"account {self.process.account}"
        return f"{printable(self.process.command, 120)} (pid {self.process.pid} of {printable(whose, 60)})"


def owned(process: Process, policy: OnHost, services_of: Mapping[str, str]) -> Owned:
    """A process with the service it belongs to and the job it does.

    Args:
        process: as seen.
        policy: names the services and the jobs.
        services_of: Compose service by id of its container, of the system's own project only.
    """
    service = _service(process, policy, services_of)
    return Owned(process, service, _job(process, service, policy))


def _service(process: Process, policy: OnHost, services_of: Mapping[str, str]) -> str | None:
    inside = services_of.get(process.container) if process.container else None
    for name, own in policy.services.items():
        if own.service is not None and inside is not None and own.service == inside:
            return name
        if own.on_host is not None and _keeps(own.on_host, process):
            return name
    for name, own in policy.services.items():
        if not process.container and own.account is not None and own.account == process.account:
            return name
    return None


def _keeps(rule: HostService, process: Process) -> bool:
    if process.container:
        return False
    return rule.name == (process.unit if rule.manager == "systemd" else process.program)


@serves("test_watcher.HighCPUUsage: r1.1")
def _job(process: Process, service: str | None, policy: OnHost) -> KnownJob | None:
    """The job of the runbook that it does. Only work of the system's own counts: else any name would explain a load."""
    if service is None:
        return None
    for job in policy.known_jobs:
        if service in job.of or _does(process, job):
            return job
    return None


def _does(process: Process, job: KnownJob) -> bool:
    """Whether its command is that of the job."""
    return any(fnmatchcase(process.command, pattern) for pattern in job.commands)


def why_never(one: Owned, policy: OnHost) -> str | None:
    """Why a process is not ended by anybody from here; None: a person may say so."""
    process = one.process
    if one.service is None:
        return "it belongs to none of the services that the runbook names"
    if process.pid <= 1 or not process.identity:
        return "it cannot be told which program it is"
    if basename(process.executable) in NEVER:
        return f"{printable(basename(process.executable), 60)} keeps the host or its data; it is never ended"
    if one.expected and one.job is not None:
        return f"it is a known job ({printable(one.job.name, 60)}), for {format_duration(process.age)} by now"
    if process.main:
        return "it is the main process of its service, which would end with it"
    if not policy.services[one.service].may_end:
        return "the runbook lets nobody end processes of it"
    return None
