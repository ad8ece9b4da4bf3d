"""Fewer files that wait: somebody who works, faster work, then more workers as far as the host has room. Pure.

Follows test_watcher.TestWatcherQueueBacklog of the inventory and the rules of ``queue_backlog`` in the families.
"""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.durations import format_duration
from nightshift.remediation.file_queues.facts import QueueDiagnosis
from nightshift.remediation.file_queues.policy import FileQueuePolicy
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Action, Finding, HandOver, Plan, Proposal, Refusal, Target
from nightshift.remediation.program_settings.planning import Change, adjusted, new_number, way_back
from nightshift.remediation.text import counted, printable, shell_word

_MORE = "More workers"


def in_words(diagnosis: QueueDiagnosis) -> str:
    """The queue as a line for people."""
    queue = diagnosis.queue
    if queue.waiting is None:
        return f"how many files wait is not known: {printable(queue.complaint)}"
    p95 = f", 95 % take at most {format_duration(diagnosis.p95)}" if diagnosis.p95 is not None else ""
    return f"{counted(round(queue.waiting), 'file')} wait{'s' if round(queue.waiting) == 1 else ''}{p95}"


def findings_of(diagnosis: QueueDiagnosis, policy: FileQueuePolicy) -> tuple[Finding, ...]:
    """Most telling first."""
    words = in_words(diagnosis)
    return (
        Finding(title=words[0].upper() + words[1:], troubling=not is_short(diagnosis.queue.waiting, policy)),
        Finding(title=f"The service is {diagnosis.state or 'not there'}", troubling=not runs(diagnosis)),
        Finding(title="Tests are slow", troubling=True)
        if is_slow(diagnosis, policy)
        else Finding(title="Tests are not slow, as far as they ended"),
        Finding(title=f"Host: {_host(diagnosis)}", troubling=why_no_room(diagnosis, policy) is not None),
        Finding(title=f"Workers: {_workers(diagnosis)}"),
    )


def is_short(waiting: float | None, policy: FileQueuePolicy) -> bool:
    """Whether so few wait as the alert allows; what is not known is not."""
    return waiting is not None and waiting <= policy.most_waiting


def runs(diagnosis: QueueDiagnosis) -> bool:
    """Whether there is a worker at all."""
    return diagnosis.state == "running"


def is_slow(diagnosis: QueueDiagnosis, policy: FileQueuePolicy) -> bool:
    """Whether single runs take too long."""
    return diagnosis.p95 is not None and diagnosis.p95 > policy.slow_seconds


def why_no_room(diagnosis: QueueDiagnosis, policy: FileQueuePolicy) -> str | None:
    """Why the host takes no more workers; None: it does."""
    if diagnosis.cpu_percent is None or diagnosis.memory_percent is None:
        return f"whether the host has room is not known: {printable(diagnosis.host_complaint)}"
    if diagnosis.cpu_percent > policy.cpu_percent:
        return f"{diagnosis.cpu_percent:.0f} % of the CPUs are in use, at most {policy.cpu_percent:g} % may be"
    if diagnosis.memory_percent > policy.memory_percent:
        return f"{diagnosis.memory_percent:.0f} % of the memory is in use, at most {policy.memory_percent:g} % may be"
    return None


def plan_queue(target: Target, diagnosis: QueueDiagnosis, policy: FileQueuePolicy, *, raised: bool = False) -> Plan:
    """What is done about the queue.

    Args:
        target: host and service.
        diagnosis: what was seen.
        policy: limits.
        raised: whether workers were added for this incident before: once is all.
    """
    if is_short(diagnosis.queue.waiting, policy):
        return Plan(goal=f"Nothing to do: {in_words(diagnosis)}.", target=target)
    found = list(_steps(target, diagnosis, policy, raised=raised))
    return Plan(
        goal=f"Have fewer files wait for {printable(target.part('service'), 80)}: {in_words(diagnosis)}",
        target=target,
        actions=tuple(one for one in found if isinstance(one, Action)),
        refusals=tuple(one for one in found if isinstance(one, Refusal)),
        proposals=tuple(one for one in found if isinstance(one, Proposal)),
        expected=f"At most {policy.most_waiting:,} files wait.",
    )


