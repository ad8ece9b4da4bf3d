"""Freeing space on a host: each change touches what is listed in its arguments, nothing else, and measures what it did.

Every change has the two questions beside it that make it safe to run unattended: ``check_*`` raises when the target no
longer looks as in the diagnosis, ``observe_*`` tells whether the change is in place after a run that died.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from nightshift.remediation.actions import Effect, Observation
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.clients.host_probe.disk import MEASURING_SECONDS, look_at_files, parse, path_text
from nightshift.remediation.disk_space.arguments import (
    ApplyBackupRetention,
    ArchiveFiles,
    CleanPackageCache,
    CutLog,
    DeleteFiles,
    PruneDocker,
    ReleaseDeletedFile,
    VacuumJournal,
)
from nightshift.remediation.disk_space.diagnosis import JournalFact, PackageCacheFact
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.models import Quantity, Value, format_bytes

CHANGING_SECONDS = 300.0
"""How long one change may work unless told otherwise; :func:`asking.ends_within` says when it has ended for certain."""
_SHOWN = 50
"""Items of a kind in an effect's evidence; the rest is counted."""


class ItemResult(Value):
    """What happened to one listed thing."""

    item: str
    result: Literal["done", "gone", "skipped"]
    reason: str = ""
    """Why it was skipped."""
    freed_bytes: int = 0


class FreedSpace(Value):
    """What a change really did."""

    freed_bytes: int
    """Sum of what was allocated to the things that went."""
    measured_bytes: int
    """Free bytes of the filesystem after, less before: others write meanwhile, so it can be less, even negative."""
    items: tuple[ItemResult, ...] = ()
    method: str = ""
    """How a log was cut: ``collapse`` (the file is short now), ``punch`` (it keeps its length, its head reads as
    zeros), or ``nothing``."""
    saved_as: str = ""
    """Where the copy of a log is, on the target."""

    def count(self, result: Literal["done", "gone", "skipped"]) -> int:
        """How many items ended so."""
        return sum(item.result == result for item in self.items)

    def to_effect(self) -> Effect:
        """As the journal and the report keep it."""
        words = [f"freed {format_bytes(self.freed_bytes)}"]
        words += [f"{self.count(result)} {result}" for result in ("done", "gone", "skipped") if self.count(result)]
        evidence: dict[str, Any] = {"measured_bytes": self.measured_bytes}
        evidence |= {key: value for key in ("method", "saved_as") if (value := getattr(self, key))}
        for result in ("done", "skipped"):
            found = [item for item in self.items if item.result == result]
            if found:
                evidence[result] = [item.model_dump(mode="json", exclude={"result"}) for item in found[:_SHOWN]]
                evidence[f"{result}_more"] = max(0, len(found) - _SHOWN)
        return Effect(
            summary=", ".join(words), amount=Quantity(amount=self.freed_bytes, unit="bytes"), evidence=evidence
        )


def delete_files(
    host: Host, arguments: DeleteFiles, *, max_bytes: int, seconds: float = CHANGING_SECONDS
) -> FreedSpace:
    """Delete the listed files (operation ``host.delete_old_files``).

    Each is reached from ``/`` without following a link, must lie below ``root``, be the same unchanged file, and be
    open in no program; else it is skipped, with the reason. One that is gone already is no error. A file that would
    exceed ``max_bytes`` is skipped.

    Raises:
        ReadOnlyFilesystemError: nothing was deleted.
        NightshiftError: as :func:`ask`.
    """
    return _change(host, "delete files", arguments, max_bytes, seconds)


def archive_files(
    host: Host, arguments: ArchiveFiles, *, max_bytes: int, seconds: float = CHANGING_SECONDS
) -> FreedSpace:
    """Move the listed files to another filesystem (``host.archive_files``; test_watcher.HighDiskUsage.r1.5).

    Each is copied below ``to`` under its whole path, synced, read back and compared by SHA-256, and only then deleted
    as by :func:`delete_files`. Where that fails the original stays and no half copy is left. The archive keeps 5 %
    of its filesystem free.

    Raises:
        ReadOnlyFilesystemError: nothing was deleted.
        NightshiftError: as :func:`ask`.
    """
    return _change(host, "archive files", arguments, max_bytes, seconds)


