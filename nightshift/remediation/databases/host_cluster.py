"""A PostgreSQL cluster that a host's own service runs: how the catalogue names it, and what was seen of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from nightshift.remediation.backups.policy import BackupSet
from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.policy import Directory
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.models import Value

PEOPLE = 2
"""Who must agree to put a backup in the place of a database."""


class HostCluster(Value):
    """Where it lies and what runs it. Nothing else on the host is looked at or changed."""

    host: Annotated[str, ConnectionOf("ssh")]
    service: HostService
    """What runs it, such as ``postgresql@15-main.service``."""
    data_directory: Directory
    """Its files: a directory of its own, no mount point, without tablespaces elsewhere."""
    recover: BackupSet | None = None
    """The backups of pgBackRest that it may be recovered from, by the word of two people; null: that is proposed."""

    @model_validator(mode="after")
    def _can_be_recovered(self) -> HostCluster:
        if self.recover is not None and self.recover.make.tool != "pgbackrest":
            raise ValueError("a whole cluster is recovered from pgbackrest's backups only")
        if self.service.manager == "windows":
            raise ValueError("the service is one of systemd or supervisor")
        return self


class RecoverySource(Value):
    """What it could be recovered from, and what speaks against it."""

    label: str = ""
    """Of the newest backup that was restored once; empty: there is none."""
    size: int = 0
    """Of the cluster in it, in bytes."""
    stopped_at: float = 0
    """When that backup ended, Unix time."""
    unproven: int = 0
    """Newer backups that nobody has restored."""
    why_not: str = ""
    """Why the directory cannot be moved aside; empty: it can."""
    kept: bool = False
    """Whether a directory that was moved aside for this backup is there already."""
    free: int = 0
    """Bytes, on the filesystem of the directory."""
    done: bool = False
    """Whether it was recovered from that backup already."""
    restoring: bool = False
    restored: bool = False
    bytes: int = 0
    """Restored so far."""
    said: str = ""
    """The last words of a restore that ended."""
    state: str = ""
    """Of its service."""
    startup: str = ""


class ClusterAnswer(Value):
    """What a recovered cluster says on its own host."""

    answers: bool
    complaint: str = ""
    startup: str = ""
    tables: int = 0
    rows: dict[str, int] = Field(default_factory=dict)
