"""What is left for people about a full filesystem, in words precise enough to do it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

from nightshift.remediation.disk_space.candidates import deleted_open_once
from nightshift.remediation.disk_space.diagnosis import (
    Blindness,
    DeletedOpenFile,
    DiskSpaceDiagnosis,
    FileFact,
    FilesystemUsage,
    ProcessFact,
)
from nightshift.remediation.disk_space.guards import covers, named_by
from nightshift.remediation.disk_space.policy import DiskSpacePolicy, FileRule, LiveLogRule
from nightshift.remediation.disk_space.space import MARGIN, Space
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes
from nightshift.remediation.models import Proposal, Refusal, format_bytes
from nightshift.remediation.text import counted, printable

MOST = 5
"""So many of a kind are named; the evidence section holds more."""
WORTH_NAMING = 0.001
"""Share of the filesystem below which a deleted but open file is not worth a person's time."""


def every_rule(policy: DiskSpacePolicy) -> tuple[FileRule | LiveLogRule, ...]:
    """All rules about files."""
    return (
        *policy.rotated_logs,
        *policy.temporary_files,
        *policy.core_dumps,
        *policy.live_logs,
        *policy.archives,
        *policy.backups,
    )


def process_words(process: ProcessFact) -> str:
    """``nginx (pid 12, unit nginx.service)``, printable."""
    unit = f", unit {printable(process.unit, 80)}" if process.unit else ""
    return f"{printable(process.command, 60)} (pid {process.pid}{unit})"


def holders(diagnosis: DiskSpaceDiagnosis) -> dict[str, ProcessFact]:
    """The first known process that holds each path open."""
    groups = (diagnosis.rotated_logs, diagnosis.temporary_files, diagnosis.core_dumps, diagnosis.live_logs)
    files = [file for group in groups for facts in group for file in facts.files]
    known = {file.path: file.open_by[0] for file in (*files, *diagnosis.largest_files) if file.open_by}
    return {**{file.path: file.process for file in diagnosis.deleted_open}, **known}


def growth_of(diagnosis: DiskSpaceDiagnosis) -> list[str]:
    """The fastest growing files in words, with the process that writes them where it is known."""
    writer = holders(diagnosis)
    growing = [file for file in diagnosis.growing if math.isfinite(file.bytes_per_second) and file.bytes_per_second > 0]
    return [
        f"{printable(file.path)} by {format_bytes(math.ceil(file.bytes_per_second))}/s"
        + (f", written by {process_words(writer[file.path])}" if file.path in writer else "")
        for file in sorted(growing, key=lambda file: (-file.bytes_per_second, file.path))[:MOST]
    ]


def stop_growth(diagnosis: DiskSpaceDiagnosis) -> Iterator[Proposal]:
    """Find out why something grows: whatever is freed is filled again otherwise."""
    if growing := growth_of(diagnosis):
        rate, free = diagnosis.bytes_per_second, diagnosis.usage.available_bytes
        hurry = f"At this rate it is full in {format_duration(free / rate)}." if rate > 0 and free > 0 else ""
        yield Proposal(title=f"Stop what is growing: {growing[0]}", detail="; ".join(growing[1:]), reason=hurry)


def forbidden_deleted_files(
    diagnosis: DiskSpaceDiagnosis, policy: DiskSpacePolicy
) -> Iterator[tuple[Refusal, Proposal]]:
    """Deleted but open files that the policy does not let us cut, per process that holds them."""
    usage = diagnosis.usage
    floor = (usage.used_bytes + usage.available_bytes) * WORTH_NAMING
    held: dict[tuple[int, int], list[DeletedOpenFile]] = defaultdict(list)
    for file in deleted_open_once(diagnosis):
        if file.allocated >= floor and not named_by(file.path, policy.release_deleted_files):
            held[file.process.pid, file.process.started].append(file)
    for files in list(held.values())[:MOST]:
        process, amount = files[0].process, format_bytes(sum(file.allocated for file in files))
        name = printable(files[0].path) + (f" and {len(files) - 1} more" if len(files) > 1 else "")
        yield (
            Refusal(
                what=f"Cutting {counted(len(files), 'deleted file')} that {process_words(process)} holds open: {name}",
                reason="no pattern of release_deleted_files allows it, and the program may still need the content",
                lifted_by="a pattern in release_deleted_files",
            ),
            Proposal(
                title=f"Restart {_what_to_restart(process)} to release {amount}",
                detail=f"It holds {name} open, which was deleted.",
                reason="The space comes back when the program closes the file.",
            ),
        )


