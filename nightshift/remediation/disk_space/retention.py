"""What must stay: the newest verified backups, and the images a rollback needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nightshift.remediation.disk_space.diagnosis import BackupFact, DockerFact, DockerImageFact, FileFact
from nightshift.remediation.disk_space.guards import PROOF_SUFFIXES
from nightshift.remediation.disk_space.policy import BackupRule, DockerRule
from nightshift.remediation.models import Refusal
from nightshift.remediation.text import age_in_words, counted, printable


@dataclass(frozen=True)
class Retention:
    """One backup rule's verdict on the backups found."""

    rule: BackupRule
    keep: tuple[FileFact, ...] = ()
    """The newest verified backups, newest first."""
    may_go: tuple[FileFact, ...] = ()
    """Older than every kept one, oldest first; other guards still apply."""
    refusal: Refusal | None = None


def retain(backups: Sequence[BackupFact], rule: BackupRule) -> Retention:
    """Keep the newest verified backups and everything newer than the oldest of them.

    A backup counts once however many names it has, and an empty file is no backup. While there are fewer verified
    ones than the rule keeps, nothing goes at all: the unverified ones may be all there is.
    """
    verified = {
        (backup.file.device, backup.file.inode): backup.file
        for backup in sorted(backups, key=lambda backup: (backup.file.modified_ns, backup.file.path))
        if backup.verified and backup.file.size > 0 and not backup.file.path.endswith(PROOF_SUFFIXES)
    }
    newest = sorted(verified.values(), key=lambda file: (-file.modified_ns, file.path))[: rule.keep_newest_verified]
    if len(newest) < rule.keep_newest_verified:
        return Retention(rule, refusal=_too_few(len(newest), len(backups), rule) if backups else None)
    older = (b.file for b in backups if b.file.modified_ns < newest[-1].modified_ns)
    may_go = sorted(
        (file for file in older if not file.path.endswith(PROOF_SUFFIXES)),
        key=lambda file: (file.modified_ns, file.path),
    )
    return Retention(rule, tuple(newest), tuple(may_go))


def _too_few(verified: int, found: int, rule: BackupRule) -> Refusal:
    return Refusal(
        what=f"Deleting any of {counted(found, 'backup')} below {printable(rule.directory)}",
        reason=f"only {verified} of them verified, but the newest {rule.keep_newest_verified} verified ones must stay",
        lifted_by="verify more backups (see verified_by in the rule)",
    )


def places(files: Iterable[FileFact]) -> set[object]:
    """Paths and inodes of the files: a file is known by either."""
    return {key for file in files for key in (file.path, (file.device, file.inode))}


def must_stay(listings: Sequence[Sequence[BackupFact]], retentions: Sequence[Retention]) -> set[object]:
    """Places of backups that at least one rule wants to stay: the strictest rule wins where rules overlap."""
    stay: set[object] = set()
    for listing, retention in zip(listings, retentions, strict=True):
        free = places(retention.may_go)
        stay |= places(b.file for b in listing if not places([b.file]) <= free) | places(retention.keep)
    return stay


def removable_images(
    docker: DockerFact, rule: DockerRule, now: float
) -> tuple[list[DockerImageFact], dict[str, list[DockerImageFact]]]:
    """Images that may go, oldest first, and those that stay, by reason."""
    newest = _newest_of_each_repository(docker.images, rule.keep_images_per_repository)
    in_use = {image.id for image in docker.images if image.containers > 0}
    go: dict[str, DockerImageFact] = {}
    stay: dict[str, list[DockerImageFact]] = defaultdict(list)
    for image in sorted(docker.images, key=lambda i: (i.created, i.id)):
        if image.id in in_use:
            stay["a container, running or stopped, was made from it"].append(image)
        elif image.id in newest:
            stay["it is among the newest of its repository, kept for a rollback"].append(image)
        elif not now - image.created >= rule.images_older_than:
            stay[f"it is younger than {age_in_words(rule.images_older_than)}"].append(image)
        else:
            go.setdefault(image.id, image)
    return list(go.values()), dict(stay)


def _newest_of_each_repository(images: Sequence[DockerImageFact], count: int) -> set[str]:
    """An image with tags in several repositories counts in each; untagged images are one more repository."""
    repositories: dict[str, list[DockerImageFact]] = defaultdict(list)
    for image in images:
        for repository in {image.repository, *(tag.rpartition(":")[0] for tag in image.tags)}:
            repositories[repository].append(image)
    newest: set[str] = set()
    for members in repositories.values():
        ids = dict.fromkeys(i.id for i in sorted(members, key=lambda i: (-i.created, i.id)))
        newest.update(list(ids)[:count])
    return newest
