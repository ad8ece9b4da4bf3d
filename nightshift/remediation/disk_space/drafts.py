"""How each action is written down: its arguments, what it covers, and the words the approver reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.disk_space.arguments import (
    ApplyBackupRetention,
    ArchiveFiles,
    CleanPackageCache,
    CutLog,
    DeleteFiles,
    ListedFile,
    PruneDocker,
    ReleaseDeletedFile,
    VacuumJournal,
)
from nightshift.remediation.disk_space.diagnosis import (
    DeletedOpenFile,
    DockerImageFact,
    FileFact,
    JournalFact,
    PackageCacheFact,
)
from nightshift.remediation.disk_space.policy import ArchiveRule, DockerRule, FileRule, JournalRule, LiveLogRule
from nightshift.remediation.disk_space.retention import Retention
from nightshift.remediation.disk_space.space import Space
from nightshift.remediation.models import format_bytes
from nightshift.remediation.text import age_in_words, counted, listed, printable

GROWTH_SLACK = 1.5
"""What is still growing may have grown this much, as a factor, and is still covered by an approval."""
UNOPENED = "0 programs that can be seen"
"""Who uses a file that nothing holds open."""
DOWNLOADS_AGAIN = "cannot be undone; downloads again when needed"


@dataclass(frozen=True)
class Draft:
    """An action but for its target, risk and amounts."""

    arguments: ActionArguments
    items: tuple[str, ...]
    title: str
    reason: str
    undo: str
    what: str
    """What is touched, for the impact."""
    users: str
    """Who uses that."""
    slack: float = 1
    """Factor of the bound over the gain; 1 for lists, which are exact."""


def package_cache(cache: PackageCacheFact, gain: Space) -> Draft:
    """Clear the package cache."""
    name, where = printable(cache.manager, 20), printable(cache.directory)
    return Draft(
        CleanPackageCache(manager=cache.manager, directory=cache.directory),
        (f"{cache.manager}:{cache.directory}",),
        f"Clear the package cache of {name} in {where} ({gain})",
        "Downloaded packages are only copies.",
        DOWNLOADS_AGAIN,
        f"downloaded packages in {where}",
        "nobody until they are installed anew",
        GROWTH_SLACK,
    )


def journal(fact: JournalFact, rule: JournalRule, gain: Space) -> Draft:
    """Vacuum the archived journal."""
    return Draft(
        VacuumJournal(directory=fact.directory, keep=rule.keep),
        (fact.directory,),
        f"Remove the oldest archived journal files, keeping {format_bytes(rule.keep)} ({gain})",
        "The policy keeps only the newest part of the systemd journal.",
        CANNOT_BE_UNDONE,
        "archived files of the systemd journal",
        "whoever reads its older entries",
        GROWTH_SLACK,
    )


def deletion(rule: FileRule, noun: str, files: Sequence[FileFact], gain: Space) -> Draft:
    """Delete listed files."""
    evidence = " They are evidence of crashes: save first what is still to be looked at." * (noun == "core dump")
    return Draft(
        DeleteFiles(root=rule.directory, files=_listing(files)),
        tuple(file.identity for file in files),
        _title("Delete", noun, rule, files, gain),
        f"The policy keeps them no longer than that, and no program holds them open.{evidence}",
        CANNOT_BE_UNDONE,
        _what(noun, rule, files),
        UNOPENED,
    )


def build_cache(rule: DockerRule, gain: Space) -> Draft:
    """Prune old build cache."""
    return Draft(
        PruneDocker(host=rule.host, build_cache_older_than=rule.build_cache_older_than),
        (f"build cache of {rule.host}",),
        f"Remove Docker build cache unused for {age_in_words(rule.build_cache_older_than)} ({gain})",
        "It only makes builds faster.",
        "cannot be undone; built again when needed",
        "Docker build cache",
        "no build that runs now; the next ones take longer",
        GROWTH_SLACK,
    )


def images(rule: DockerRule, unused: Sequence[DockerImageFact], gain: Space) -> Draft:
    """Remove unused images."""
    age, places = age_in_words(rule.images_older_than), {image.repository for image in unused}
    return Draft(
        PruneDocker(
            host=rule.host,
            images=tuple(image.id for image in unused),
            keep_newest=rule.keep_images_per_repository,
        ),
        tuple(image.id for image in unused),
        f"Remove {counted(len(unused), 'Docker image')} without containers, older than {age} ({gain})",
        f"No container was made from them; the newest {rule.keep_images_per_repository} of each repository stay.",
        "pull them again, as long as their registry has them; images built here are gone",
        f"{counted(len(unused), 'Docker image')} of {counted(len(places), 'repository', 'repositories')}",
        "0 containers, running or stopped",
    )


def archiving(rule: ArchiveRule, files: Sequence[FileFact], gain: Space) -> Draft:
    """Move listed files to another filesystem."""
    to = printable(rule.to)
    return Draft(
        ArchiveFiles(root=rule.directory, to=rule.to, files=_listing(files)),
        tuple(file.identity for file in files),
        f"{_title('Move', 'file', rule, files, gain)} to {to}",
        "The policy keeps them elsewhere; each one is deleted here only after its copy was compared by checksum.",
        f"restore from {to}",
        _what("file", rule, files),
        UNOPENED,
    )


def log_cut(rule: LiveLogRule, file: FileFact, gain: Space) -> Draft:
    """Cut a live log in place."""
    name, tail = printable(file.path), format_bytes(rule.keep_tail)
    saving = f", after saving all of it to {printable(rule.save_to)}" if rule.save_to else ""
    return Draft(
        CutLog(root=rule.directory, file=ListedFile.of(file), keep_tail=rule.keep_tail, save_to=rule.save_to),
        (file.identity,),
        f"Cut the log {name} to its newest {tail}{saving} ({gain})",
        f"It is larger than {format_bytes(rule.larger_than)} and may still be written, so it is cut, not deleted.",
        f"restore from {printable(rule.save_to)}" if rule.save_to else CANNOT_BE_UNDONE,
        f"the log {name}",
        _writers(file),
        GROWTH_SLACK,
    )


def release(file: DeletedOpenFile, gain: Space) -> Draft:
    """Cut a deleted file that is still open."""
    arguments = ReleaseDeletedFile.of(file)
    holder = f"{printable(file.process.command, 40)} (pid {file.process.pid})"
    return Draft(
        arguments,
        (arguments.identity,),
        f"Cut the deleted file {printable(file.path)} that {holder} holds open ({gain})",
        "Its name is gone already; only the open program still keeps its space.",
        CANNOT_BE_UNDONE,
        f"the deleted file {printable(file.path)}",
        holder,
        GROWTH_SLACK,
    )


def backups(retention: Retention, files: Sequence[FileFact], gain: Space) -> Draft:
    """Delete backups beyond the retention."""
    rule = retention.rule
    return Draft(
        ApplyBackupRetention(
            root=rule.directory, files=_listing(files), keep=_listing(retention.keep), verified_by=rule.verified_by
        ),
        tuple(file.identity for file in files),
        _title("Delete", "backup", rule, files, gain),
        f"The newest {len(retention.keep)} verified backups, and everything newer than them, stay.",
        CANNOT_BE_UNDONE,
        _what("backup", rule, files),
        f"{UNOPENED}; the newest {len(retention.keep)} verified ones stay",
    )


def _listing(files: Sequence[FileFact]) -> tuple[ListedFile, ...]:
    return tuple(ListedFile.of(file) for file in files)


def _what(noun: str, rule: FileRule, files: Sequence[FileFact]) -> str:
    return f"{counted(len(files), noun)} below {printable(rule.directory)}"


def _writers(file: FileFact) -> str:
    programs = [f"{printable(process.command, 40)} (pid {process.pid})" for process in file.open_by]
    return f"{counted(len(programs), 'program')}: {listed(programs)}" if programs else UNOPENED


def _title(verb: str, noun: str, rule: FileRule, files: Sequence[FileFact], gain: Space) -> str:
    age = age_in_words(rule.older_than)
    return f"{verb} {counted(len(files), noun)} older than {age} below {printable(rule.directory)} ({gain})"
