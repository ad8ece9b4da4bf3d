"""What may be behind requests that fail or are slow, the more certain first. Pure.

What does not answer at all is a fact, as is a full disk; that the trouble began with a release is measured; what a log
says is a hint, for programs also complain of effects. Serves the decision rules of http_error_rate_response
and request_latency_response.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from nightshift.remediation.models import HandOver
from nightshift.remediation.requests.evidence import Answered, RequestEvidence
from nightshift.remediation.requests.failing_calls import failing_elsewhere
from nightshift.remediation.requests.groups import Meaning, dominant, of_meaning
from nightshift.remediation.requests.policy import RequestsPolicy
from nightshift.remediation.requests.shares import share_of
from nightshift.remediation.text import counted, listed

_MOSTLY = 0.5
"""Of the errors: from here on a status dominates."""


class Cause(StrEnum):
    """Why requests fail or are slow."""

    DEPENDENCY = "something it needs does not answer"
    DISK = "its disk is full"
    RELEASE = "its newest release"
    POOL = "connections to its database are used up"
    MEMORY = "memory"
    DOWNSTREAM = "a service that it asks is slow or fails"
    RATE_LIMIT = "somebody else finds that we ask too often"
    EXTERNAL = "a service of others does not answer"
    REFUSED = "our credentials are not accepted"
    UNAUTHORISED = "most requests are not authorised"
    CLIENTS = "most requests are wrong themselves (4xx)"
    MIGRATION = "its database lacks a table or column that it asks for"
    UNKNOWN = "no cause was found"


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """One cause, and what speaks for it; printable."""

    cause: Cause
    words: str
    repaired_by: str = ""
    """The alert whose runbook repairs it; empty: none is named."""
    answered: Answered | None = None
    """The thing that requests need, where it is about one."""
    seen: bool = False
    """Whether it was measured a moment ago, and not only read in a log."""
    place: dict[str, str] = field(default_factory=dict)
    """Where it is, by kind, as the runbook that repairs it names its target."""
    certain: bool = False
    """Whether it is a fact that going back to an older release could not change."""


def suspects(evidence: RequestEvidence, policy: RequestsPolicy) -> tuple[Suspect, ...]:
    """Every cause that something speaks for, the more certain first; the release is judged by itself."""
    return (
        *_down(evidence),
        *_disk(evidence, policy),
        *_pool(evidence, policy),
        *_memory(evidence, policy),
        *_hints(evidence),
    )


def _down(evidence: RequestEvidence) -> Iterator[Suspect]:
    """What does not answer: our own first, since what belongs to others is only waited for."""
    silent = [one for one in evidence.dependencies if one.answers is False and not one.itself]
    for one in sorted(silent, key=lambda one: one.external):
        cause = Cause.EXTERNAL if one.external else Cause.DEPENDENCY
        words = f"{one.name} does not work: {one.says}"
        by, ours = one.repaired_by, not one.external
        yield Suspect(cause=cause, words=words, repaired_by=by, answered=one, certain=ours, seen=True)


def _disk(evidence: RequestEvidence, policy: RequestsPolicy) -> Iterator[Suspect]:
    percent, rule = evidence.pressure.disk_percent, policy.disk
    if rule is not None and percent is not None and percent >= rule.full_percent:
        words = f"its disk is {percent:.1f} % full"
        place = {"host": rule.host, "filesystem": rule.mount}
        by = rule.repaired_by
        yield Suspect(cause=Cause.DISK, words=words, repaired_by=by, place=place, certain=True, seen=True)
    elif (group := of_meaning(evidence.groups, Meaning.DISK)) is not None:
        by = rule.repaired_by if rule is not None else ""
        yield Suspect(cause=Cause.DISK, words=f"its log says so: {group.example}", repaired_by=by)


def _pool(evidence: RequestEvidence, policy: RequestsPolicy) -> Iterator[Suspect]:
    own = evidence.pressure.pool_percent
    if own is not None and own >= policy.pool_percent:
        words = f"{own:.0f} % of its connection pool is in use"
        yield Suspect(cause=Cause.POOL, words=words, repaired_by=policy.pool_repaired_by, seen=True)
    for one in evidence.dependencies:
        if one.full and one.answers is not False:
            by = one.pool_repaired_by or policy.pool_repaired_by or one.repaired_by
            yield Suspect(cause=Cause.POOL, words=f"{one.name}: {one.says}", repaired_by=by, answered=one, seen=True)
    if (group := of_meaning(evidence.groups, Meaning.POOL)) is not None:
        named = [one.pool_repaired_by for one in evidence.dependencies if one.pool_repaired_by]
        by = policy.pool_repaired_by or (named[0] if named else "")
        yield Suspect(cause=Cause.POOL, words=f"its log says so: {group.example}", repaired_by=by)


def _memory(evidence: RequestEvidence, policy: RequestsPolicy) -> Iterator[Suspect]:
    pressure, by = evidence.pressure, policy.memory_repaired_by
    if pressure.killed:
        words = f"{listed(list(pressure.killed))} {'was' if len(pressure.killed) == 1 else 'were'} killed for memory"
        yield Suspect(cause=Cause.MEMORY, words=words, repaired_by=by)
    elif pressure.memory_percent is not None and pressure.memory_percent >= policy.memory_percent:
        words = f"it uses {pressure.memory_percent:.0f} % of its memory limit"
        yield Suspect(cause=Cause.MEMORY, words=words, repaired_by=by)


def _hints(evidence: RequestEvidence) -> Iterator[Suspect]:
    for one in evidence.dependencies:
        if one.slow:
            words = f"{one.name}: {one.says}"
            yield Suspect(cause=Cause.DOWNSTREAM, words=words, repaired_by=one.repaired_by, answered=one)
        if one.limits_us:
            yield Suspect(cause=Cause.RATE_LIMIT, words=f"{one.name}: {one.says}", answered=one)
        elif one.refuses_us:
            yield Suspect(cause=Cause.REFUSED, words=f"{one.name}: {one.says}", answered=one)
    elsewhere = failing_elsewhere(evidence.failing, evidence.name)
    if elsewhere is not None and not any(one.slow for one in evidence.dependencies):
        yield Suspect(cause=Cause.DOWNSTREAM, words=f"most errors begin in {elsewhere.words}")
    of_log = dominant(evidence.groups)
    if of_log in _OF_LOG and (group := of_meaning(evidence.groups, of_log)) is not None:
        words = f"most errors of its log are about it ({counted(group.count, 'line')}): {group.example}"
        yield Suspect(cause=_OF_LOG[of_log], words=words)
    unauthorised = share_of(evidence.shares, "401")
    if unauthorised > _MOSTLY:
        yield Suspect(cause=Cause.UNAUTHORISED, words=f"{unauthorised:.0%} of the errors are 401")
    elif (clients := share_of(evidence.shares, "4")) > _MOSTLY:
        yield Suspect(cause=Cause.CLIENTS, words=f"{clients:.0%} of the errors are 4xx")


_OF_LOG = {
    Meaning.MIGRATION: Cause.MIGRATION,
    Meaning.RATE_LIMITED: Cause.RATE_LIMIT,
    Meaning.UNAUTHORISED: Cause.UNAUTHORISED,
    Meaning.MEMORY: Cause.MEMORY,
}


def hand_over(one: Suspect) -> HandOver | None:
    """To the runbook that repairs what was measured; what only a log says is left to its own alert."""
    if not (one.seen and one.repaired_by):
        return None
    return HandOver(runbook=one.repaired_by, place=one.place, why=one.words)


def repaired_elsewhere(found: Sequence[Suspect]) -> tuple[Suspect, ...]:
    """Those that another runbook repairs, each runbook once."""
    named: dict[str, Suspect] = {}
    for one in found:
        if one.repaired_by:
            named.setdefault(one.repaired_by, one)
    return tuple(named.values())
