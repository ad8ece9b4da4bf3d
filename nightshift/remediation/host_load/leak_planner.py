"""Memory of one service that grows: judged from hours, started anew once where it leaks, left alone where it does not.

A pure function of what was seen and what is allowed, for test_watcher.MemoryLeakDetected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.durations import format_duration
from nightshift.remediation.host_load.cpu_planner import NOTHING_TO_DO
from nightshift.remediation.host_load.growth import growth_of
from nightshift.remediation.host_load.leak import Leak, find_its_cause, start_anew
from nightshift.remediation.host_load.memory_planner import leaks_in
from nightshift.remediation.host_load.objects import Evidence, HostLoad
from nightshift.remediation.host_load.ownership import Owned
from nightshift.remediation.host_load.policy import ServiceMemoryPolicy
from nightshift.remediation.models import Action, Finding, Plan, Proposal, Refusal, Target, format_bytes
from nightshift.remediation.text import listed, printable

_MOST_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class ServiceMemory:
    """Everything that the planner gets to know of one service."""

    name: str
    load: HostLoad
    """Its ``growth`` is that of this service; its ``percent`` is not asked for."""
    unknown: str = ""
    """Why its growth is not known."""
    processes: Sequence[Owned] = ()
    """Of the service, the largest first."""
    evidence: Evidence | None = None
    """Of its largest process; None: it has none, or it just ended."""
    log: Sequence[str] = ()
    """Lines of its log that speak of memory; printable, credentials masked."""


def plan_leak_relief(target: Target, seen: ServiceMemory, policy: ServiceMemoryPolicy) -> Plan:
    """What is done about a service whose memory grows."""
    name, limit = printable(seen.name, 60), format_bytes(policy.at_most_bytes)
    growth = growth_of(seen.load.growth.get(seen.name, ()))
    if growth is None:
        why = seen.unknown or "too few measurements since it was started"
        reason = f"how its memory grew is not known: {printable(why, 200)}"
        refusal = Refusal(what=f"Restarting {name}", reason=reason, lifted_by=f"{printable(policy.prometheus)}")
        return Plan(goal=f"See whether {name} leaks", target=target, refusals=(refusal,))
    leak: Leak | None = next(leaks_in(seen.load, policy), None)
    if leak is None or growth.now <= policy.at_most_bytes:
        why = "below the limit" if growth.now <= policy.at_most_bytes else "it does not grow steadily"
        expected = f"{name} has {growth.in_words}: {why}, which is watched for by the alert."
        return Plan(goal=NOTHING_TO_DO, target=target, expected=expected)
    first = start_anew(target, seen.load.host, leak, policy)
    return Plan(
        goal=f"Have {name} give its memory back: {growth.in_words}",
        target=target,
        actions=(first,) if isinstance(first, Action) else (),
        refusals=(first,) if isinstance(first, Refusal) else (),
        proposals=(find_its_cause(leak), *_when_full(seen)),
        expected=f"It has at most {limit} for {format_duration(policy.hold)}.",
    )


def _when_full(seen: ServiceMemory) -> tuple[Proposal, ...]:
    """How long the host's memory lasts at this rate."""
    growth = growth_of(seen.load.growth.get(seen.name, ()))
    left = seen.load.look.memory_available
    if growth is None or growth.slope <= 0:
        return ()
    return (
        Proposal(
            title="Set a limit for its memory, so that it ends before the host is short",
            detail="MemoryMax= in its unit, or mem_limit in the Compose file",
            reason=f"{format_bytes(left)} are left, which at this rate last {format_duration(growth.full_in(left))}.",
        ),
    )


def memory_in_words(seen: ServiceMemory) -> str:
    """The symptom in one line."""
    growth = growth_of(seen.load.growth.get(seen.name, ()))
    name = printable(seen.name, 60)
    return f"how the memory of {name} grows is not known" if growth is None else f"{name} has {growth.in_words}"


def findings_of(seen: ServiceMemory, policy: ServiceMemoryPolicy) -> tuple[Finding, ...]:
    """How it went, who has it, and what the largest process told of itself before anything was done."""
    growth = growth_of(seen.load.growth.get(seen.name, ()))
    leaks = growth is not None and growth.is_leak(policy.growth_per_10_minutes, policy.leak_least)
    steady = "it rises steadily" if leaks else "no steady growth above the limit"
    found = [
        Finding(
            title=memory_in_words(seen),
            detail=f"{steady}; the limits are {format_bytes(policy.at_most_bytes)} and "
            f"{format_bytes(policy.growth_per_10_minutes)} in 10 minutes",
            data={"bytes": round(growth.now), "bytes_per_10_minutes": round(growth.slope * 600)} if growth else {},
            troubling=leaks,
        )
    ]
    for one in seen.processes[:_MOST_SHOWN]:
        age = format_duration(one.process.age)
        found.append(Finding(title=f"{one.name} has {format_bytes(one.process.memory)}", detail=f"runs for {age}"))
    if seen.evidence is not None:
        numbers = listed([f"{name} {value}" for name, value in sorted(seen.evidence.memory.items())], 12)
        files = "" if seen.evidence.files is None else f"; {seen.evidence.files} open files"
        threads = listed(seen.evidence.threads, 5)
        found.append(Finding(title="Memory of its largest process by kind", detail=f"{numbers}{files}"))
        found.append(Finding(title="Its busiest threads", detail=threads or "none were seen"))
    if seen.log:
        found.append(Finding(title="Its log speaks of memory", detail=" / ".join(seen.log), troubling=True))
    return tuple(found)