def _steps(
    target: Target, diagnosis: QueueDiagnosis, policy: FileQueuePolicy, *, raised: bool
) -> Iterator[Action | Refusal | Proposal]:
    if not runs(diagnosis):
        yield from _down(target, diagnosis)
        return
    if diagnosis.queue.waiting is None:
        reason = "what cannot be measured does not count as solved, and is no reason to change anything"
        yield Proposal(title="Look at the queue by hand", detail=in_words(diagnosis), reason=reason)
        return
    if is_slow(diagnosis, policy):
        yield from _slow(target, diagnosis, policy)
    if (full := why_no_room(diagnosis, policy)) is not None:
        yield Refusal(what=_MORE, reason=full, lifted_by="a calmer host")
        yield _room(full)
        return
    yield from _more(target, diagnosis, policy, raised=raised)
    yield _parallel()


def _down(target: Target, diagnosis: QueueDiagnosis) -> Iterator[Refusal | Proposal]:
    """Nobody works the queue off: that is another flow's trouble, and more workers would not help."""
    name = f"{target.part('host')}:{target.part('service')}"
    state = f"the service is {printable(diagnosis.state or 'not there', 40)}"
    yield Refusal(
        what=_MORE,
        reason=f"nobody works: {state}",
        lifted_by=f"nightshift run host-service-unresponsive --system {target.system} --target {shell_word(name, 120)}",
    )
    place = {"host": target.part("host"), "service": target.part("service")}
    handed = HandOver(flows=("host-service-unresponsive",), place=place, why=state)
    yield Proposal(title=f"Left to the runbook for it: {state}", hand_over=handed)


@proposes("test_watcher.TestWatcherQueueBacklog: r1.1 r3.2")
def _slow(target: Target, diagnosis: QueueDiagnosis, policy: FileQueuePolicy) -> Iterator[Proposal]:
    p95 = format_duration(diagnosis.p95 or 0)
    run = f"nightshift run test-suite-quality --system {target.system} --target {shell_word(policy.project or '…')}"
    yield Proposal(
        title="Make the slowest tests faster",
        detail=f"{run} says which" if policy.project is not None else "their reports say which",
        reason=f"95 % of the runs take up to {p95}, and {format_duration(policy.slow_seconds)} is the limit",
    )


@proposes("test_watcher.TestWatcherQueueBacklog: r2.1")
def _room(full: str) -> Proposal:
    return Proposal(
        title="Find who uses the host, or give it more CPUs or memory",
        detail="the flow host-saturation says who uses it",
        reason=full,
    )


@proposes("test_watcher.TestWatcherQueueBacklog: r3.1")
def _parallel() -> Proposal:
    reason = "tests that share files, ports or tables break when they run beside each other: developers decide"
    return Proposal(title="Run the tests of a file in parallel (pytest-xdist)", reason=reason)


@serves("test_watcher.TestWatcherQueueBacklog: r3.3")
def _more(
    target: Target, diagnosis: QueueDiagnosis, policy: FileQueuePolicy, *, raised: bool
) -> Iterator[Action | Refusal | Proposal]:
    """More workers by one step, within the bounds of the policy, for a time."""
    number, seen = policy.workers, diagnosis.workers
    if number is None or seen is None:
        reason = "the host has room; which setting says how many is not declared (workers in the policy)"
        yield Proposal(title=_MORE, detail=_host(diagnosis), reason=reason)
        return
    if raised:
        yield Refusal(what=_MORE, reason="some were added for this incident already, and still too many files wait")
        return
    wanted = new_number(number, seen) if not seen.complaint else None
    if wanted is None:
        bounds = f"from {number.floor:g} to {number.ceiling:g}"
        why = printable(seen.complaint) or f"{_workers(diagnosis)}, and it may be {bounds}"
        yield Refusal(what=_MORE, reason=why, lifted_by="a higher ceiling in the policy")
        return
    restart = getattr(number.setting, "service", None) is not None and not policy.keeps_queue
    asks = "It is restarted to read the setting: what waits in its memory is tested only when it is changed again."
    change = Change(
        value=wanted,
        title=f"Let {wanted} workers instead of {printable(seen.value or '', 20)} test files ({number.setting.name})",
        reason=f"{in_words(diagnosis)}; the host has room: {_host(diagnosis)}",
        back_at=way_back(diagnosis.queue.now, number.back_after),
        asks=asks if restart else "",
    )
    yield adjusted(target, number, seen, change)


def _host(diagnosis: QueueDiagnosis) -> str:
    if diagnosis.cpu_percent is None or diagnosis.memory_percent is None:
        return f"not known: {printable(diagnosis.host_complaint)}"
    return f"{diagnosis.cpu_percent:.0f} % of the CPUs and {diagnosis.memory_percent:.0f} % of the memory in use"


def _workers(diagnosis: QueueDiagnosis) -> str:
    if diagnosis.workers is None:
        return "their number is not declared"
    return f"their setting is {printable(diagnosis.workers.value or 'not there', 40)}"
