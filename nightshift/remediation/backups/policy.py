"""How the backups of a system are made, proven and kept: written once per runbook in the catalogue."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.policy import Bytes, Directory, FileNamePattern
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable

MIB = 2**20
PlainName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$")]
"""A name that no program takes for an option, such as that of a database, an account or an AWS profile."""
TableName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}$")]
"""A table with its schema: ``public.trades``."""
Argument = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00\n]+$")]


class ServerOnHost(Value):
    """How the programs of PostgreSQL on the host reach a server. Its password is in the host's own ``~/.pgpass``."""

    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9/][A-Za-z0-9/._:-]{0,250}$")] = "/var/run/postgresql"
    """A name, an address, or the directory of its socket."""
    port: int = Field(default=5432, ge=1, le=65535)
    user: PlainName = "postgres"
    database: PlainName
    """For a scratch server: the one to connect to while the scratch database is made and dropped."""


class PgDump(Value):
    """``pg_dump`` in its custom format, as one file; it may take at most ten minutes."""

    tool: Literal["pg_dump"]


class OwnCommand(Value):
    """The system's own program, as arguments, never as a line of shell. It leaves one new file in the directory.

    It must need no terminal: with Docker Compose that is ``exec -T``.
    """

    tool: Literal["command"]
    arguments: tuple[Argument, ...] = Field(min_length=1, max_length=40)
    working_directory: Directory | None = None


class PgBackRest(Value):
    """pgBackRest, with the repositories of its own configuration on the host. Nothing expires by it."""

    tool: Literal["pgbackrest"]
    stanza: PlainName
    type: Literal["full", "diff", "incr"] = "incr"
    scratch_directory: Directory
    """Where a backup is restored and started as a cluster of its own, to prove it; with room for all of it."""


class BucketUpload(Value):
    """Backups are kept in a bucket besides; the AWS command line on the host takes them there, with one profile."""

    tool: Literal["aws"]
    bucket: Annotated[str, ConnectionOf("s3")]
    """Name of the connection to the bucket."""
    prefix: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_.=-]+/)*$", max_length=500)] = ""
    """What the keys begin with, such as ``daily/``."""
    profile: PlainName
    """The profile of the host's AWS configuration that uploads; no other identity is looked at."""
    identity: Annotated[str, StringConstraints(pattern=r"^arn:[A-Za-z0-9:/_.+=,@*-]{1,300}$")] | None = None
    """The ARN that this profile must have; null: any that the bucket lets in."""

    @property
    def place(self) -> str:
        """For people."""
        return "the bucket"


class ResticUpload(Value):
    """Backups are kept in a restic repository besides; restic on the host takes them there. Nothing is forgotten."""

    tool: Literal["restic"]
    repository: Annotated[str, StringConstraints(pattern=r"^(/|s3:|sftp:|rest:|b2:|azure:|gs:)[^\s@]{1,400}$")]
    """As restic takes it, without a password in it; it must be there already."""
    password_file: Directory
    """The file on the host that holds its password."""
    profile: PlainName | None = None
    """The profile of the host's AWS configuration, for a repository in S3."""

    @property
    def place(self) -> str:
        """For people."""
        return "the repository"


class Proof(Value):
    """What counts as proven: restored whole into a scratch database, with rows in its tables."""

    scratch: ServerOnHost | None = None
    """An account there that may create databases, and needs no more; null with pgBackRest, which starts its own."""
    must_have_rows: dict[TableName, Annotated[int, Field(ge=1)]] = Field(default={}, max_length=50)
    """So many rows at least, by table."""
    count_at_most: int = Field(default=1_000_000, ge=1, le=10_000_000)
    """Counting ends here, so that a huge table is never counted whole."""
    largest: Bytes = 20 * 1024 * MIB
    """A database of more bytes than this is not restored by itself."""

    @model_validator(mode="after")
    def _counts_far_enough(self) -> Proof:
        if any(rows > self.count_at_most for rows in self.must_have_rows.values()):
            raise ValueError("must_have_rows asks for more rows than count_at_most lets be counted")
        return self


class Retention(Value):
    """Which old backups go once a new one is proven. Without it nothing is deleted."""

    keep_proven: int = Field(ge=1, le=30)
    """So many of the newest proven ones stay, whatever their age, and all that is newer; with fewer nothing goes."""
    older_than: Annotated[Seconds, Field(ge=86400)]
    """Nothing younger is deleted."""
    most: int = Field(default=5, ge=1, le=20)
    """Of one plan."""


