"""A host short of processors: a known job is waited for, a runaway process is ended on a person's word.

A pure function of what was seen and what is allowed. Follows ``cpu_saturation`` of the families. There is one host:
more containers on it would share the same processors (the hazard of bybit_strategy_tester.HighCPUUsage.r2.1), so that
scaling out is never done here, and what takes load away is proposed instead.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from nightshift.remediation.durations import format_duration
from nightshift.remediation.host_load.ending import end
from nightshift.remediation.host_load.objects import HostLoad
from nightshift.remediation.host_load.ownership import Owned, owned, why_never
from nightshift.remediation.host_load.policy import HostLoadPolicy
from nightshift.remediation.inventory import proposes
from nightshift.remediation.models import Action, Plan, Proposal, Refusal, Target
from nightshift.remediation.text import counted, listed, printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a host that is within its limit."""
_MOST_ENDED = 3
"""Processes, the hungriest first: ending more of them is no repair."""
_CONTRADICTS = 1 / 3
"""Of the limit: a host that is less busy than this itself is not what the alert speaks of."""


def hungry(load: HostLoad, policy: HostLoadPolicy) -> tuple[Owned, ...]:
    """The processes that use the processors at this moment, the hungriest first."""
    high = sorted((p for p in load.look.processes if 100 * p.cpus >= policy.hungry_percent), key=lambda p: -p.cpus)
    return tuple(owned(process, policy, load.services_of) for process in high)


def explained_by(load: HostLoad, policy: HostLoadPolicy) -> tuple[Owned, ...]:
    """The known jobs that take most of what all processes take, many small ones together; nothing when they do not.

    A process that may be ended is not explained by a job beside it.
    """
    everyone = [owned(process, policy, load.services_of) for process in load.look.processes]
    jobs = tuple(one for one in everyone if one.expected and one.process.cpus > 0)
    share, whole = (sum(one.process.cpus for one in some) for some in (jobs, everyone))
    runaway = any(why_never(one, policy) is None for one in hungry(load, policy))
    return jobs if jobs and not runaway and share >= whole / 2 else ()


def by_service(load: HostLoad, policy: HostLoadPolicy) -> tuple[tuple[str, float, int], ...]:
    """The system's own services with the processors they use and how many processes do so, the hungriest first."""
    used, many = defaultdict[str, float](float), Counter[str]()
    for process in load.look.processes:
        service = owned(process, policy, load.services_of).service
        if service is not None and process.cpus > 0:
            used[service] += process.cpus
            many[service] += 1
    return tuple((name, used[name], many[name]) for name in sorted(used, key=lambda name: -used[name]))


def waits_for_a_job(load: HostLoad, policy: HostLoadPolicy) -> bool:
    """Whether there is nothing to do but to see that the job ends."""
    above = load.percent is not None and load.percent > policy.at_most_percent
    is_cpu = policy.resource == "cpu"
    return is_cpu and above and cannot_tell(load, policy) is None and bool(explained_by(load, policy))


def plan_cpu_relief(target: Target, load: HostLoad, policy: HostLoadPolicy) -> Plan:
    """What is done about a host that is above its limit."""
    said = host_in_words(load, policy)
    if load.percent is not None and load.percent <= policy.at_most_percent:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{said}, as it should be.")
    goal, expected = f"Relieve the host: {said}", expected_of(policy)
    if (refusal := cannot_tell(load, policy)) is not None:
        return Plan(goal=goal, target=target, refusals=(refusal,), expected=expected)
    if jobs := explained_by(load, policy):
        named = listed(sorted({printable(one.job.name, 60) for one in jobs if one.job is not None}))
        wait = f"Wait for {named}: {said}"
        return Plan(goal=wait, target=target, expected=f"It ends within {format_duration(policy.job_wait)}.")
    found = hungry(load, policy)
    actions, refusals = _endings(target, load, found, policy)
    if not found:
        reason = f"no process uses {policy.hungry_percent:g} % of a processor: many small ones share them"
        refusals.append(Refusal(what="Ending a process", reason=reason))
    refused, proposed = _one_host_only(load, policy)
    return Plan(
        goal=goal,
        target=target,
        actions=tuple(actions),
        refusals=(*refusals, refused),
        proposals=(proposed,),
        expected=expected,
    )


def shown(service: str, cpus: float, processes: int) -> str:
    """One of :func:`by_service` for people."""
    return f"{printable(service, 60)} ({cpus:.1f} processors in {counted(processes, 'process', 'processes')})"


def host_in_words(load: HostLoad, policy: HostLoadPolicy) -> str:
    """The symptom in one line."""
    host = printable(load.host, 100)
    if load.percent is None:
        return f"how much {policy.what} of {host} is in use is not known"
    return f"{load.percent:.0f} % of the {policy.what} of {host} in use"


def expected_of(policy: HostLoadPolicy) -> str:
    """What a plan brings."""
    return f"At most {policy.at_most_percent:g} % in use for {format_duration(policy.hold)}."


def cannot_tell(load: HostLoad, policy: HostLoadPolicy) -> Refusal | None:
    """Why nothing may be done: what the alert measures is unknown, or the host itself says otherwise."""
    if load.percent is None:
        reason = f"whether it would help could not be measured: {printable(load.unknown, 200)}"
        return Refusal(what="Any change", reason=reason, lifted_by=f"{printable(policy.prometheus)} that answers")
    own = load.look.busy if policy.resource == "cpu" else load.look.memory_used_percent
    if own < _CONTRADICTS * policy.at_most_percent:
        reason = f"the host itself counts {own:.0f} % in use at this moment, and Prometheus {load.percent:.0f} %"
        return Refusal(what="Any change", reason=reason, lifted_by="measurements that agree")
    return None


def _endings(
    target: Target, load: HostLoad, found: Sequence[Owned], policy: HostLoadPolicy
) -> tuple[list[Action], list[Refusal]]:
    actions, refusals = list[Action](), list[Refusal]()
    for one in found:
        if (why := why_never(one, policy)) is not None:
            lifted = "its owner" if one.service is None else "a person, by hand"
            refusals.append(Refusal(what=f"Ending {one.name}", reason=why, lifted_by=lifted))
        elif len(actions) < _MOST_ENDED:
            actions.append(end(target, load.host, load.look.boot, one, policy))
        else:
            reason = f"{_MOST_ENDED} at a time are enough"
            refusals.append(Refusal(what=f"Ending {one.name}", reason=reason, lifted_by="the next look"))
    return actions, refusals


@proposes("bybit_strategy_tester.HighCPUUsage: r2.1")
def _one_host_only(load: HostLoad, policy: HostLoadPolicy) -> tuple[Refusal, Proposal]:
    """Scaling out is refused with its reason; what would help is put before a person."""
    services = listed([shown(*one) for one in by_service(load, policy)])
    reason = "there is one host: more processes on it would share the same processors"
    jobs = listed([printable(job.name, 60) for job in policy.known_jobs])
    first = f"Begin with {services}" if services else "No service of its own stands out"
    return (
        Refusal(what="Scaling out", reason=reason, lifted_by="a second host"),
        Proposal(
            title="Lower the concurrency, or move a service to another host; a ticket with this report",
            detail=f"{first}; jobs that can wait: {jobs or 'none are named in the runbook'}",
            reason="What takes load away helps here; what adds to it does not.",
        ),
    )
