r"""What fills a filesystem, as observed: the typed answers of the host probe.

Names of files, directories and commands are hostile bytes. Here they are printable text that survives JSON, databases
and terminals: UTF-8 as it is, but every byte of a backslash, of a control character, of anything else that does not
print, or outside UTF-8 is written ``\xNN``. The probe turns it back into the same bytes.
"""

from __future__ import annotations

from pydantic import Field

from nightshift.remediation.models import Value


class FilesystemUsage(Value):
    """One mounted filesystem at one moment (``statvfs`` and ``/proc/self/mountinfo``)."""

    mount: str
    device: int
    """``st_dev``: every file on this filesystem has it."""
    source: str = ""
    type: str = ""
    total_bytes: int
    used_bytes: int
    available_bytes: int
    """What unprivileged users may still write."""
    inodes_total: int = 0
    inodes_used: int = 0
    read_only: bool = False
    at: float = 0
    """Unix time of the measurement, by the target's clock."""

    @property
    def used_percent(self) -> float:
        """As ``df`` counts it: used by used plus available, so that space kept for root does not hide trouble."""
        usable = self.used_bytes + self.available_bytes
        return 100 * self.used_bytes / usable if usable else 100.0

    @property
    def inodes_used_percent(self) -> float:
        """0 on filesystems without fixed inodes."""
        return 100 * self.inodes_used / self.inodes_total if self.inodes_total else 0.0

    def bytes_above(self, percent: float) -> int:
        """How many bytes must go to reach this usage; 0 when it is reached."""
        usable = self.used_bytes + self.available_bytes
        return max(0, self.used_bytes - int(usable * percent / 100))


class ProcessFact(Value):
    """A process, identified by pid and start time so that a reused pid is not mistaken for it."""

    pid: int
    started: int
    """Clock ticks since boot (field 22 of ``/proc/PID/stat``)."""
    command: str
    unit: str = ""
    """Its systemd unit, where there is one."""


class FileFact(Value):
    """A regular file, with everything that shows whether it is still the same one later."""

    path: str
    device: int
    inode: int
    size: int
    """Apparent size in bytes."""
    allocated: int
    """Bytes it takes on disk; what deleting it frees when it has one link and nobody holds it open."""
    modified_ns: int
    links: int = 1
    owner: int = 0
    open_by: tuple[ProcessFact, ...] = ()

    @property
    def identity(self) -> str:
        """What an approval covers: this path as long as it is this inode."""
        return f"{self.path}#{self.device}:{self.inode}"


class DirectoryFact(Value):
    """A directory with everything below it on the same filesystem; a file with several links counts once."""

    path: str
    allocated: int
    files: int


class DeletedOpenFile(Value):
    """A file without a name whose space is kept because a process holds it open."""

    path: str
    """Its last name, as the process that holds it sees it (in a container: inside the container)."""
    device: int
    inode: int
    allocated: int
    process: ProcessFact
    descriptor: int


class GrowingFile(Value):
    """A file that grew between two looks."""

    path: str
    bytes_per_second: float


class JournalFact(Value):
    """The persistent systemd journal on this filesystem."""

    directory: str
    allocated: int
    archived: int
    """Bytes in archived files, the only ones that vacuuming removes."""


class PackageCacheFact(Value):
    """Downloaded packages that can be downloaded again."""

    manager: str
    directory: str
    allocated: int
    files: int = 0
    """How many they are: each frees an inode."""


class DockerImageFact(Value):
    """An image of the Docker engine."""

    id: str
    repository: str
    """Of its first tag; empty for an image without tags."""
    tags: tuple[str, ...] = ()
    """With their repository: ``shop/web:1.4``."""
    created: float
    size: int
    """Bytes that only this image takes; layers shared with other images do not count."""
    containers: int
    """Containers, running or stopped, made from it."""


class DockerFact(Value):
    """Docker's use of this filesystem."""

    root: str
    images: tuple[DockerImageFact, ...] = ()
    build_cache_bytes: int = 0
    build_cache_old_bytes: int = 0
    """Unused for longer than the policy's age."""
    stopped_containers: int = 0
    unused_volumes: int = 0


class BackupFact(Value):
    """A backup file and whether something proves it to be good."""

    file: FileFact
    verified: bool
    proof: str = ""
    """What proves it, or what is missing."""


class RuleFiles(Value):
    """The files one rule of the policy matched."""

    rule: int
    """Index of the rule in its list of the policy."""
    files: tuple[FileFact, ...] = ()


class Blindness(Value):
    """Something that could not be seen, so that nothing is concluded from its absence."""

    what: str
    why: str


class DiskSpaceDiagnosis(Value):
    """Everything the planner gets to know."""

    usage: FilesystemUsage
    largest_directories: tuple[DirectoryFact, ...] = ()
    crowded_directories: tuple[DirectoryFact, ...] = ()
    """Directories with the most files of their own, not below them: where inodes go."""
    largest_files: tuple[FileFact, ...] = ()
    growing: tuple[GrowingFile, ...] = ()
    bytes_per_second: float = 0
    """Growth of the whole filesystem between the first and the last look."""
    rotated_logs: tuple[RuleFiles, ...] = ()
    temporary_files: tuple[RuleFiles, ...] = ()
    core_dumps: tuple[RuleFiles, ...] = ()
    live_logs: tuple[RuleFiles, ...] = ()
    archives: tuple[RuleFiles, ...] = ()
    backups: tuple[tuple[BackupFact, ...], ...] = ()
    """Per backup rule, every backup matching its patterns, of any age."""
    deleted_open: tuple[DeletedOpenFile, ...] = ()
    journal: JournalFact | None = None
    package_cache: PackageCacheFact | None = None
    docker: DockerFact | None = None
    now: float = Field(default=0)
    """Unix time on the target."""
    blind: tuple[Blindness, ...] = ()