def _what_to_restart(process: ProcessFact) -> str:
    if process.unit:
        return f"unit {printable(process.unit, 80)} (pid {process.pid})"
    return f"{printable(process.command, 60)} (pid {process.pid})"


def uncovered(diagnosis: DiskSpaceDiagnosis, policy: DiskSpacePolicy) -> Iterator[Proposal]:
    """The largest directories and files that no rule speaks of."""
    mount, rules = diagnosis.usage.mount, every_rule(policy)
    shown: list[str] = []
    for directory in sorted(diagnosis.largest_directories, key=lambda d: (-d.allocated, d.path)):
        ruled = any(
            _inside(directory.path, rule.directory) or _inside(rule.directory, directory.path) for rule in rules
        )
        if not ruled and directory.path != mount and not any(_inside(directory.path, path) for path in shown):
            shown.append(directory.path)
    sizes = {directory.path: directory.allocated for directory in diagnosis.largest_directories}
    directories = [f"{printable(path)} ({format_bytes(sizes[path])})" for path in shown[:MOST]]
    files = [f"{printable(f.path)} ({format_bytes(f.allocated)})" for f in uncovered_files(diagnosis, policy)[:MOST]]
    parts = [f"{noun}: {', '.join(names)}" for noun, names in (("Directories", directories), ("files", files)) if names]
    if parts:
        yield Proposal(
            title=f"Look through the largest things on {printable(mount)} that no rule covers",
            detail="; ".join(parts) + ".",
            reason="Only what the policy names is ever deleted; a rule for them would cover them next time.",
        )


def uncovered_files(diagnosis: DiskSpaceDiagnosis, policy: DiskSpacePolicy) -> list[FileFact]:
    """Large files that no rule speaks of, largest first."""
    rules = every_rule(policy)
    free = [file for file in diagnosis.largest_files if not any(covers(rule, file.path) for rule in rules)]
    return sorted(free, key=lambda file: (-file.allocated, file.path))


def crowded(diagnosis: DiskSpaceDiagnosis) -> Iterator[Proposal]:
    """Where the inodes went."""
    directories = sorted(diagnosis.crowded_directories, key=lambda d: (-d.files, d.path))[:MOST]
    if directories:
        names = ", ".join(f"{printable(d.path)} ({counted(d.files, 'file')})" for d in directories)
        yield Proposal(
            title=f"Thin out the directories with the most files on {printable(diagnosis.usage.mount)}",
            detail=f"{names}.",
            reason="It runs out of inodes: what counts is the number of files, not their size.",
        )


@proposes("test_watcher.HighDiskUsage: r1.6", "bybit_strategy_tester.DiskSpaceCritical: r3.1 r3.2")
def expansion(usage: FilesystemUsage, policy: DiskSpacePolicy, gain: Space) -> Iterator[Proposal]:
    """The size at which what is left would be below the target."""
    usable, left = usage.used_bytes + usage.available_bytes, usage.used_bytes - gain.bytes
    wanted = math.ceil(left / (policy.target_used_percent / 100) * (1 + MARGIN))
    unit = 2**30 if usage.total_bytes >= 2**30 else 2**20
    more = -(-(wanted - usable) // unit) * unit
    if more > 0:
        yield Proposal(
            title=f"Grow the volume of {printable(usage.mount)} by at least {format_bytes(more)}, "
            f"to {format_bytes(usage.total_bytes + more)}",
            detail=f"It is {printable(usage.source) or 'unknown'} of type {printable(usage.type) or 'unknown'}: "
            "grow the volume, then its partition, then the filesystem.",
            reason=f"What is left would then take {policy.target_used_percent:g} % of it.",
        )


def blindness(blind: Iterable[Blindness]) -> tuple[Refusal, ...]:
    """What could not be seen, so that nothing is done about it and nobody takes it for absent."""
    return tuple(
        Refusal(
            what=f"Anything about {printable(sight.what)}",
            reason=f"it could not be seen: {printable(sight.why)}",
            lifted_by="let the account of the connection see it",
        )
        for sight in blind
    )


def _inside(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
