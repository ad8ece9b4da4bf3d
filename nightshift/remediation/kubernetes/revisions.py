"""Which revision a Deployment can go back to: the last one that was healthy, not merely the one before.

After a failed release is followed by a failed fix, ``kubectl rollout undo`` goes back to the first failure. Here a
revision needs a proof that it worked: pods of it that are available now, a record of Nightshift, or that it stayed in
place for long enough before the next one. Serves kubernetes.rollout_history and kubernetes.rollout_undo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nightshift.remediation.durations import format_duration
from nightshift.remediation.kubernetes.marks import HEALTHY_REVISIONS
from nightshift.remediation.kubernetes.objects import Revision, Workload
from nightshift.remediation.text import counted, listed, printable


@dataclass(frozen=True, kw_only=True)
class Health:
    """What is known about how revisions did, by the digest of their pod template."""

    recorded_healthy: Mapping[str, datetime] = field(default_factory=dict)
    """When Nightshift saw it complete and well."""
    known_bad: frozenset[str] = frozenset()
    """Nightshift went back from it, or to it without success."""
    lost: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What a revision cannot start without and is not there any more: ``configmap/<name>``, ``claim/<name>``."""
    proven_after: float = 3600
    """Seconds that a revision must have stayed in place to count as healthy."""


@dataclass(frozen=True, kw_only=True)
class Proven:
    """A revision to go back to, and what shows that it worked."""

    revision: Revision
    proof: str


@dataclass(frozen=True, kw_only=True)
class WayBack:
    """The last healthy revision, or why there is none; and what was passed over on the way."""

    to: Proven | None
    why_not: str = ""
    passed_over: tuple[str, ...] = ()


def way_back(workload: Workload, revisions: Sequence[Revision], health: Health) -> WayBack:
    """The newest revision before the current one that is proven to have worked.

    Args:
        workload: the Deployment.
        revisions: all that the cluster still has, in any order.
        health: what else is known.
    """
    older = sorted((r for r in revisions if _is_older(r, workload)), key=lambda revision: revision.number, reverse=True)
    if not older:
        return WayBack(to=None, why_not="the cluster has no earlier revision with another pod template")
    passed_over: list[str] = []
    for revision in older:
        if proof := _proof(revision, workload, revisions, health):
            return WayBack(to=Proven(revision=revision, proof=proof), passed_over=tuple(passed_over))
        passed_over.append(f"revision {revision.number}: {_doubt(revision, health)}")
    why = f"none of {counted(len(older), 'earlier revision')} is known to have worked"
    return WayBack(to=None, why_not=why, passed_over=tuple(passed_over))


def released_at(workload: Workload, revisions: Sequence[Revision]) -> datetime | None:
    """When the current revision began to roll out; None where that cannot be told.

    A template that was in place before has its old ReplicaSet again, whose age says nothing; its progress does.
    """
    current = next((r for r in revisions if r.number == workload.revision and workload.revision), None)
    if current is None or current.meta.created_at is None:
        return None
    later = [r for r in revisions if r.meta.created_at is not None and r.meta.created_at > current.meta.created_at]
    return None if later else current.meta.created_at


def _is_older(revision: Revision, workload: Workload) -> bool:
    digest = revision.template.digest
    return bool(digest) and digest != workload.template.digest and 0 < revision.number < workload.revision


def _proof(revision: Revision, workload: Workload, revisions: Sequence[Revision], health: Health) -> str:
    digest = revision.template.digest
    if digest in health.known_bad or health.lost.get(digest):
        return ""  # its running pods, too, only go on until they are replaced
    if revision.available > 0:
        return f"{counted(revision.available, 'pod')} of it available at this moment"
    if (seen := health.recorded_healthy.get(digest)) is not None:
        return f"Nightshift saw it complete and well at {seen:%Y-%m-%d %H:%M} UTC"
    marked = (mark.strip() for mark in workload.meta.annotations.get(HEALTHY_REVISIONS, "").split(","))
    if digest in marked:
        return f"the annotation {HEALTHY_REVISIONS} names it"
    lived = _lived(revision, revisions)
    if lived is not None and lived >= health.proven_after:
        return f"it stayed in place for {format_duration(lived)} before the next release"
    return ""


def _lived(revision: Revision, revisions: Sequence[Revision]) -> float | None:
    """Seconds until the next revision came; None where creation times do not follow the numbers (an earlier undo)."""
    following = min((r for r in revisions if r.number > revision.number), key=lambda r: r.number, default=None)
    if following is None or revision.meta.created_at is None or following.meta.created_at is None:
        return None
    seconds = (following.meta.created_at - revision.meta.created_at).total_seconds()
    return seconds if seconds > 0 else None


def _doubt(revision: Revision, health: Health) -> str:
    if revision.template.digest in health.known_bad:
        return "Nightshift found it bad before"
    if lost := health.lost.get(revision.template.digest):
        return f"its pods could not start: there is no {listed([printable(name, 100) for name in lost])} any more"
    images = ", ".join(printable(image, 100) for image in revision.template.images[:2])
    return f"nothing shows that it worked ({images})" if images else "nothing shows that it worked"
