"""Everything a policy allows to free, as candidates in order of harm; the planner takes what it needs of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from nightshift.remediation.disk_space import drafts
from nightshift.remediation.disk_space.diagnosis import DeletedOpenFile, DiskSpaceDiagnosis, FileFact, RuleFiles
from nightshift.remediation.disk_space.drafts import Draft
from nightshift.remediation.disk_space.guards import (
    BACKUP_DELETION,
    DELETION,
    LOG_CUT,
    Guard,
    Rule,
    Scene,
    named_by,
    sift,
)
from nightshift.remediation.disk_space.policy import FileRule
from nightshift.remediation.disk_space.retention import must_stay, places, removable_images, retain
from nightshift.remediation.disk_space.space import Space
from nightshift.remediation.models import Action, Impact, Quantity, Refusal, Risk, Target
from nightshift.remediation.text import counted, listed, printable

BLOCK = 4096
"""Files take space in blocks of this many bytes."""

T = TypeVar("T")


@dataclass(frozen=True)
class Candidate(Generic[T]):
    """One action that could be planned, of parts that can be taken one by one, least harmful first."""

    risk: Risk
    parts: tuple[T, ...]
    gain_of: Callable[[T], Space]
    draft: Callable[[tuple[T, ...], Space], Draft]

    def take(self, target: Target, need: Space) -> tuple[Action, Space] | None:
        """The action on as few leading parts as the need asks for, with its gain; None when nothing here helps."""
        chosen: list[T] = []
        gained = Space()
        for part in self.parts:
            if not (need - gained):
                break
            if (gain := self.gain_of(part)).helps(need - gained):
                chosen.append(part)
                gained += gain
        if not chosen:
            return None
        shown = gained if need.inodes else Space(gained.bytes)
        draft = self.draft(tuple(chosen), shown)
        action = Action(
            kind=draft.arguments.KIND,
            target=target,
            arguments=draft.arguments.to_json(),
            items=draft.items,
            title=draft.title,
            reason=draft.reason,
            risk=self.risk,
            bound=Quantity(amount=int(gained.bytes * draft.slack), unit="bytes"),
            gain=gained.quantity(need),
            undo=draft.undo,
            impact=Impact(what=draft.what, how_much=str(shown), users=draft.users),
        )
        return action, gained


@dataclass
class Survey:
    """Walks the diagnosis once, in order of harm, and collects candidates and refusals."""

    diagnosis: DiskSpaceDiagnosis
    scene: Scene
    refusals: list[Refusal] = field(default_factory=list)
    claimed: set[object] = field(default_factory=set)
    """Places of files that a rule already has as candidates, so that overlapping rules plan a file once."""

    def candidates(self) -> list[Candidate[Any]]:
        """Everything allowed, least harmful first."""
        policy, seen = self.scene.policy, self.diagnosis
        groups: tuple[Iterable[Candidate[Any]], ...] = (
            self._package_cache(),
            self._journal(),
            self._deletions(Risk.LOW, "rotated log", policy.rotated_logs, seen.rotated_logs),
            self._deletions(Risk.MEDIUM, "temporary file", policy.temporary_files, seen.temporary_files),
            self._docker(),
            self._deletions(Risk.MEDIUM, "core dump", policy.core_dumps, seen.core_dumps),
            self._archives(),
            self._live_logs(),
            self._deleted_open(),
            self._backups(),
        )
        return [candidate for group in groups for candidate in group]

    def _package_cache(self) -> Iterator[Candidate[Any]]:
        cache = self.diagnosis.package_cache
        if cache is not None and self.scene.policy.package_cache:
            yield _whole(Risk.LOW, Space(cache.allocated, cache.files), partial(drafts.package_cache, cache))

    def _journal(self) -> Iterator[Candidate[Any]]:
        journal, rule = self.diagnosis.journal, self.scene.policy.journal
        if journal is not None and rule is not None:
            surplus = max(0, min(journal.archived, journal.allocated - rule.keep))
            yield _whole(Risk.LOW, Space(surplus), partial(drafts.journal, journal, rule))

    def _deletions(
        self, risk: Risk, noun: str, rules: Sequence[FileRule], found: Sequence[RuleFiles]
    ) -> Iterator[Candidate[Any]]:
        for facts in found:
            rule = rules[facts.rule]
            files = self._pick(facts.files, DELETION, rule, noun)
            yield Candidate(risk, files, _space_of, partial(drafts.deletion, rule, noun))

    def _docker(self) -> Iterator[Candidate[Any]]:
        docker, rule = self.diagnosis.docker, self.scene.policy.docker
        if docker is None or rule is None:
            return
        yield _whole(Risk.MEDIUM, Space(max(0, docker.build_cache_old_bytes)), partial(drafts.build_cache, rule))
        go, stay = removable_images(docker, rule, self.scene.now)
        yield Candidate(Risk.MEDIUM, tuple(go), lambda i: Space(max(0, i.size)), partial(drafts.images, rule))
        for reason, images in stay.items():
            names = [printable(image.tags[0] if image.tags else image.id, 60) for image in images]
            self._refuse(f"{counted(len(images), 'Docker image')}: {listed(names)}", reason)
        for number, noun in (
            (docker.stopped_containers, "stopped container"),
            (docker.unused_volumes, "unused volume"),
        ):
            if number:
                self._refuse(f"{counted(number, noun)} of Docker", "they can hold the only copy of someone's work")

    def _archives(self) -> Iterator[Candidate[Any]]:
        for facts in self.diagnosis.archives:
            rule = self.scene.policy.archives[facts.rule]
            files = self._pick(facts.files, DELETION, rule, "file to archive", "files to archive")
            yield Candidate(Risk.MEDIUM, files, _space_of, partial(drafts.archiving, rule))

    def _live_logs(self) -> Iterator[Candidate[Any]]:
        for facts in self.diagnosis.live_logs:
            rule = self.scene.policy.live_logs[facts.rule]
            tail = -(-rule.keep_tail // BLOCK) * BLOCK
            for file in self._pick(facts.files, LOG_CUT, rule, "live log"):
                gain = Space(max(0, file.allocated - tail))
                yield _whole(Risk.MEDIUM, gain, partial(drafts.log_cut, rule, file))

    def _deleted_open(self) -> Iterator[Candidate[Any]]:
        for file in deleted_open_once(self.diagnosis):
            if named_by(file.path, self.scene.policy.release_deleted_files):
                yield _whole(Risk.MEDIUM, Space(file.allocated), partial(drafts.release, file))

    def _backups(self) -> Iterator[Candidate[Any]]:
        listings, rules = self.diagnosis.backups, self.scene.policy.backups
        retentions = [retain(listing, rule) for listing, rule in zip(listings, rules, strict=bool(listings))]
        stay = must_stay(listings, retentions)
        for retention in retentions:
            if retention.refusal:
                self.refusals.append(retention.refusal)
            free = [file for file in retention.may_go if not places([file]) & stay]
            files = self._pick(free, BACKUP_DELETION, retention.rule, "backup")
            yield Candidate(Risk.HIGH, files, _space_of, partial(drafts.backups, retention))

    def _pick(
        self, files: Iterable[FileFact], guards: Sequence[Guard], rule: Rule, noun: str, plural: str | None = None
    ) -> tuple[FileFact, ...]:
        """Files that pass the guards and that no earlier rule has, oldest first."""
        free, refused = sift(files, guards, rule, self.scene, (noun, plural))
        self.refusals += refused
        picked = []
        for file in sorted(free, key=lambda file: (file.modified_ns, file.path)):
            if not places([file]) & self.claimed:
                self.claimed |= places([file])
                picked.append(file)
        return tuple(picked)

    def _refuse(self, what: str, reason: str) -> None:
        self.refusals.append(Refusal(what=what, reason=reason))


def deleted_open_once(diagnosis: DiskSpaceDiagnosis) -> list[DeletedOpenFile]:
    """Deleted but open files of this filesystem that keep space, largest first, with one of their holders each."""
    first: dict[int, DeletedOpenFile] = {}
    for file in sorted(diagnosis.deleted_open, key=lambda f: (f.process.pid, f.process.started, f.descriptor)):
        if file.device == diagnosis.usage.device and file.allocated > 0:
            first.setdefault(file.inode, file)
    return sorted(first.values(), key=lambda file: (-file.allocated, file.inode))


def _whole(risk: Risk, gain: Space, draft: Callable[[Space], Draft]) -> Candidate[Space]:
    return Candidate(risk, (gain,), lambda part: part, lambda _, gained: draft(gained))


def _space_of(file: FileFact) -> Space:
    return Space(max(0, file.allocated), 1)
