"""What the diagnosis of a host says, for people."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.durations import format_duration
from nightshift.remediation.host_load.cpu_planner import by_service, host_in_words, hungry, shown
from nightshift.remediation.host_load.growth import growth_of
from nightshift.remediation.host_load.objects import HostLoad
from nightshift.remediation.host_load.ownership import Owned, owned
from nightshift.remediation.host_load.policy import HostLoadPolicy, OnHost
from nightshift.remediation.models import Finding, format_bytes
from nightshift.remediation.text import listed, printable

_MOST = 8


def findings_of(load: HostLoad, policy: HostLoadPolicy) -> tuple[Finding, ...]:
    """The host first, then who takes the most, then what grows."""
    return tuple(_findings(load, policy))


def _findings(load: HostLoad, policy: HostLoadPolicy) -> Iterator[Finding]:
    look = load.look
    own = f"{look.busy:.0f} % of {look.cpus} processors, {look.memory_used_percent:.0f} % of its memory"
    detail = f"the limit is {policy.at_most_percent:g} %; the host itself counts {own}"
    above = load.percent is None or load.percent > policy.at_most_percent
    yield Finding(
        title=host_in_words(load, policy),
        detail=f"{detail}; {printable(load.unknown, 200)}" if load.unknown else detail,
        data={"percent": load.percent, "at_most": policy.at_most_percent, "busy": round(look.busy, 1)},
        troubling=above,
    )
    if policy.resource == "cpu":
        services = listed([shown(*one) for one in by_service(load, policy)], _MOST)
        yield Finding(title="Of its own services", detail=services or "none uses the processors")
        for one in hungry(load, policy)[:_MOST]:
            yield Finding(title=f"{one.name} uses {_shown(one)}", detail=_standing(one), troubling=not one.expected)
    yield from growth_findings(load, policy)
    for container in load.containers:
        if death := container.container.memory_death:
            name = printable(container.container.name, 100)
            yield Finding(title=f"{name} was {death} when it last ended", troubling=True)
        if container.profile:
            title = f"The log of {printable(container.container.name, 100)} has lines of a profile"
            yield Finding(title=title, detail=listed(container.profile, 5))


def growth_findings(load: HostLoad, policy: OnHost) -> Iterator[Finding]:
    """How the memory of each measured service went."""
    for name, points in load.growth.items():
        growth = growth_of(points)
        if growth is None:
            yield Finding(title=f"How the memory of {printable(name, 60)} went is not known: too few measurements")
            continue
        leaks = growth.is_leak(policy.growth_per_10_minutes, policy.leak_least)
        yield Finding(
            title=f"{printable(name, 60)} has {growth.in_words}",
            detail="it grows steadily: a leak" if leaks else "no steady growth above the limit",
            data={"bytes": round(growth.now), "bytes_per_10_minutes": round(growth.slope * 600)},
            troubling=leaks,
        )


def _shown(one: Owned) -> str:
    return f"{one.process.cpus:.1f} processors and {format_bytes(one.process.memory)}"


def _standing(one: Owned) -> str:
    age = f"runs for {format_duration(one.process.age)}"
    if one.job is None:
        return f"{age}, no known job"
    late = f", longer than {format_duration(one.job.at_most)}" if one.overdue else ", as expected"
    return f"{age}, known job: {printable(one.job.name, 60)}{late}"


def evidence_markdown(load: HostLoad, policy: OnHost) -> str:
    """Who uses what: processes of the host, containers of the project. Names are printable."""
    lines = ["| process | pid | of | processors | memory | age |", "|---|---|---|---|---|---|"]
    for process in sorted(load.look.processes, key=lambda p: (-round(p.cpus, 1), -p.memory))[:15]:
        one = owned(process, policy, load.services_of)
        whose = printable(one.service, 60) if one.service is not None else f"({printable(process.account, 40)})"
        lines.append(
            f"| {printable(process.command, 100)} | {process.pid} | {whose} | {process.cpus:.2f} "
            f"| {format_bytes(process.memory)} | {format_duration(process.age)} |"
        )
    if load.containers:
        lines += ["", "| container | state | processors | memory | of |", "|---|---|---|---|---|"]
    for seen in load.containers:
        used = seen.usage
        numbers = (
            f"{used.cpus:.2f} | {format_bytes(used.memory)} | {format_bytes(used.memory_limit)}" if used else "| |"
        )
        lines.append(f"| {printable(seen.container.name, 80)} | {printable(seen.container.state, 20)} | {numbers} |")
    return "\n".join(lines)
