"""What was seen of a system's backups: files on the host, the server behind them, the bucket they go to."""

from __future__ import annotations

from nightshift.remediation.disk_space.diagnosis import FileFact, FilesystemUsage
from nightshift.remediation.models import Value


class DumpFact(Value):
    """A dump on the host."""

    file: FileFact
    proven: bool = False
    """Whether the mark of a restore lies beside it and its checksum is still the one that was restored."""
    proof: str = ""
    """What proves it, or what is missing."""
    sha256: str = ""
    """Hexadecimal; of the newest one only."""


class ServerFact(Value):
    """The database that is backed up, as the host's own psql sees it."""

    complaint: str = ""
    """Why it does not answer; empty: it does."""
    bytes: int = 0
    """Size of the database."""


class IdentityFact(Value):
    """Who the uploading profile is."""

    arn: str = ""
    complaint: str = ""
    """Why that is not known."""
    refused: bool = False
    """Whether its credentials were refused, not only unreachable."""


class StoredFact(Value):
    """An object in the bucket."""

    key: str
    size: int
    modified: float
    """Unix time, by the bucket's clock."""
    sha256: str = ""
    """As the bucket computed it of the whole object when it was written; empty: it did not."""
    md5: str = ""
    """Where its entity tag is one: written in one piece, and not encrypted with a customer's key."""


class BucketFact(Value):
    """What the bucket has below the prefix."""

    complaint: str = ""
    """Why it cannot be read; empty: it can."""
    refused: bool = False
    """Whether our credentials were refused."""
    objects: int = 0
    newest: StoredFact | None = None
    same: StoredFact | None = None
    """The object that has the name of the newest dump."""


class BackupDiagnosis(Value):
    """Everything the planner knows."""

    name: str
    now: float
    """Unix time, by the host's clock."""
    usage: FilesystemUsage
    """Of the filesystem that the dumps lie on."""
    dumps: tuple[DumpFact, ...] = ()
    """Newest first, at most 31 of them."""
    newest_md5: str = ""
    broken: str = ""
    """Why the newest dump cannot be read to its end; empty: it can, or it is proven."""
    server: ServerFact
    running: tuple[str, ...] = ()
    """Backups that are being made at this moment."""
    log: tuple[str, ...] = ()
    """The last lines about backups, oldest first."""
    identity: IdentityFact | None = None
    bucket: BucketFact | None = None

    @property
    def newest(self) -> DumpFact | None:
        """The newest dump, whatever its state."""
        return self.dumps[0] if self.dumps else None

    @property
    def age(self) -> float | None:
        """Seconds since the newest dump was written."""
        return max(0.0, self.now - self.newest.file.modified_ns / 1e9) if self.newest else None

    def is_stored(self) -> bool:
        """Whether the bucket has the newest dump, told by a checksum of its whole content."""
        newest, same = self.newest, self.bucket.same if self.bucket else None
        if newest is None or same is None or same.size != newest.file.size:
            return False
        if same.sha256:
            return bool(newest.sha256) and same.sha256 == newest.sha256
        return bool(same.md5) and same.md5 == self.newest_md5
