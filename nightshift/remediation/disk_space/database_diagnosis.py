"""What fills the volume of a PostgreSQL server: the typed answers of its queries.

Follows cryptofunk.DiskSpaceWarning.d1 and d2 of the inventory.
"""

from __future__ import annotations

import math

from pydantic import Field

from nightshift.remediation.disk_space.diagnosis import Blindness
from nightshift.remediation.models import Value

DAY = 86400


def cut_off(now: float, older_than: float) -> float:
    """Unix time below which rows are old: whole UTC days, so that an approval still means the same rows hours later.

    Rounded down, so it is never younger than the rule says.
    """
    return math.floor((now - older_than) / DAY) * DAY


class VolumeUsage(Value):
    """The volume, as the kubelet or the declared capacity and the server's own sizes tell."""

    total_bytes: int = Field(gt=0)
    used_bytes: int = Field(ge=0)
    at: float = 0
    """Unix time of the measurement."""
    scrape_interval: float = 0
    """Seconds between two measurements of a Prometheus; 0 where it was asked directly."""

    @property
    def used_percent(self) -> float:
        """Used by total."""
        return 100 * self.used_bytes / self.total_bytes

    @property
    def available_bytes(self) -> int:
        """What is left; 0 when a declared capacity is exceeded."""
        return max(0, self.total_bytes - self.used_bytes)


class WatchedVolume(Value):
    """The measurements after the repair."""

    samples: tuple[VolumeUsage, ...] = ()
    """In the order in which they were made; what could not be measured is left out."""
    unknown: str = ""
    """Why the last of them could not be made."""


class TableFact(Value):
    """A table with its indexes and TOAST, a hypertable as one with all its chunks. Names are as in the catalog."""

    schema_name: str
    name: str
    bytes: int
    live_rows: int = 0
    dead_rows: int = 0
    """Estimates of the statistics collector."""


class ChunkFact(Value):
    """An uncompressed chunk of a hypertable."""

    schema_name: str
    name: str
    bytes: int
    range_end: float
    """Unix time of the end of its time range."""
    compressed: bool = False


class OldChunks(Value):
    """The chunks one compression rule speaks of."""

    rule: int
    """Index in :attr:`DatabaseVolumePolicy.compress`."""
    compression_enabled: bool
    chunks: tuple[ChunkFact, ...] = ()


class OldRows(Value):
    """The rows one archive rule matched, counted with the cut-off of :func:`cut_off`."""

    rule: int
    """Index in :attr:`DatabaseVolumePolicy.archive_rows`."""
    before: float
    """The cut-off, Unix time."""
    rows: int
    oldest: float | None = None
    newest: float | None = None
    """Smallest and largest time among them, Unix time."""
    bytes: int = 0
    """Their estimated share of the table."""
    hypertable: bool = False
    referenced_by: tuple[str, ...] = ()
    """Tables with foreign keys to this one."""
    delete_triggers: tuple[str, ...] = ()
    """Triggers of the table that fire on deletion, but for those of foreign keys."""
    unfit: tuple[str, ...] = ()
    """Why its rows cannot be archived and deleted: no primary key, partitions, a missing privilege, …"""
    indexed: bool = True
    """Whether an index finds the oldest rows without reading the whole table."""
    table_bytes: int = 0
    """The table with its indexes and TOAST."""
    table_rows: int = 0
    """All its rows, as the statistics estimate them."""
    sessions: int | None = None
    """Other sessions that use the table at this moment; None where they could not be counted."""
    estimated: bool = False
    """Whether counting took too long, so that the number is the query planner's."""


class LongTransaction(Value):
    """A transaction open for long: nothing deleted since it began can be vacuumed."""

    holder: str
    """Its session or prepared transaction, as the server names it: hostile text."""
    seconds: float
    state: str = ""


class LogKeeper(Value):
    """A replication slot, and how much write-ahead log it keeps on the volume."""

    slot: str
    active: bool
    bytes: int


class ClaimFact(Value):
    """The persistent volume claim in the cluster."""

    namespace: str
    name: str
    requested_bytes: int
    expandable: bool
    """``allowVolumeExpansion`` of its storage class."""


class DatabaseVolumeDiagnosis(Value):
    """Everything the planner gets to know about a database's volume."""

    volume: VolumeUsage
    databases: dict[str, int] = Field(default_factory=dict)
    """Bytes by database name."""
    wal_bytes: int = 0
    in_recovery: bool = False
    """Whether the server is a standby, where nothing can be deleted."""
    read_only: bool = False
    """Whether it refuses writes by ``default_transaction_read_only``, as hosted servers do when their disk is full."""
    timescale: str | None = None
    """Version of the extension, where it is installed."""
    largest_tables: tuple[TableFact, ...] = ()
    old_chunks: tuple[OldChunks, ...] = ()
    old_rows: tuple[OldRows, ...] = ()
    long_transactions: tuple[LongTransaction, ...] = ()
    """Oldest first."""
    log_keepers: tuple[LogKeeper, ...] = ()
    """Most bytes first."""
    claim: ClaimFact | None = None
    """None where the cluster was not asked."""
    now: float = 0
    """Unix time by the server's clock."""
    blind: tuple[Blindness, ...] = ()