class BackupSet(Value):
    """One series of backups: a database, the directory that its dumps lie in, and where they go from there."""

    make: PgDump | OwnCommand | PgBackRest = Field(discriminator="tool")
    source: ServerOnHost
    """The database that is backed up."""
    directory: Directory
    """Survives a restart, so never ``/tmp``. With pgBackRest only the marks of restores lie there; name one
    on the filesystem of the repository, since that is the one whose room is measured."""
    patterns: tuple[FileNamePattern, ...] = Field(default=(), max_length=10)
    """Names of its dumps, in the custom format of pg_dump; none with pgBackRest."""
    programs: Directory | None = None
    """Where pg_dump, pg_restore and psql of the server's version are; null: those on the PATH."""
    run_as: PlainName | None = None
    """The account of the host that they run as, such as ``postgres``; null: the connection's own."""
    proof: Proof
    upload: BucketUpload | ResticUpload | None = Field(default=None, discriminator="tool")
    """Null: backups stay on the host alone."""
    retention: Retention | None = None
    """Null: nothing on the host is deleted here."""
    log: Directory | None = None
    """The file in which whatever makes backups says how that went; its last lines about backups are evidence."""
    shrinks_to: float = Field(default=0.5, gt=0, lt=1)
    """Below this share of the usual size a backup is suspected to lack something."""
    grows_to: float = Field(default=3, gt=1)
    usual_of: int = Field(default=7, ge=3, le=30)
    """The usual size is the median of so many earlier backups."""

    @model_validator(mode="after")
    def _survives(self) -> BackupSet:
        if self.directory == "/tmp" or self.directory.startswith("/tmp/"):  # noqa: S108 - it is refused
            raise ValueError("name a directory that survives a restart; /tmp does not")
        return self

    @model_validator(mode="after")
    def _has_what_its_tool_needs(self) -> BackupSet:
        physical = self.make.tool == "pgbackrest"
        if physical and (self.patterns or self.upload or self.proof.scratch or self.retention):
            raise ValueError(
                "pgbackrest has repositories of its own: leave patterns, upload, retention and proof.scratch out"
            )
        if not physical and not (self.patterns and self.proof.scratch):
            raise ValueError("dumps need patterns, and proof.scratch to be restored in")
        return self


class BackupFailurePolicy(Value):
    """Limits and permissions of :func:`backup_failure` for the backups of one system."""

    TARGET: ClassVar[tuple[str, ...]] = ("host", "backup")
    """Kinds of the target's path, outermost first."""

    backups: dict[PlainName, BackupSet] = Field(min_length=1)
    """By their name in the target."""
    fresh_within: Seconds = 26 * 3600
    """The symptom: the newest good backup is older. A daily backup against 24 h would alert whenever it is slower."""
    retries: int = Field(default=3, ge=0, le=3)
    """How often a failed upload is tried again, after pauses that double."""
    first_pause: Seconds = 5
    watch: Seconds = 20
    """How long after the repair the backup is looked at again."""

    @model_validator(mode="after")
    def _pauses_end(self) -> BackupFailurePolicy:
        if self.first_pause > 10:
            raise ValueError("first_pause is at most 10s: pauses double, and an action has to end")
        return self

    @model_validator(mode="after")
    def _sees_its_own(self) -> BackupFailurePolicy:
        for name, rule in self.backups.items():
            made = f"{name}-20260101T000000Z.dump"
            if rule.make.tool == "pg_dump" and not any(fnmatchcase(made, pattern) for pattern in rule.patterns):
                raise ValueError(f"the patterns of {name} do not match what pg_dump will be told to write: {made}")
        return self

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name, limit = printable(target.part("backup")), format_duration(self.fresh_within)
        place = self._place(target)
        far = f", and {place} has the same one" if place else ""
        return Symptom(
            what=f"no proven backup {name} younger than {limit}",
            solved=f"the newest backup {name} is younger than {limit}, of the usual size, was restored once{far}",
            measured_by="its files on the host, and their checksums here and where they are kept besides",
            hold=max(self.watch, 1.0),
        )

    def _place(self, target: Target) -> str:
        found = self.backups.get(target.part("backup"))
        return found.upload.place if found is not None and found.upload is not None else ""
