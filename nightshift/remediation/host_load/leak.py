"""A service whose memory leaks: started anew once, with its evidence saved, and a ticket for the program.

Follows ``memory_exhaustion`` of the families and test_watcher.MemoryLeakDetected.r1.1-r1.4 without their hazards: what
the process tells of itself is read before the restart, from the process that leaks and not from a second copy of it. A
restart gives time; that it comes back within the cool-down of its budget is for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nightshift.remediation.compose import deciding
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.durations import format_duration
from nightshift.remediation.host_load.growth import Growth
from nightshift.remediation.host_load.objects import HostLoad, ProjectContainer
from nightshift.remediation.host_load.ownership import Owned, owned
from nightshift.remediation.host_load.policy import OnHost, OwnService
from nightshift.remediation.hosts import restarting
from nightshift.remediation.hosts.services import ServiceState
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Action, Impact, Proposal, Refusal, Target, format_bytes
from nightshift.remediation.text import listed, printable


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A service that leaks, as seen."""

    name: str
    """In the policy."""
    own: OwnService
    growth: Growth
    state: ServiceState | None = None
    """Of a service of the host; None: it is none, or was not looked at."""
    look: ServiceLook | None = None
    """Of a service of Compose."""
    containers: Sequence[ProjectContainer] = ()
    jobs: Sequence[Owned] = field(default=())
    """Known jobs that run in it."""


def jobs_in(load: HostLoad, name: str, policy: OnHost) -> tuple[Owned, ...]:
    """The known jobs that run in a service at this moment."""
    found = (owned(process, policy, load.services_of) for process in load.look.processes)
    return tuple(one for one in found if one.service == name and one.expected)


@serves("test_watcher.MemoryLeakDetected: r1.2")
def start_anew(target: Target, host: str, leak: Leak, policy: OnHost) -> Action | Refusal:
    """End the service and start it again, which gives its memory back; once, which its budget sees to."""
    what, name = f"Restarting {printable(leak.name, 60)}", leak.name
    reason = f"its memory grows steadily: {leak.growth.in_words}"
    if not policy.restart_leaking:
        return Refusal(what=what, reason="the policy does not allow it", lifted_by="restart_leaking: true")
    if leak.own.on_host is not None:
        if leak.state is None or not leak.state.runs:
            return Refusal(what=what, reason="it does not run at this moment", lifted_by="the next look")
        action = restarting.start_again(target, host, name, leak.own.on_host, leak.state, reason)
    else:
        found = _fullest(leak)
        if found is None or leak.look is None or policy.docker is None:
            return Refusal(what=what, reason="none of its containers runs", lifted_by="a person")
        action = deciding.repair(target, policy.docker, leak.look, found.container, reason, policy.restart_wait)
    if leak.jobs:
        jobs = listed([f"{one.name}, for {format_duration(one.process.age)}" for one in leak.jobs])
        action = action.model_copy(update={"asks": f"A known job runs in it, and would be lost: {jobs}."})
    impact = Impact(
        what=f"what {printable(name, 60)} keeps in memory",
        how_much=format_bytes(round(leak.growth.now)),
        users="whoever it works for at this moment; requests fail until it runs again",
    )
    return action.model_copy(update={"impact": impact})


def _fullest(leak: Leak) -> ProjectContainer | None:
    running = [one for one in leak.containers if one.usage is not None]
    return max(running, key=lambda one: one.usage.memory if one.usage is not None else 0, default=None)


@proposes("test_watcher.MemoryLeakDetected: d2")
def find_its_cause(leak: Leak) -> Proposal:
    """What is for a person: a profile by line, and the correction in the program."""
    return Proposal(
        title=f"Find what {printable(leak.name, 60)} keeps; a ticket with this report and its picture",
        detail="Look for resources that are not released, caches that grow, circular references. tracemalloc in "
        "the running program tells the lines; memory_profiler would start a second copy of it, with its effects.",
        reason=f"It leaks: {leak.growth.in_words}. A restart only gives time.",
    )
