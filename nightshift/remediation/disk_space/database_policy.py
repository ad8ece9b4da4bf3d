"""What may be done when the volume of a database fills up (CryptoFunk's DiskSpaceWarning).

The volume belongs to a server that must go on running, so nothing here touches files: rows are archived and then
deleted, the claim grows where its cluster and its class can do it, and what needs Timescale is proposed to people with
everything they need to decide.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.disk_space.policy import Bytes, Directory, Percent
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.kubernetes.claim_policy import ClaimExpansion
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable

_IDENTIFIER = r"[a-z_][a-z0-9_]{0,62}"
TableName = Annotated[str, StringConstraints(pattern=rf"^{_IDENTIFIER}(\.{_IDENTIFIER})?$")]
"""A table, with its schema where it is not ``public``: ``trading_sessions``, ``audit.events``."""
ClusterName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
ColumnName = Annotated[str, StringConstraints(pattern=rf"^{_IDENTIFIER}$")]


class VolumeSize(Value):
    """How large the volume is and how much of it is used; SQL alone cannot tell. Exactly one of the two ways."""

    prometheus: Annotated[str | None, ConnectionOf("http")] = None
    """Name of the connection to a Prometheus with the kubelet's ``kubelet_volume_stats_*`` of the claim."""
    namespace: ClusterName | None = None
    """The claim's namespace, where that Prometheus watches claims of the same name in several."""
    capacity: Bytes | None = None
    """The declared size; used is then what the server's databases and its write-ahead log take."""

    @model_validator(mode="after")
    def _exactly_one(self) -> VolumeSize:
        if (self.prometheus is None) == (self.capacity is None):
            raise ValueError("name exactly one of prometheus, capacity")
        if self.namespace is not None and self.prometheus is None:
            raise ValueError("namespace belongs to prometheus")
        return self


class CompressionRule(Value):
    """Chunks of a Timescale hypertable to compress, one by one; proposed to people, not carried out."""

    hypertable: TableName
    older_than: Seconds


class RowArchiveRule(Value):
    """Old rows: written to an archive, the archive read back and compared, and only then deleted, in batches."""

    table: TableName
    time_column: ColumnName
    older_than: Seconds
    """By ``time_column`` and the server's clock, fixed once for archive and deletion."""
    to: Directory
    """Directory for the archives on the machine the worker runs on; never on the volume that is full."""
    batch_rows: int = Field(default=5_000, gt=0, le=100_000)
    """Rows deleted in one transaction."""
    max_rows: int = Field(default=1_000_000, gt=0)
    """Most rows of one plan; what is left waits for the next."""


class DatabaseVolumePolicy(Value):
    """Limits and permissions of the flow ``database-volume-reclaim`` for the volume of a PostgreSQL server.

    A rule that is left out allows nothing.
    """

    TARGET: ClassVar[tuple[str, ...]] = ("database", "claim")
    """Kinds of the target's path: a connection of type postgres, and the volume claim it writes to."""

    volume: Literal["database"]
    size: VolumeSize
    target_used_percent: Percent = 80
    """Stop as soon as usage is at or below this."""
    alert_used_percent: Percent = 80
    """The symptom: usage above this is trouble."""
    critical_used_percent: Percent = 95
    watch: Seconds = 300
    """How long usage is watched after the repair."""
    refill_horizon: Seconds = 24 * 3600
    """When the volume, growing as it does, would be above ``alert_used_percent`` sooner than this, it escalates."""
    largest_tables: int = Field(default=10, gt=0, le=100)
    """How many tables the report names, largest first, each hypertable as one."""
    compress: tuple[CompressionRule, ...] = ()
    archive_rows: tuple[RowArchiveRule, ...] = ()
    expand: ClaimExpansion | None = None
    """Grow the claim where its usage is measured by Prometheus; with a declared capacity, propose it."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        claim, horizon = printable(target.part("claim")), format_duration(self.refill_horizon)
        by_kubelet = self.size.prometheus is not None
        return Symptom(
            what=f"more than {self.alert_used_percent:g} % of the volume {claim} in use",
            solved=f"at most {self.target_used_percent:g} % of the volume {claim} in use, and no growth that fills it "
            f"again within {horizon}",
            measured_by=f"the kubelet, through {printable(str(self.size.prometheus))}"
            if by_kubelet
            else "the sizes of the server's databases and its write-ahead log",
            hold=max(self.watch, 1.0),
            allowances=("scrapes that are missed or late, by waiting for more of them",) * by_kubelet,
        )

    @model_validator(mode="after")
    def _target_below_alert(self) -> DatabaseVolumePolicy:
        if self.target_used_percent > self.alert_used_percent:
            raise ValueError("target_used_percent must not be above alert_used_percent")
        return self
