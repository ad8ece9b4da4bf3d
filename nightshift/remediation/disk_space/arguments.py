"""The arguments of every action that frees disk space: written by the planner, checked and obeyed by the executor.

What an action may touch is listed here as it looked in the diagnosis; the executor touches nothing else, and
nothing that changed since. A new field needs a default, because approved plans outlive an upgrade.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.disk_space.diagnosis import DeletedOpenFile, FileFact
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Value


class ListedFile(Value):
    """One regular file exactly as the diagnosis saw it; any difference means that it is another file now."""

    path: str
    device: int
    inode: int
    size: int
    allocated: int
    """Bytes on disk."""
    modified_ns: int

    @classmethod
    def of(cls, file: FileFact) -> ListedFile:
        """The part of the fact that the executor checks."""
        return cls(
            path=file.path,
            device=file.device,
            inode=file.inode,
            size=file.size,
            allocated=file.allocated,
            modified_ns=file.modified_ns,
        )

    @property
    def identity(self) -> str:
        """As :attr:`FileFact.identity`."""
        return f"{self.path}#{self.device}:{self.inode}"


@serves("test_watcher.HighDiskUsage: r1.1 r1.2", "bybit_strategy_tester.DiskSpaceCritical: r1.2")
class DeleteFiles(ActionArguments):
    """Delete these files, each only while it is unchanged, unopened and reached below ``root`` without a link."""

    KIND: ClassVar[str] = "delete_files"
    root: str
    """The rule's directory; nothing outside it is touched."""
    files: tuple[ListedFile, ...] = Field(min_length=1)


@serves("test_watcher.HighDiskUsage: r1.5")
class ArchiveFiles(DeleteFiles):
    """Copy these files below ``to``, compare the copies by checksum, and only then delete the originals."""

    KIND: ClassVar[str] = "archive_files"
    to: str
    """A directory that must lie on another filesystem."""


@serves("bybit_strategy_tester.DiskSpaceCritical: r1.3 r2.2")
class ApplyBackupRetention(DeleteFiles):
    """Delete these backups, only while every one of ``keep`` is still there, unchanged and verified."""

    KIND: ClassVar[str] = "apply_backup_retention"
    keep: tuple[ListedFile, ...] = Field(min_length=1)
    """The newest verified backups, newest first."""
    verified_by: Literal["sha256-file", "verified-file"]


@serves("test_watcher.HighDiskUsage: r1.4", "bybit_strategy_tester.DiskSpaceCritical: r2.3")
class CutLog(ActionArguments):
    """Cut one log in place to its newest ``keep_tail`` bytes. It is being written, so its size may have grown."""

    KIND: ClassVar[str] = "cut_log"
    root: str
    file: ListedFile
    """Path, device and inode must still be these; size and modification time may have moved on."""
    keep_tail: int
    save_to: str | None = None
    """A directory on another filesystem to which the whole log is compressed first."""


class ReleaseDeletedFile(ActionArguments):
    """Cut a deleted file that a program still holds open to nothing, through ``/proc/PID/fd/N``."""

    KIND: ClassVar[str] = "release_deleted_file"
    pid: int
    started: int
    """Clock ticks since boot; another value means that the pid was reused."""
    descriptor: int
    device: int
    inode: int
    path: str
    """Its last name, for people."""

    @classmethod
    def of(cls, file: DeletedOpenFile) -> ReleaseDeletedFile:
        """The arguments for one holder of a deleted file."""
        return cls(
            pid=file.process.pid,
            started=file.process.started,
            descriptor=file.descriptor,
            device=file.device,
            inode=file.inode,
            path=file.path,
        )

    @property
    def identity(self) -> str:
        """What an approval covers: this inode in this very process."""
        return f"{self.pid}@{self.started}/{self.descriptor}#{self.device}:{self.inode}"


class VacuumJournal(ActionArguments):
    """Remove archived journal files, oldest first, until the journal takes at most ``keep`` bytes."""

    KIND: ClassVar[str] = "vacuum_journal"
    directory: str
    keep: int


class CleanPackageCache(ActionArguments):
    """Remove downloaded packages from the package manager's cache, with its own command."""

    KIND: ClassVar[str] = "clean_package_cache"
    manager: str
    directory: str


@serves("test_watcher.HighDiskUsage: r1.3", "bybit_strategy_tester.DiskSpaceCritical: r1.4 r2.1")
class PruneDocker(ActionArguments):
    """Remove these images, or build cache unused for so long; never containers, never volumes."""

    KIND: ClassVar[str] = "prune_docker"
    host: str
    """Engine address as seen from the target host."""
    images: tuple[str, ...] = ()
    """Image ids; removed without force, so that one taken into use meanwhile stays."""
    keep_newest: int = Field(default=2, ge=1)
    """So many of each repository stay, also when newer ones vanished since the diagnosis."""
    build_cache_older_than: float | None = None
    """Seconds; None leaves the build cache alone."""


@serves("cryptofunk.DiskSpaceWarning: r2.1 r2.2")
class ArchiveRows(ActionArguments):
    """Write rows older than ``before`` to an archive, read it back and compare; only then delete them, in batches."""

    KIND: ClassVar[str] = "archive_rows"
    table_schema: str
    table_name: str
    time_column: str
    before: str
    """RFC 3339 in UTC; fixed for archive and deletion, so that both mean the same rows."""
    rows: int
    """At most so many, the oldest."""
    to: str
    batch_rows: int


class RestoreRows(ActionArguments):
    """Insert archived rows again, each only where no other row has taken its place; the undo of ``archive_rows``."""

    KIND: ClassVar[str] = "restore_rows"
    table_schema: str
    table_name: str
    time_column: str
    before: str
    """The cut-off with which they were archived."""
    to: str
    """The directory of the archives."""
    archive: str | None
    """Folder of the files; None when the archiving was interrupted before it said so: then the only one that fits."""
