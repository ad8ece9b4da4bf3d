"""What was found on a filesystem, in words: short findings for the report, and tables of evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from nightshift.remediation.disk_space.candidates import deleted_open_once
from nightshift.remediation.disk_space.diagnosis import DiskSpaceDiagnosis
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.disk_space.proposals import growth_of, holders, process_words
from nightshift.remediation.disk_space.space import inodes_alert_percent
from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Finding, format_bytes
from nightshift.remediation.text import counted, listed, printable

MOST_ROWS = 10
"""Rows of a table of evidence."""


def findings_of(diagnosis: DiskSpaceDiagnosis, policy: DiskSpacePolicy) -> tuple[Finding, ...]:
    """The observed facts, each in one line; troubling ones are what a person should read first."""
    return (
        *_usage(diagnosis, policy),
        *_growth(diagnosis, policy),
        *_space_takers(diagnosis),
        *_backups(diagnosis, policy),
        *(
            Finding(title=f"Not seen: {printable(blind.what)}", detail=printable(blind.why), troubling=True)
            for blind in diagnosis.blind
        ),
    )


def _usage(diagnosis: DiskSpaceDiagnosis, policy: DiskSpacePolicy) -> Iterator[Finding]:
    usage, mount = diagnosis.usage, printable(diagnosis.usage.mount)
    yield Finding(
        title=f"{mount} is {usage.used_percent:.1f} % full",
        detail=f"{format_bytes(usage.used_bytes)} used, {format_bytes(usage.available_bytes)} available "
        f"({printable(usage.source) or 'unknown source'}, {printable(usage.type) or 'unknown type'})",
        data={"used_percent": round(usage.used_percent, 2), "used_bytes": usage.used_bytes},
        troubling=usage.used_percent > policy.alert_used_percent,
    )
    if usage.inodes_total:
        yield Finding(
            title=f"{usage.inodes_used_percent:.1f} % of its inodes are in use",
            detail=f"{usage.inodes_used:,} of {usage.inodes_total:,}",
            data={"inodes_used_percent": round(usage.inodes_used_percent, 2)},
            troubling=usage.inodes_used_percent > inodes_alert_percent(policy),
        )
    if usage.read_only:
        yield Finding(title=f"{mount} is mounted read-only", detail="Often after an I/O error.", troubling=True)


def _growth(diagnosis: DiskSpaceDiagnosis, policy: DiskSpacePolicy) -> Iterator[Finding]:
    rate, free = diagnosis.bytes_per_second, diagnosis.usage.available_bytes
    if math.isfinite(rate) and rate > 0:
        yield Finding(
            title=f"It grows by {format_bytes(math.ceil(rate))}/s",
            detail=f"full in {format_duration(free / rate)}" if free > 0 else "",
            data={"bytes_per_second": rate},
            troubling=free < rate * policy.refill_horizon,
        )
    if growing := growth_of(diagnosis):
        yield Finding(title=f"Growing fastest: {growing[0]}", detail="; ".join(growing[1:]), troubling=True)


def _space_takers(diagnosis: DiskSpaceDiagnosis) -> Iterator[Finding]:
    if deleted := deleted_open_once(diagnosis):
        amount = format_bytes(sum(file.allocated for file in deleted))
        names = list(dict.fromkeys(process_words(file.process) for file in deleted))
        yield Finding(
            title=f"{counted(len(deleted), 'deleted file')} still held open, taking {amount}", detail=listed(names)
        )
    if (journal := diagnosis.journal) is not None:
        yield Finding(
            title=f"The systemd journal takes {format_bytes(journal.allocated)}",
            detail=f"{format_bytes(journal.archived)} of it archived, in {printable(journal.directory)}",
        )
    if (cache := diagnosis.package_cache) is not None:
        yield Finding(
            title=f"The package cache of {printable(cache.manager, 20)} takes {format_bytes(cache.allocated)}",
            detail=printable(cache.directory),
        )
    if (docker := diagnosis.docker) is not None:
        yield Finding(
            title=f"Docker has {counted(len(docker.images), 'image')} and "
            f"{format_bytes(docker.build_cache_bytes)} of build cache",
            detail=f"{counted(docker.stopped_containers, 'stopped container')}, "
            f"{counted(docker.unused_volumes, 'unused volume')}, below {printable(docker.root)}",
        )


def _backups(diagnosis: DiskSpaceDiagnosis, policy: DiskSpacePolicy) -> Iterator[Finding]:
    for rule, found in zip(policy.backups, diagnosis.backups, strict=False):
        verified = sum(backup.verified for backup in found)
        yield Finding(
            title=f"{counted(len(found), 'backup')} below {printable(rule.directory)}, {verified} of them verified",
            detail=format_bytes(sum(backup.file.allocated for backup in found)),
            troubling=verified < rule.keep_newest_verified,
        )


def evidence_markdown(diagnosis: DiskSpaceDiagnosis) -> str:
    """Tables of the largest and fastest growing things, for people; every name in it is escaped."""
    tables = (*_directory_tables(diagnosis), _largest_files(diagnosis), _growing_files(diagnosis), _deleted(diagnosis))
    return "\n\n".join(table for table in tables if table)


def _directory_tables(diagnosis: DiskSpaceDiagnosis) -> Iterator[str]:
    by_size = sorted(diagnosis.largest_directories, key=lambda d: (-d.allocated, d.path))
    by_files = sorted(diagnosis.crowded_directories, key=lambda d: (-d.files, d.path))
    for title, directories in (("Largest directories", by_size), ("Directories with the most files", by_files)):
        rows = [(printable(d.path), format_bytes(d.allocated), f"{d.files:,}") for d in directories]
        yield markdown_table(title, ("Directory", "Size", "Files"), rows)


def _largest_files(diagnosis: DiskSpaceDiagnosis) -> str:
    rows = [
        (
            printable(file.path),
            format_bytes(file.allocated),
            format_bytes(file.size),
            format_duration(max(0.0, diagnosis.now - file.modified_ns / 1e9)),
            listed([process_words(process) for process in file.open_by], 2),
        )
        for file in sorted(diagnosis.largest_files, key=lambda file: (-file.allocated, file.path))
    ]
    return markdown_table("Largest files", ("File", "On disk", "Size", "Age", "Open by"), rows)


def _growing_files(diagnosis: DiskSpaceDiagnosis) -> str:
    writer = holders(diagnosis)
    growing = [file for file in diagnosis.growing if math.isfinite(file.bytes_per_second)]
    rows = [
        (
            printable(file.path),
            f"{format_bytes(math.ceil(file.bytes_per_second))}/s",
            process_words(writer[file.path]) if file.path in writer else "",
        )
        for file in sorted(growing, key=lambda file: (-file.bytes_per_second, file.path))
    ]
    return markdown_table("Growing files", ("File", "Growth", "Written by"), rows)


def _deleted(diagnosis: DiskSpaceDiagnosis) -> str:
    rows = [
        (printable(file.path), format_bytes(file.allocated), process_words(file.process))
        for file in deleted_open_once(diagnosis)
    ]
    return markdown_table("Deleted but open files", ("Last name", "On disk", "Held by"), rows)


def markdown_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of the first rows; empty when there are none. The cells must be printable already."""
    rows = list(rows)
    if not rows:
        return ""
    left = len(rows) - MOST_ROWS
    lines = [columns, ["---"] * len(columns), *rows[:MOST_ROWS]]
    more = f"\n\nand {left:,} more" if left > 0 else ""
    return f"### {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + more