def apply_backup_retention(
    host: Host, arguments: ApplyBackupRetention, *, max_bytes: int, seconds: float = CHANGING_SECONDS
) -> FreedSpace:
    """Delete old backups, after every one that is to stay was proven good once more (``backup.apply_retention``).

    Raises:
        TargetChangedError: one that is to stay is missing, changed or not proven; nothing was deleted.
        ReadOnlyFilesystemError: nothing was deleted.
        NightshiftError: as :func:`ask`.
    """
    return _change(host, "apply backup retention", arguments, max_bytes, seconds)


def cut_log(host: Host, arguments: CutLog, *, max_bytes: int, seconds: float = CHANGING_SECONDS) -> FreedSpace:
    """Give back the space of a live log's head and keep at least ``keep_tail`` bytes (``host.truncate_logs``).

    The filesystem removes the head in one step, so that no line is lost however the log is written; see
    :mod:`~nightshift.remediation.clients.host_probe.script.cutting`. With ``save_to`` a compressed copy of the whole
    log, compared by SHA-256, is on another filesystem first.

    Raises:
        TargetChangedError: another file has the name now, or it has a second name; nothing was cut.
        DiskFullError: there is no room for the copy; nothing was cut.
        CommandFailedError: the filesystem can do it only with loss (neither ext4, xfs, btrfs nor tmpfs).
        ReadOnlyFilesystemError: nothing was cut.
        NightshiftError: as :func:`ask`.
    """
    return _change(host, f"cut {arguments.file.path}", arguments, max_bytes, seconds)


def release_deleted_file(
    host: Host, arguments: ReleaseDeletedFile, *, max_bytes: int, seconds: float = CHANGING_SECONDS
) -> FreedSpace:
    """Cut a deleted file that a program still holds to nothing, through the program's own descriptor.

    When the program or its descriptor is gone, so is the file, and nothing is done.

    Raises:
        TargetChangedError: it has a name again, grew beyond the bound, or is mapped into a program's memory.
        NightshiftError: as :func:`ask`.
    """
    return _change(host, f"release {arguments.path}", arguments, max_bytes, seconds)


def vacuum_journal(
    host: Host, arguments: VacuumJournal, *, max_bytes: int, seconds: float = CHANGING_SECONDS
) -> FreedSpace:
    """Let ``journalctl`` remove archived journal files, oldest first; active ones stay.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    return _change(host, "vacuum the journal", arguments, max_bytes, seconds)


def clean_package_cache(
    host: Host, arguments: CleanPackageCache, *, max_bytes: int, seconds: float = CHANGING_SECONDS
) -> FreedSpace:
    """Let the package manager empty its cache (``apt-get clean``).

    Raises:
        TargetChangedError: the cache grew beyond the bound; nothing was removed.
        CommandFailedError: the package manager is unknown, or busy.
        NightshiftError: as :func:`ask`.
    """
    return _change(host, "clean the package cache", arguments, max_bytes, seconds)


def prune_docker(
    host: Host, arguments: PruneDocker, *, max_bytes: int, seconds: float = CHANGING_SECONDS
) -> FreedSpace:
    """Remove the listed images, or old build cache (``docker.prune``, ``host.prune_images``).

    An image that a container was made from, or that is among the newest of a repository, stays, as do all containers
    and volumes. This is what bybit_strategy_tester.DiskSpaceCritical.r1.4 means by ``docker system prune``.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    return _change(host, "prune Docker", arguments, max_bytes, seconds)


def check_files(host: Host, arguments: DeleteFiles) -> None:
    """The precondition of deleting and archiving.

    Raises:
        TargetChangedError: none of the listed files is left unchanged.
        NightshiftError: as :func:`ask`.
    """
    states = look_at_files(host, arguments.files)
    if all(state.state == "changed" for state in states):
        raise TargetChangedError(f"None of the {len(states)} listed files is as it was: {states[0].reason}.")


def check_archive(host: Host, arguments: ArchiveFiles) -> None:
    """The precondition of archiving.

    Raises:
        TargetChangedError, CommandFailedError: nothing is left to archive, or the archive cannot be used.
        NightshiftError: as :func:`ask`.
    """
    check_files(host, arguments)
    device = arguments.files[0].device
    ask(host, "use the archive", "copies", seconds=MEASURING_SECONDS, to=path_text(arguments.to), device=device)


