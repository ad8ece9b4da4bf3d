"""A host short of memory: what leaks is started anew once; what only needs much is put before a person.

A pure function of what was seen and what is allowed. Follows ``memory_exhaustion`` of the families for
bybit_strategy_tester.HighMemoryUsage, about which its document is silent: on a full host no limit is raised, and no
process is ended for the room it takes.
"""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.host_load.cpu_planner import (
    NOTHING_TO_DO,
    cannot_tell,
    expected_of,
    host_in_words,
    plan_cpu_relief,
)
from nightshift.remediation.host_load.growth import growth_of
from nightshift.remediation.host_load.leak import Leak, find_its_cause, jobs_in, start_anew
from nightshift.remediation.host_load.objects import HostLoad
from nightshift.remediation.host_load.ownership import owned
from nightshift.remediation.host_load.policy import HostLoadPolicy, OnHost
from nightshift.remediation.models import Action, Plan, Proposal, Refusal, Target, format_bytes
from nightshift.remediation.text import listed, printable

_MOST_SHOWN = 5


def plan_host_relief(target: Target, load: HostLoad, policy: HostLoadPolicy) -> Plan:
    """What is done about a host that is above its limit."""
    return (plan_cpu_relief if policy.resource == "cpu" else plan_memory_relief)(target, load, policy)


def plan_memory_relief(target: Target, load: HostLoad, policy: HostLoadPolicy) -> Plan:
    """Start anew what leaks most; where nothing does, say who has the memory."""
    said = host_in_words(load, policy)
    if load.percent is not None and load.percent <= policy.at_most_percent:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{said}, as it should be.")
    goal, expected = f"Relieve the host: {said}", expected_of(policy)
    if (refusal := cannot_tell(load, policy)) is not None:
        return Plan(goal=goal, target=target, refusals=(refusal,), expected=expected)
    leaks = sorted(leaks_in(load, policy), key=lambda leak: -leak.growth.slope)
    if not leaks:
        refusal = Refusal(what="Restarting a service", reason="none of those that are measured grows steadily")
        return Plan(goal=goal, target=target, refusals=(refusal,), proposals=(_crowded(load, policy),))
    first = start_anew(target, load.host, leaks[0], policy)
    return Plan(
        goal=goal,
        target=target,
        actions=(first,) if isinstance(first, Action) else (),
        refusals=(first,) if isinstance(first, Refusal) else (),
        proposals=tuple(find_its_cause(leak) for leak in leaks),
        expected=expected,
    )


def leaks_in(load: HostLoad, policy: OnHost) -> Iterator[Leak]:
    """The services whose memory grows steadily, fast enough and for long enough."""
    for name, points in load.growth.items():
        growth, own = growth_of(points), policy.services[name]
        if growth is None or not growth.is_leak(policy.growth_per_10_minutes, policy.leak_least):
            continue
        yield Leak(
            name=name,
            own=own,
            growth=growth,
            state=load.states.get(name),
            look=load.services.get(own.service) if own.service is not None else None,
            containers=[one for one in load.containers if one.container.service == own.service],
            jobs=jobs_in(load, name, policy),
        )


def _crowded(load: HostLoad, policy: HostLoadPolicy) -> Proposal:
    """Who has the memory of a host where nothing leaks."""
    largest = sorted(load.look.processes, key=lambda process: -process.memory)[:_MOST_SHOWN]
    named = [f"{owned(one, policy, load.services_of).name} {format_bytes(one.memory)}" for one in largest]
    jobs = listed([printable(job.name, 60) for job in policy.known_jobs])
    return Proposal(
        title="Give the host more memory, or move a service to another one; a ticket with this report",
        detail=f"The most have {listed(named, _MOST_SHOWN)}; jobs that can wait: {jobs or 'none are named'}",
        reason="It is full, and nothing leaks: a larger limit for one would take from the others.",
    )
