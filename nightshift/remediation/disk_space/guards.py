"""Reasons not to touch a file, each one small predicate; what they keep is shown to the approver.

Modelled on the drain filters of kubectl: a guard answers None ("no objection") or why the file stays.
"""

# ruff: noqa: ARG001  every guard has the same signature, whether it looks at all of it or not

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from nightshift.remediation.disk_space.diagnosis import FileFact
from nightshift.remediation.disk_space.policy import DiskSpacePolicy, FileRule, LiveLogRule
from nightshift.remediation.models import Refusal
from nightshift.remediation.text import age_in_words, counted, listed, printable

Rule = FileRule | LiveLogRule
PROOF_SUFFIXES = (".sha256", ".verified")
"""Files beside a backup that prove it (see :class:`BackupRule`)."""


@dataclass(frozen=True)
class Scene:
    """What every guard may look at."""

    device: int
    now: float
    policy: DiskSpacePolicy


@dataclass(frozen=True)
class Kept:
    """Why a file stays."""

    reason: str
    lifted_by: str | None = None
    detail: str = ""
    """About this one file, such as who holds it open; printable."""


Guard = Callable[[FileFact, Rule, Scene], Kept | None]


def outside_directory(file: FileFact, rule: Rule, scene: Scene) -> Kept | None:
    """Only what plainly lies below the rule's directory."""
    parts = file.path.split("/")
    if file.path.startswith(rule.directory + "/") and not {"", ".", ".."} & set(parts[1:]) and "\0" not in file.path:
        return None
    return Kept("it does not lie below the rule's directory")


def other_name(file: FileFact, rule: Rule, scene: Scene) -> Kept | None:
    """Only names the rule asks for."""
    return None if named_by(file.path, rule.patterns) else Kept("its name matches no pattern of the rule")


def other_filesystem(file: FileFact, rule: Rule, scene: Scene) -> Kept | None:
    """Freeing space elsewhere does not help, and nobody asked for it."""
    return None if file.device == scene.device else Kept("it lies on another filesystem")


def several_names(file: FileFact, rule: Rule, scene: Scene) -> Kept | None:
    """Deleting one of several hard links frees nothing; cutting the content would hurt the other name."""
    if file.links == 1:
        return None
    return Kept("it has more than one name (hard links), so that its space would not be freed")


def held_open(file: FileFact, rule: Rule, scene: Scene) -> Kept | None:
    """Deleting an open file frees nothing and takes the log or the content away from the program."""
    if not file.open_by:
        return None
    holder = file.open_by[0]
    return Kept(
        "a program holds it open",
        "end the program, or let a live_logs rule cut the file",
        f"{printable(holder.command, 40)}, pid {holder.pid}",
    )


def too_young(file: FileFact, rule: Rule, scene: Scene) -> Kept | None:
    """Only what was left alone for the rule's age, by the target's clock; a time in the future is young too."""
    if isinstance(rule, LiveLogRule) or scene.now - file.modified_ns / 1e9 >= rule.older_than:
        return None
    return Kept(f"it changed less than {age_in_words(rule.older_than)} ago", "a smaller older_than in the rule")


def live_log(file: FileFact, rule: Rule, scene: Scene) -> Kept | None:
    """A live log is cut in place, never deleted, even while its program happens to have it closed."""
    if not any(covers(live, file.path) for live in scene.policy.live_logs):
        return None
    return Kept("it is a live log, which may only be cut in place", "narrower patterns in live_logs")


def is_backup(file: FileFact, rule: Rule, scene: Scene) -> Kept | None:
    """Backups and their proofs go by the retention rule only, whatever other rules would match them."""
    names = [file.path, *(file.path.removesuffix(suffix) for suffix in PROOF_SUFFIXES)]
    if not any(covers(backup, name) for backup in scene.policy.backups for name in names):
        return None
    return Kept("it is a backup, which only the backup retention may delete")


def small_log(file: FileFact, rule: Rule, scene: Scene) -> Kept | None:
    """A live log below the rule's size is left alone; a size that is only a hole frees nothing either."""
    if isinstance(rule, LiveLogRule) and min(file.size, file.allocated) <= max(rule.larger_than, rule.keep_tail):
        return Kept("it is smaller than the rule asks for", "a smaller larger_than in the rule")
    return None


EVERY_FILE: tuple[Guard, ...] = (outside_directory, other_name, other_filesystem, several_names)
DELETION: tuple[Guard, ...] = (*EVERY_FILE, is_backup, live_log, held_open, too_young)
LOG_CUT: tuple[Guard, ...] = (*EVERY_FILE, is_backup, small_log)
BACKUP_DELETION: tuple[Guard, ...] = (*EVERY_FILE, held_open, too_young)


def named_by(path: str, patterns: Sequence[str]) -> bool:
    """Whether the file name matches one of the patterns."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def covers(rule: Rule, path: str) -> bool:
    """Whether the rule speaks of this path."""
    return path.startswith(rule.directory + "/") and named_by(path, rule.patterns)


def sift(
    files: Iterable[FileFact], guards: Sequence[Guard], rule: Rule, scene: Scene, noun: tuple[str, str | None]
) -> tuple[list[FileFact], list[Refusal]]:
    """The files no guard objects to, and one refusal per objection with the files it keeps."""
    free: list[FileFact] = []
    kept: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for file in files:
        objection = next((answer for guard in guards if (answer := guard(file, rule, scene))), None)
        if objection is None:
            free.append(file)
        else:
            name = printable(PurePosixPath(file.path).name, 60)
            detail = f" ({objection.detail})" if objection.detail else ""
            kept[objection.reason, objection.lifted_by].append(name + detail)
    where = printable(rule.directory)
    refusals = [
        Refusal(what=f"{counted(len(names), *noun)} below {where}: {listed(names)}", reason=reason, lifted_by=lifted_by)
        for (reason, lifted_by), names in kept.items()
    ]
    return free, refusals
