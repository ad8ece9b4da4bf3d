"""Looking at the filesystems of a host: how full they are and what fills them. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.clients.host_probe.script.wire import to_text
from nightshift.remediation.disk_space.arguments import ListedFile
from nightshift.remediation.disk_space.diagnosis import DiskSpaceDiagnosis, FilesystemUsage
from nightshift.remediation.disk_space.policy import DiskSpacePolicy, FileRule, LiveLogRule
from nightshift.remediation.errors import CommandFailedError
from nightshift.remediation.models import Value

MEASURING_SECONDS = 20.0
"""For an answer that needs no search."""
JOURNAL = "/var/log/journal"

T = TypeVar("T", bound=Value)


class Mount(Value):
    """A mounted filesystem, in the order of ``/proc/self/mountinfo``."""

    mount: str
    type: str
    source: str
    read_only: bool


class FileState(Value):
    """A listed file now."""

    path: str
    state: Literal["unchanged", "changed", "gone"]
    reason: str = ""
    """How it changed, or why it cannot be reached without following a link."""
    allocated: int = 0


def read_mounts(host: Host) -> tuple[Mount, ...]:
    """Every filesystem mounted on the host, pseudo filesystems included.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    answer = ask(host, "list the mounts", "read_mounts", seconds=MEASURING_SECONDS)
    return tuple(parse(Mount, mount) for mount in answer)


def read_usage(host: Host, mount: str) -> FilesystemUsage:
    """Bytes and inodes of the filesystem mounted at exactly this path (operation ``host.disk_usage``).

    Raises:
        PermanentError: nothing is mounted there.
        NightshiftError: as :func:`ask`.
    """
    answer = ask(host, f"measure {mount}", "read_usage", seconds=MEASURING_SECONDS, mount=path_text(mount))
    return parse(FilesystemUsage, answer)


def diagnose_disk_space(
    host: Host, mount: str, policy: DiskSpacePolicy, *, interval: float = 1.0, journal: str = JOURNAL
) -> DiskSpaceDiagnosis:
    """What fills the filesystem, and which of it the policy's rules match, in one round trip.

    What cannot be seen, also for want of time, stands in ``blind``; only a filesystem that cannot be measured is an
    error. Covers test_watcher.HighDiskUsage.d1, d2 and bybit_strategy_tester.DiskSpaceCritical.d1.

    Args:
        host: the target.
        mount: a mount point.
        policy: its rules, and ``scan_seconds`` for search and checksums together.
        interval: least seconds between the two looks that show what grows; a quarter of a second where rules match
            files that may be removed.
        journal: directory of the persistent systemd journal.

    Raises:
        PermanentError: nothing is mounted there.
        NightshiftError: as :func:`ask`.
    """
    answer = ask(
        host,
        f"diagnose {mount}",
        "diagnose",
        seconds=policy.scan_seconds + interval,
        mount=path_text(mount),
        scan_seconds=policy.scan_seconds,
        interval=interval,
        journal=path_text(journal),
        rules=list(_rules(policy)),
        docker=_docker(policy),
    )
    return parse(DiskSpaceDiagnosis, answer)


def look_at_files(host: Host, files: tuple[ListedFile, ...], *, may_grow: bool = False) -> tuple[FileState, ...]:
    """Whether listed files are still as they were listed; with ``may_grow`` size and time may have moved on.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    listed = [file.model_dump(mode="json") for file in files]
    answer = ask(host, "look at the listed files", "states", seconds=MEASURING_SECONDS, files=listed, may_grow=may_grow)
    return tuple(parse(FileState, state) for state in answer)


def path_text(path: str) -> str:
    """A path from the catalogue in the form of :mod:`nightshift.remediation.disk_space.diagnosis`."""
    return to_text(path.encode("utf-8"))


def parse(kind: type[T], answer: Any) -> T:
    """A value from the probe's answer.

    Raises:
        CommandFailedError: the answer has another form.
    """
    try:
        return TypeAdapter(kind).validate_python(answer)
    except ValidationError as error:
        what = ", ".join(".".join(map(str, detail["loc"])) for detail in error.errors()[:3])
        raise CommandFailedError(f"The target's answer is not understood: {what}.") from None


def _rules(policy: DiskSpacePolicy) -> Iterator[dict[str, Any]]:
    for sort in ("rotated_logs", "temporary_files", "core_dumps", "archives"):
        for index, rule in enumerate(getattr(policy, sort)):
            yield _rule(sort, index, rule, {"older_than": rule.older_than})
    for index, log in enumerate(policy.live_logs):
        yield _rule("live_logs", index, log, {"larger_than": log.larger_than})
    for index, backup in enumerate(policy.backups):
        proof = {"keep_newest_verified": backup.keep_newest_verified, "verified_by": backup.verified_by}
        yield _rule("backups", index, backup, proof)


def _rule(sort: str, index: int, rule: FileRule | LiveLogRule, limits: Mapping[str, Any]) -> dict[str, Any]:
    place = {"directory": path_text(rule.directory), "patterns": list(rule.patterns)}
    return {"sort": sort, "index": index, **place, **limits}


def _docker(policy: DiskSpacePolicy) -> dict[str, Any] | None:
    if policy.docker is None:
        return None
    return {
        "host": policy.docker.host,
        "build_cache_older_than": policy.docker.build_cache_older_than,
        "timeout": min(30.0, policy.scan_seconds),
    }
