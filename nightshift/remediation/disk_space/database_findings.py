"""What was found on the volume of a database, in words: short findings for the report, and tables of evidence."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from nightshift.remediation.disk_space.database_diagnosis import DatabaseVolumeDiagnosis, OldRows
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.disk_space.findings import markdown_table
from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Finding, format_bytes
from nightshift.remediation.text import age_in_words, counted, listed, printable

MUCH_LOG = 2**30
"""Bytes of write-ahead log kept by one replication slot that a person should read of first."""


def findings_of(diagnosis: DatabaseVolumeDiagnosis, policy: DatabaseVolumePolicy) -> tuple[Finding, ...]:
    """The observed facts, each in one line; troubling ones are what a person should read first."""
    return (
        *_usage(diagnosis, policy),
        *_server(diagnosis),
        *_old_rows(diagnosis, policy),
        *_chunks(diagnosis, policy),
        *_log(diagnosis),
        *_transactions(diagnosis),
        *(
            Finding(title=f"Not seen: {printable(blind.what)}", detail=printable(blind.why), troubling=True)
            for blind in diagnosis.blind
        ),
    )


def _usage(diagnosis: DatabaseVolumeDiagnosis, policy: DatabaseVolumePolicy) -> Iterator[Finding]:
    volume = diagnosis.volume
    yield Finding(
        title=f"The volume is {volume.used_percent:.1f} % full",
        detail=f"{format_bytes(volume.used_bytes)} of {format_bytes(volume.total_bytes)} used, "
        f"{format_bytes(volume.available_bytes)} left",
        data={"used_percent": round(volume.used_percent, 2), "used_bytes": volume.used_bytes},
        troubling=volume.used_percent > policy.alert_used_percent,
    )
    if diagnosis.databases:
        largest = sorted(diagnosis.databases.items(), key=lambda item: (-item[1], item[0]))
        names = [f"{printable(name, 80)} {format_bytes(size)}" for name, size in largest]
        yield Finding(title=f"{counted(len(largest), 'database')} take {_sum(diagnosis)}", detail=listed(names, 5))


def _sum(diagnosis: DatabaseVolumeDiagnosis) -> str:
    return format_bytes(sum(diagnosis.databases.values()))


def _server(diagnosis: DatabaseVolumeDiagnosis) -> Iterator[Finding]:
    if diagnosis.in_recovery:
        yield Finding(
            title="The server is a standby", detail="Nothing can be deleted here, only on its primary.", troubling=True
        )
    if diagnosis.read_only:
        yield Finding(
            title="The server is read-only",
            detail="default_transaction_read_only is on; hosted servers do so when their disk is full.",
            troubling=True,
        )


def _old_rows(diagnosis: DatabaseVolumeDiagnosis, policy: DatabaseVolumePolicy) -> Iterator[Finding]:
    for found in diagnosis.old_rows:
        rule = policy.archive_rows[found.rule]
        about = "about " if found.estimated else "at least " if found.rows >= rule.max_rows else ""
        yield Finding(
            title=f"{about}{counted(found.rows, 'row')} of {printable(rule.table)} older than "
            f"{age_in_words(rule.older_than)}",
            detail=f"about {format_bytes(found.bytes)}{_span(found)}",
            data={"rows": found.rows, "bytes": found.bytes},
        )


def _span(found: OldRows) -> str:
    if found.oldest is None or found.newest is None:
        return ""
    return f", from {_day(found.oldest)} to {_day(found.newest)}"


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return "a time out of range"


def _chunks(diagnosis: DatabaseVolumeDiagnosis, policy: DatabaseVolumePolicy) -> Iterator[Finding]:
    if diagnosis.timescale is not None:
        yield Finding(title=f"TimescaleDB {printable(diagnosis.timescale, 20)} is installed")
    elif policy.compress:
        yield Finding(title="TimescaleDB is not installed in this database", detail="No chunk can be compressed.")
    for found in diagnosis.old_chunks:
        rule = policy.compress[found.rule]
        yield Finding(
            title=f"{counted(len(found.chunks), 'uncompressed chunk')} of {printable(rule.hypertable)} older than "
            f"{age_in_words(rule.older_than)}",
            detail=format_bytes(sum(chunk.bytes for chunk in found.chunks)),
        )


def _log(diagnosis: DatabaseVolumeDiagnosis) -> Iterator[Finding]:
    if diagnosis.wal_bytes:
        yield Finding(title=f"The write-ahead log takes {format_bytes(diagnosis.wal_bytes)}")
    for keeper in diagnosis.log_keepers:
        state = "in use" if keeper.active else "not in use by anyone"
        yield Finding(
            title=f"The replication slot {printable(keeper.slot, 80)} keeps {format_bytes(keeper.bytes)} of it",
            detail=f"{state}; a slot keeps write-ahead log for ever until its reader comes or it is dropped",
            data={"bytes": keeper.bytes, "active": keeper.active},
            troubling=not keeper.active or keeper.bytes >= MUCH_LOG,
        )


def _transactions(diagnosis: DatabaseVolumeDiagnosis) -> Iterator[Finding]:
    for transaction in diagnosis.long_transactions:
        yield Finding(
            title=f"A transaction has been open for {format_duration(transaction.seconds)}",
            detail=f"{printable(transaction.holder)} ({printable(transaction.state, 40)}): "
            "vacuum cannot free what was deleted since",
            troubling=True,
        )


def evidence_markdown(diagnosis: DatabaseVolumeDiagnosis) -> str:
    """The largest tables, for people; every name in it is escaped."""
    return markdown_table(
        "Largest tables",
        ("Table", "Size with indexes and TOAST", "Live rows", "Dead rows"),
        [
            (
                printable(f"{table.schema_name}.{table.name}"),
                format_bytes(table.bytes),
                f"{table.live_rows:,}",
                f"{table.dead_rows:,}",
            )
            for table in diagnosis.largest_tables
        ],
    )
