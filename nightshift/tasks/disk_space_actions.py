"""Free space on a host's filesystem: each action kind with what makes it safe to run unattended.

Only the gate carries these out. Every kind touches what its arguments list and nothing that changed since; see
:mod:`nightshift.remediation.clients.host_probe.disk_changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from nightshift.remediation.actions import Connections, Effect, Observation
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.clients.host import Host, open_host
from nightshift.remediation.clients.host_probe import disk_changes, permissions
from nightshift.remediation.clients.host_probe.asking import ends_within
from nightshift.remediation.connections import LocalConnection, SshConnection
from nightshift.remediation.disk_space import arguments as disk
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.models import Action
from nightshift.remediation.privileges import Lack, Permitted
from nightshift.tasks.steps import action

QUICK_SECONDS = 15.0
"""For changes that only remove names."""
COPY_SECONDS = 60.0
"""For changes that read or copy what they touch."""

A = TypeVar("A", bound=ActionArguments)


@contextmanager
def host_of(action: Action, connections: Connections) -> Iterator[Host]:
    """The host the action's target lies on.

    Raises:
        ConfigurationError: the catalogue knows no such host.
    """
    name = action.target.part("host")
    connection = connections.get(name)
    if not isinstance(connection, SshConnection | LocalConnection):
        raise ConfigurationError(f"There is no host {name!r} in the catalogue any more.")
    with open_host(name, connection) as host:
        yield host


def _on_host(kind: type[A], function: Callable[[Host, A], None]) -> Callable[[Action, Connections], None]:
    """A check of typed arguments as a check of an action."""

    def check(action: Action, connections: Connections) -> None:
        with host_of(action, connections) as host:
            function(host, kind.from_json(action.arguments))

    return check


def _look(kind: type[A], function: Callable[[Host, A], Observation]) -> Callable[[Action, Connections], Observation]:
    """An observation of typed arguments as one of an action."""

    def observe(action: Action, connections: Connections) -> Observation:
        with host_of(action, connections) as host:
            return function(host, kind.from_json(action.arguments))

    return observe


def _lacks(kind: type[A], needs: Callable[[A], Iterable[permissions.Need]]) -> Permitted:
    """The permissions that typed arguments need as those that an action needs."""

    def lacks(action: Action, connections: Connections) -> Sequence[Lack]:
        with host_of(action, connections) as host:
            return permissions.lacks(host, needs(kind.from_json(action.arguments)))

    return lacks


def _nothing_to_check(_action: Action, _connections: Connections) -> None:
    """The change itself compares every listed thing with the diagnosis in the moment it touches it."""


@action(
    kind=disk.DeleteFiles.KIND,
    name="delete files",
    timeout=ends_within(QUICK_SECONDS),
    precondition=_on_host(disk.DeleteFiles, disk_changes.check_files),
    observe=_look(disk.DeleteFiles, disk_changes.observe_files),
    permitted=_lacks(disk.DeleteFiles, permissions.to_delete),
    undo=None,
)
def delete_files(action: Action, connections: Connections) -> Effect:
    """Operation ``host.delete_old_files``: test_watcher.HighDiskUsage.r1.1, r1.2, bybit DiskSpaceCritical.r1.2."""
    arguments = disk.DeleteFiles.from_json(action.arguments)
    with host_of(action, connections) as host:
        freed = disk_changes.delete_files(host, arguments, max_bytes=action.bound.amount, seconds=QUICK_SECONDS)
    return freed.to_effect()


@action(
    kind=disk.ArchiveFiles.KIND,
    name="archive files",
    timeout=ends_within(COPY_SECONDS),
    precondition=_on_host(disk.ArchiveFiles, disk_changes.check_archive),
    observe=_look(disk.ArchiveFiles, disk_changes.observe_files),
    permitted=_lacks(disk.ArchiveFiles, permissions.to_archive),
    undo=None,
)
def archive_files(action: Action, connections: Connections) -> Effect:
    """Operation ``host.archive_files``: test_watcher.HighDiskUsage.r1.5; copied and compared before it is deleted."""
    arguments = disk.ArchiveFiles.from_json(action.arguments)
    with host_of(action, connections) as host:
        freed = disk_changes.archive_files(host, arguments, max_bytes=action.bound.amount, seconds=COPY_SECONDS)
    return freed.to_effect()


@action(
    kind=disk.ApplyBackupRetention.KIND,
    name="apply backup retention",
    timeout=ends_within(COPY_SECONDS),
    precondition=_on_host(disk.ApplyBackupRetention, disk_changes.check_backups),
    observe=_look(disk.ApplyBackupRetention, disk_changes.observe_files),
    permitted=_lacks(disk.ApplyBackupRetention, permissions.to_retain),
    undo=None,
)
def apply_backup_retention(action: Action, connections: Connections) -> Effect:
    """Operation ``backup.apply_retention``: bybit DiskSpaceCritical.r1.3, r2.2; the newest verified ones stay."""
    arguments = disk.ApplyBackupRetention.from_json(action.arguments)
    with host_of(action, connections) as host:
        freed = disk_changes.apply_backup_retention(
            host, arguments, max_bytes=action.bound.amount, seconds=COPY_SECONDS
        )
    return freed.to_effect()


@action(
    kind=disk.CutLog.KIND,
    name="cut a live log",
    timeout=ends_within(COPY_SECONDS),
    precondition=_on_host(disk.CutLog, disk_changes.check_log),
    observe=_look(disk.CutLog, disk_changes.observe_log),
    permitted=_lacks(disk.CutLog, permissions.to_cut),
    undo=None,
)
def cut_log(action: Action, connections: Connections) -> Effect:
    """Operations ``host.rotate_logs``, ``host.truncate_logs``: test_watcher r1.4, bybit r1.1, r2.3."""
    arguments = disk.CutLog.from_json(action.arguments)
    with host_of(action, connections) as host:
        freed = disk_changes.cut_log(host, arguments, max_bytes=action.bound.amount, seconds=COPY_SECONDS)
    return freed.to_effect()


def _observe_release(action: Action, connections: Connections) -> Observation:
    arguments = disk.ReleaseDeletedFile.from_json(action.arguments)
    listed = action.gain.amount if action.gain else action.bound.amount
    with host_of(action, connections) as host:
        return disk_changes.observe_release(host, arguments, allocated=listed)


@action(
    kind=disk.ReleaseDeletedFile.KIND,
    name="release a deleted file",
    timeout=ends_within(QUICK_SECONDS),
    precondition=_nothing_to_check,
    observe=_observe_release,
    permitted=_lacks(disk.ReleaseDeletedFile, permissions.to_release),
    undo=None,
)
def release_deleted_file(action: Action, connections: Connections) -> Effect:
    """Give back the space of a deleted file that a program holds open (hazard of bybit DiskSpaceCritical.r1.2)."""
    arguments = disk.ReleaseDeletedFile.from_json(action.arguments)
    with host_of(action, connections) as host:
        freed = disk_changes.release_deleted_file(host, arguments, max_bytes=action.bound.amount, seconds=QUICK_SECONDS)
    return freed.to_effect()


@action(
    kind=disk.VacuumJournal.KIND,
    name="vacuum the journal",
    timeout=ends_within(QUICK_SECONDS),
    precondition=_nothing_to_check,
    observe=_look(disk.VacuumJournal, disk_changes.observe_journal),
    permitted=_lacks(disk.VacuumJournal, permissions.to_vacuum),
    undo=None,
)
def vacuum_journal(action: Action, connections: Connections) -> Effect:
    """Operation ``host.rotate_logs`` for the systemd journal: test_watcher.HighDiskUsage.r1.4."""
    arguments = disk.VacuumJournal.from_json(action.arguments)
    with host_of(action, connections) as host:
        freed = disk_changes.vacuum_journal(host, arguments, max_bytes=action.bound.amount, seconds=QUICK_SECONDS)
    return freed.to_effect()


@action(
    kind=disk.CleanPackageCache.KIND,
    name="clean the package cache",
    timeout=ends_within(QUICK_SECONDS),
    precondition=_nothing_to_check,
    observe=_look(disk.CleanPackageCache, disk_changes.observe_package_cache),
    permitted=_lacks(disk.CleanPackageCache, permissions.to_clean),
    undo=None,
)
def clean_package_cache(action: Action, connections: Connections) -> Effect:
    """Remove packages that can be downloaded again, with the package manager's own command."""
    arguments = disk.CleanPackageCache.from_json(action.arguments)
    with host_of(action, connections) as host:
        freed = disk_changes.clean_package_cache(host, arguments, max_bytes=action.bound.amount, seconds=QUICK_SECONDS)
    return freed.to_effect()


@action(
    kind=disk.PruneDocker.KIND,
    name="prune Docker",
    timeout=ends_within(COPY_SECONDS),
    precondition=_nothing_to_check,
    observe=_look(disk.PruneDocker, disk_changes.observe_docker),
    permitted=_lacks(disk.PruneDocker, permissions.to_prune),
    undo=None,
)
def prune_docker(action: Action, connections: Connections) -> Effect:
    """Operations ``docker.prune``, ``host.prune_images``: test_watcher r1.3, bybit DiskSpaceCritical.r1.4, r2.1."""
    arguments = disk.PruneDocker.from_json(action.arguments)
    with host_of(action, connections) as host:
        freed = disk_changes.prune_docker(host, arguments, max_bytes=action.bound.amount, seconds=COPY_SECONDS)
    return freed.to_effect()