def check_backups(host: Host, arguments: ApplyBackupRetention, *, seconds: float = CHANGING_SECONDS) -> None:
    """The precondition of retention.

    Raises:
        TargetChangedError: a backup that is to stay is missing, changed or not proven good.
        NightshiftError: as :func:`ask`.
    """
    check_files(host, arguments)
    ask(host, "apply backup retention", "kept_backups", seconds=seconds, **_json(arguments))


def check_log(host: Host, arguments: CutLog) -> None:
    """The precondition of cutting a log.

    Raises:
        TargetChangedError: another file has its name now, or none.
        NightshiftError: as :func:`ask`.
    """
    (state,) = look_at_files(host, (arguments.file,), may_grow=True)
    if state.state != "unchanged":
        raise TargetChangedError(f"{arguments.file.path} is {state.state}: {state.reason or 'it is no longer there'}.")


def observe_files(host: Host, arguments: DeleteFiles) -> Observation:
    """Whether every listed file is gone, by deleting, archiving or retention."""
    states = look_at_files(host, arguments.files)
    return _done(all(state.state == "gone" for state in states))


def observe_log(host: Host, arguments: CutLog) -> Observation:
    """Whether the log takes less than when it was listed: logs do not shrink by themselves."""
    (state,) = look_at_files(host, (arguments.file,), may_grow=True)
    return _done(state.state == "unchanged" and state.allocated < arguments.file.allocated)


def observe_release(host: Host, arguments: ReleaseDeletedFile, *, allocated: int) -> Observation:
    """Whether the deleted file is gone, or takes less than the ``allocated`` bytes it took when it was listed."""
    held = ask(host, "look at a deleted file", "held", seconds=MEASURING_SECONDS, **_json(arguments))
    return _done(not held or held[0] < allocated)


def observe_journal(host: Host, arguments: VacuumJournal) -> Observation:
    """Whether the journal is at most as large as it was to be, or has nothing archived left."""
    answer = ask(host, "look at the journal", "journal", seconds=MEASURING_SECONDS, directory=arguments.directory)
    fact = parse(JournalFact, answer)
    return _done(fact.allocated <= arguments.keep or fact.archived == 0)


def observe_package_cache(host: Host, arguments: CleanPackageCache) -> Observation:
    """Whether no downloaded package is left."""
    answer = ask(
        host, "look at the package cache", "package_cache", seconds=MEASURING_SECONDS, directory=arguments.directory
    )
    return _done(answer is None or parse(PackageCacheFact, answer).files == 0)


def observe_docker(host: Host, arguments: PruneDocker) -> Observation:
    """Whether the listed images and the old build cache are gone."""
    left = ask(host, "look at Docker", "docker_left", seconds=MEASURING_SECONDS, **_json(arguments))
    return _done(not left["images"] and not left["build_cache"])


def _done(is_done: bool) -> Observation:
    return Observation.DONE if is_done else Observation.NOT_DONE


def _json(arguments: ActionArguments) -> dict[str, Any]:
    """The arguments as the probe takes them; directories that came from the catalogue in its escaped form."""
    values: dict[str, Any] = arguments.to_json()
    for name in ("root", "to", "save_to"):
        if isinstance(value := values.get(name), str):
            values[name] = path_text(value)
    return values


def _change(host: Host, what: str, arguments: ActionArguments, max_bytes: int, seconds: float) -> FreedSpace:
    answer = ask(host, what, arguments.KIND, seconds=seconds, max_bytes=max_bytes, **_json(arguments))
    return FreedSpace(
        freed_bytes=answer["freed"],
        measured_bytes=answer["measured"],
        items=_items(answer.get("items", ())),
        method=answer.get("method") or "",
        saved_as=answer.get("saved_as") or "",
    )


def _items(items: Sequence[dict[str, Any]]) -> tuple[ItemResult, ...]:
    return tuple(
        parse(
            ItemResult,
            {
                "item": item["path"],
                "result": item["result"],
                "reason": item["reason"],
                "freed_bytes": item["freed"],
            },
        )
        for item in items
    )
