"""Why tasks fail, grouped by task and error, and the least that may help.

Pure functions of what was seen and what is allowed. They follow the rules of ``job_failure_rate`` in the families and
serve bybit_strategy_tester.TaskFailureRateHigh, about which its document is silent: a restart is the last choice, and
only for failures of many tasks that nothing explains.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nightshift.remediation.compose import deciding
from nightshift.remediation.models import Action, Finding, Plan, Proposal, Refusal, Risk, Target, Verdict
from nightshift.remediation.text import counted, printable
from nightshift.remediation.workers.objects import WorkersDiagnosis
from nightshift.remediation.workers.policy import JobFailurePolicy
from nightshift.remediation.workers.repairing import NOTHING_TO_DO, Draft, repair_workers

_ENDED = re.compile(r"Task (\S{1,200})\[[^\]\n]{1,100}\] (?:(succeeded) in|raised unexpected: ([A-Za-z_][\w.]*)\((.*))")
_UNKNOWN = re.compile(r"Received unregistered task of type '?([^'\s]{1,200})")
_FULL = ("No space left", "Read-only file system", "Disk quota exceeded")
_AWAY = ("Connection", "Timeout", "OperationalError", "gaierror", "BrokenPipe", "Unreachable")
_BROKEN = ("ImportError", "ModuleNotFoundError", "NotRegistered", "SyntaxError")
_MOST = 0.5
"""A cause of more than this share of the failures is the cause."""


@dataclass(frozen=True, kw_only=True)
class Failures:
    """How tasks ended, by the log of their workers."""

    succeeded: int = 0
    failed: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By name of the task and of its error; hostile text."""
    full: int = 0
    """How many failed for want of room on a disk."""

    @property
    def count(self) -> int:
        """How many failed."""
        return sum(self.failed.values())

    @property
    def ratio(self) -> float:
        """The share that failed; 0 when none ended."""
        ended = self.count + self.succeeded
        return self.count / ended if ended else 0.0

    def share(self, words: tuple[str, ...]) -> float:
        """The share of the failures whose error has one of these words in its name."""
        found = sum(many for (_, error), many in self.failed.items() if any(word in error for word in words))
        return found / self.count if self.count else 0.0

    @property
    def worst(self) -> tuple[str, float]:
        """The task that fails most, and its share of the failures."""
        tasks: Counter[str] = Counter()
        for (task, _), many in self.failed.items():
            tasks[task] += many
        ((task, many),) = tasks.most_common(1) or [("", 0)]
        return task, many / self.count if self.count else 0.0


def failures_in(log: str) -> Failures:
    """How tasks ended, as Celery says it at the level INFO."""
    succeeded, full = 0, 0
    failed: Counter[tuple[str, str]] = Counter()
    for line in log.splitlines():
        if (ended := _ENDED.search(line)) is not None:
            if ended[2]:
                succeeded += 1
            else:
                failed[ended[1], ended[3]] += 1
                full += any(word in ended[4] for word in _FULL)
        elif (unknown := _UNKNOWN.search(line)) is not None:
            failed[unknown[1], "NotRegistered"] += 1
    return Failures(succeeded=succeeded, failed=dict(failed), full=full)


def plan_failures(target: Target, diagnosis: WorkersDiagnosis, failures: Failures, policy: JobFailurePolicy) -> Plan:
    """What is done about tasks that fail."""
    name = printable(diagnosis.service.service, 80)
    goal = f"Have at most {policy.most_failing:.0%} of the tasks of {name} fail"
    draft = Draft()
    repair_workers(draft, target, diagnosis, policy)
    expected = "Tasks succeed again."
    if draft.actions or draft.refusals:
        return draft.plan(goal, target, expected)
    if failures.count + failures.succeeded < policy.least:
        reason = f"{counted(failures.count + failures.succeeded, 'task')} ended in the log: that says nothing"
        draft.add(Refusal(what="Changing anything", reason=reason, lifted_by="workers that log at the level INFO"))
        return draft.plan(goal, target, expected)
    if failures.ratio <= policy.most_failing:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{failures.ratio:.0%} of the tasks fail now.")
    if (proposal := _explained(failures)) is not None:
        draft.proposals.append(proposal)
    elif failures.share(_BROKEN) > _MOST:
        _broken(draft, target, diagnosis, policy)
    else:
        reason = f"{failures.ratio:.0%} of its tasks fail, of many kinds, and nothing explains it"
        for one in diagnosis.service.containers:
            draft.add(deciding.repair(target, diagnosis.engine, diagnosis.service, one, reason, policy.wait))
    return draft.plan(goal, target, expected)


def _explained(failures: Failures) -> Proposal | None:
    """A cause that a restart does not change."""
    if failures.full > _MOST * failures.count:
        return Proposal(
            title="Free space where the tasks write (flow disk-space-reclaim)",
            reason=f"{counted(failures.full, 'task')} failed because a disk is full or read-only.",
        )
    if failures.share(_AWAY) > _MOST:
        return Proposal(
            title="Look at what the tasks connect to",
            reason=f"{failures.share(_AWAY):.0%} of the failures are about a connection: another worker fails as well.",
        )
    task, share = failures.worst
    if failures.share(_BROKEN) <= _MOST and share > 0.8 and failures.succeeded:
        return Proposal(
            title=f"Show the errors of {printable(task, 120)} to who wrote it",
            reason=f"It is {share:.0%} of the failures, while other tasks succeed: a restart changes nothing.",
        )
    return None


def _broken(draft: Draft, target: Target, diagnosis: WorkersDiagnosis, policy: JobFailurePolicy) -> None:
    """Code that cannot be loaded or is not known: the image is the wrong one."""
    look, reason = diagnosis.service, "its tasks cannot be loaded, or are not known to it"
    for one in look.containers:
        if look.tagged not in ("", one.image_id):
            draft.add(deciding.repair(target, diagnosis.engine, look, one, reason, policy.wait))
            continue
        found = deciding.roll_back(target, diagnosis.engine, look, one, reason, policy.wait)
        if isinstance(found, Action):
            asks = "Tasks cannot be loaded: is it the release of the workers, or of those who send the tasks?"
            found = found.model_copy(update={"asks": asks, "risk": Risk.HIGH})
        draft.add(found)


def in_words(failures: Failures) -> str:
    """One look as a line for people."""
    return f"{failures.count:,} tasks failed, {failures.succeeded:,} succeeded ({failures.ratio:.0%} failed)"


def findings_of(failures: Failures) -> Iterator[Finding]:
    """The errors, most frequent first; their messages may hold anything, and are left out."""
    yield Finding(title=in_words(failures), troubling=failures.count > 0)
    for (task, error), many in Counter(failures.failed).most_common(8):
        yield Finding(title=f"{printable(task, 100)}: {printable(error, 80)}, {counted(many, 'time')}")


def judge_failures(before: Failures, after: Failures, policy: JobFailurePolicy) -> Verdict:
    """Healthy when of the tasks that ended since the repair few enough failed."""
    findings = (Finding(title=f"Before: {in_words(before)}"), Finding(title=f"After: {in_words(after)}"))
    if after.count + after.succeeded < policy.least:
        reason = f"{counted(after.count + after.succeeded, 'task')} ended since: whether it helped is not known."
        return Verdict(healthy=False, inconclusive=True, reason=reason, findings=findings)
    return Verdict(healthy=after.ratio <= policy.most_failing, reason=f"{in_words(after)}.", findings=findings)
