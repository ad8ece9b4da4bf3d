"""What may be removed to free space, and what must stay: written once per runbook in the catalogue.

Sizes are bytes and may be written as ``100MiB`` or ``2GB``; ages are seconds and may be written as ``7d`` or ``12h``.
A rule that is left out allows nothing.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, TypeAdapter, WithJsonSchema, model_validator

from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable

_BYTE_SIZE = TypeAdapter(ByteSize)


def _plain_directory(path: str) -> str:
    if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise ValueError("write an absolute path without '..', such as /var/log/shop")
    if str(PurePosixPath(path)) != path or path == "/":
        raise ValueError(
            f"write {str(PurePosixPath(path))!r} without doubled or trailing slashes; '/' itself is too wide"
        )
    return path


def _file_name_pattern(pattern: str) -> str:
    if not pattern or "/" in pattern or "\0" in pattern:
        raise ValueError("write a file name pattern such as '*.log.[0-9]*', without slashes")
    return pattern


Directory = Annotated[str, AfterValidator(_plain_directory)]
"""An absolute, normalised directory below which a rule holds; never the root."""
FileNamePattern = Annotated[str, AfterValidator(_file_name_pattern)]
"""A shell-style pattern (``fnmatch``) for file names, without slashes."""
_WRITTEN = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\s*\d*\.?\d+\s*\w*$"}],
    "examples": ["100MiB", "2GB"],
}
Bytes = Annotated[
    int,
    BeforeValidator(lambda value: int(_BYTE_SIZE.validate_python(value))),
    Field(ge=0),
    WithJsonSchema(_WRITTEN, mode="validation"),
]
"""A size in bytes, also written as ``100MiB``."""
Percent = Annotated[float, Field(gt=0, lt=100)]


class FileRule(Value):
    """Files below a directory, by name and age. Open files, symbolic links and other filesystems are never touched."""

    directory: Directory
    patterns: tuple[FileNamePattern, ...] = Field(min_length=1)
    older_than: Seconds
    """Since the last modification."""


class ArchiveRule(FileRule):
    """Files to move to another filesystem: copied, compared by checksum, and only then deleted."""

    to: Directory


class LiveLogRule(Value):
    """Logs that a program is writing: never deleted; cut in place, their tail kept."""

    directory: Directory
    patterns: tuple[FileNamePattern, ...] = Field(min_length=1)
    larger_than: Bytes
    """Smaller logs are left alone."""
    keep_tail: Bytes = 1024 * 1024
    """At least so many of the newest bytes stay in the file."""
    save_to: Directory | None = None
    """A directory on another filesystem to which the whole log is compressed first. None: only the tail is kept."""


class BackupRule(FileRule):
    """Old backups. The newest verified ones stay, whatever their age."""

    keep_newest_verified: int = Field(default=3, ge=1)
    verified_by: Literal["sha256-file", "verified-file"] = "sha256-file"
    """``sha256-file``: ``x.sha256`` beside ``x`` holds its checksum; ``verified-file``: ``x.verified`` is there."""


class JournalRule(Value):
    """The systemd journal."""

    keep: Bytes
    """Archived journal files are removed until this much is left."""


class DockerRule(Value):
    """Docker's images and build cache; never containers, never volumes."""

    host: str = "unix:///var/run/docker.sock"
    """Engine address as seen from the target host."""
    images_older_than: Seconds
    keep_images_per_repository: int = Field(default=2, ge=1)
    """The current and the previous one, so that a rollback stays possible."""
    build_cache_older_than: Seconds


class DiskSpacePolicy(Value):
    """Limits and permissions of :func:`disk_space_reclaim` for the filesystems of one system."""

    TARGET: ClassVar[tuple[str, ...]] = ("host", "filesystem")
    """Kinds of the target's path, outermost first."""

    volume: Literal["host"] = "host"
    target_used_percent: Percent = 80
    """Stop as soon as usage is at or below this."""
    alert_used_percent: Percent = 85
    """The symptom: usage above this is trouble."""
    critical_used_percent: Percent = 95
    target_used_inodes_percent: Percent = 80
    watch: Seconds = 300
    """How long usage is watched after the repair."""
    refill_horizon: Seconds = 24 * 3600
    """When it grows so fast that it would be above ``alert_used_percent`` again sooner than this, it escalates."""
    scan_seconds: Seconds = 60
    """Time limit of the search for what fills the filesystem."""
    mounts: tuple[str, ...] = ()
    """Mount points this runbook may work on; empty: every one of the host."""
    package_cache: bool = False
    journal: JournalRule | None = None
    rotated_logs: tuple[FileRule, ...] = ()
    temporary_files: tuple[FileRule, ...] = ()
    core_dumps: tuple[FileRule, ...] = ()
    live_logs: tuple[LiveLogRule, ...] = ()
    release_deleted_files: tuple[FileNamePattern, ...] = ()
    """Names of deleted files still held open by a program whose content may be cut to nothing."""
    archives: tuple[ArchiveRule, ...] = ()
    backups: tuple[BackupRule, ...] = ()
    docker: DockerRule | None = None

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        mount, horizon = printable(target.part("filesystem")), format_duration(self.refill_horizon)
        return Symptom(
            what=f"more than {self.alert_used_percent:g} % of {mount} in use",
            solved=f"at most {self.target_used_percent:g} % of the bytes and {self.target_used_inodes_percent:g} % of "
            f"the inodes of {mount} in use, and no growth that fills it again within {horizon}",
            measured_by="the host itself (statvfs)",
            hold=max(self.watch, 1.0),
            allowances=("single jumps: growth is the median over all measurements",),
        )

    @model_validator(mode="after")
    def _target_below_alert(self) -> DiskSpacePolicy:
        if not self.target_used_percent <= self.alert_used_percent <= self.critical_used_percent:
            raise ValueError("target_used_percent, alert_used_percent and critical_used_percent must not decrease")
        return self
