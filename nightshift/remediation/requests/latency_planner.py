"""Slow requests: what may be done by itself, the cause first. A pure function of what was seen and what is allowed.

Follows the decision rules of request_latency_response: a dependency that is down or has no connection left is the
trouble; a release since which requests are slow is taken back; a service that is held back at its CPU limit gets a
larger one up to the ceiling, then more pods; one that has too much to do gets more copies, counted from the present
number. What others have to do is proposed. Where another open incident wants less of the same, more is only proposed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nightshift.remediation.compose import deciding
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.pod_load_planner import PodLoad, saturated
from nightshift.remediation.kubernetes.saturation import SaturationPolicy, propose_autoscaler, relieve_cpu, scale_out
from nightshift.remediation.models import Action, Plan, Proposal, Refusal, Target
from nightshift.remediation.requests.causes import Suspect, hand_over, repaired_elsewhere
from nightshift.remediation.requests.latency_evidence import ComposeLoad, LatencyEvidence
from nightshift.remediation.requests.latency_policy import RequestLatencyPolicy
from nightshift.remediation.requests.latency_waits import Wait, elsewhere, proposals_for, waits_of
from nightshift.remediation.requests.release import take_back
from nightshift.remediation.text import counted, listed, printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a service that is within its limit."""
_MORE = frozenset({"set_resources", "scale_workload", "scale_service"})
"""Kinds of action that let a service do more."""
_START_SECONDS = 60.0


def plan_slow_requests(target: Target, evidence: LatencyEvidence, policy: RequestLatencyPolicy) -> Plan:
    """What is done about slow requests, refused, or left to people."""
    name, value = printable(evidence.requests.name, 100), evidence.requests.value
    said = policy.measure.shown(value)
    if value <= policy.measure.at_most:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{name}: {said}, as it should be.")
    changes = Changes()
    broken = elsewhere(evidence, policy)
    if certain := [one for one in broken if one.certain]:
        _hand_over(name, certain, changes)
    elif take_back(target, evidence.requests, policy, changes):
        pass
    elif broken:
        _hand_over(name, broken, changes)
    else:
        _do_more(target, evidence, policy, waits_of(evidence, policy), changes)
    changes.proposals.extend(proposals_for(evidence, policy))
    _with_others(evidence, changes)
    if not (changes.actions or changes.proposals):
        changes.proposals.append(_look_yourself(name, said, evidence))
    return Plan(
        goal=f"No more slow requests to {name}: {said}",
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=f"{policy.measure.shown(policy.measure.at_most)} or less for {format_duration(policy.hold)}.",
    )


@proposes("trading_signals.HighAPILatency: r2.1 r2.2 r3.1")
def _hand_over(name: str, broken: Sequence[Suspect], changes: Changes) -> None:
    """What it needs is the trouble, and has runbooks of its own; more of what waits would only wait for more."""
    named = repaired_elsewhere(broken)
    for one in named:
        title = f"See the runbook {printable(one.repaired_by, 100)}"
        changes.proposals.append(Proposal(title=title, reason=f"{_sentence(one.words)}.", hand_over=hand_over(one)))
    for one in broken:
        if not one.repaired_by:
            changes.proposals.append(Proposal(title=f"Look at this first: {one.words}", reason=f"{one.cause}."))
    reason = broken[0].words
    changes.refusals.append(Refusal(what=f"Any change to {name}", reason=reason, lifted_by="its repair"))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"


def _do_more(
    target: Target, evidence: LatencyEvidence, policy: RequestLatencyPolicy, waits: Sequence[Wait], changes: Changes
) -> None:
    if isinstance(evidence.load, PodLoad):
        _more_of_a_workload(target, evidence, evidence.load, policy, waits, changes)
    elif isinstance(evidence.load, ComposeLoad):
        _more_containers(target, evidence, evidence.load, policy, waits, changes)


@serves(
    "octollm.HighLatency: r3.2 r3.4",
    "cryptofunk.AgentHighLatency: r3.1",
)
def _more_of_a_workload(
    target: Target,
    evidence: LatencyEvidence,
    load: PodLoad,
    policy: RequestLatencyPolicy,
    waits: Sequence[Wait],
    changes: Changes,
) -> None:
    """A larger CPU limit, then more pods (relieve_cpu); more pods alone where there are too many requests."""
    seen = saturated(load)
    if seen is None:
        return
    cpu, no = _pods_that_fit(evidence, policy, seen.workload.replicas)
    if waits:
        cpu = cpu.model_copy(update={"most_replicas": 0})
    before = len(changes.refusals)
    relieve_cpu(target, seen, cpu, changes)
    if changes.actions or changes.proposals:
        return
    if why := (_why_not_more(evidence, policy, waits) if waits or len(changes.refusals) == before else "") or no:
        changes.refusals[before:] = [_no_more(evidence.requests.name, why)]
    elif len(changes.refusals) > before:
        return
    elif policy.cpu.most_replicas:
        scale_out(target, seen, cpu, _overload(evidence), changes)
        propose_autoscaler(seen, policy.cpu, changes)


@serves("bybit_strategy_tester.SlowResponseTime: r2.1", "trading_signals.HighAPILatency: r5.1")
def _more_containers(
    target: Target,
    evidence: LatencyEvidence,
    load: ComposeLoad,
    policy: RequestLatencyPolicy,
    waits: Sequence[Wait],
    changes: Changes,
) -> None:
    """Half as many containers again, at least one, where the host, the database and Compose have room for them."""
    containers, rule = load.service.containers, policy.copies
    there = len(containers)
    wanted = there + max(1, math.ceil(there / 2))
    mine = {one.id for one in containers}
    used = [usage.cpus for identity, usage in load.usages.items() if identity in mine]
    busy = bool(used) and len(used) == there and min(used) >= rule.busy_processors
    host = (load.host_cpus, load.host_memory)
    why = (
        (None if busy and not waits else _why_not_more(evidence, policy, waits))
        or deciding.no_room(load.usages, mine, host, rule.free_below)
        or _no_connections(evidence, policy, wanted - there)
    )
    if why:
        changes.refusals.append(_no_more(evidence.requests.name, why))
        return
    reason = (
        f"All {counted(there, 'container')} use {min(used):.1f} processors or more." if busy else _overload(evidence)
    )
    engine = target.part("compose")
    found = deciding.scale(
        target, engine, load.service, min(wanted, max(rule.ceiling, there)), rule.ceiling, reason, _START_SECONDS
    )
    if isinstance(found, Action):
        changes.actions.append(found)
    else:
        changes.refusals.append(found)


def _why_not_more(evidence: LatencyEvidence, policy: RequestLatencyPolicy, waits: Sequence[Wait]) -> str:
    """Why more copies would not help; empty: there are too many requests, and nothing else was found."""
    if waits:
        return f"requests wait for {waits[0].what}, which more of it would ask for more: {waits[0].why}"
    if (busier := evidence.busier) is None:
        return "it cannot be told whether there are more requests than usual"
    if busier < policy.busier:
        return f"there are {busier:.1f} times as many requests as usual: that is no overload"
    return ""


def _no_connections(evidence: LatencyEvidence, policy: RequestLatencyPolicy, more: int) -> str:
    """Why the database has no connections for so many more copies; empty: it has, or that is not looked at."""
    left, needed = evidence.database.connections_left, more * policy.connections_each
    if not needed:
        return ""
    if left is None:
        return "how many connections the database has left is not known"
    return f"they would open {needed} connections, and the database has {left} left" if needed > left else ""


def _pods_that_fit(evidence: LatencyEvidence, policy: RequestLatencyPolicy, now: int) -> tuple[SaturationPolicy, str]:
    """The limits with so many pods at most as the database has connections for; why not one more, else empty."""
    if why := _no_connections(evidence, policy, 1):
        return policy.cpu.model_copy(update={"most_replicas": 0}), why
    left, each = evidence.database.connections_left, policy.connections_each
    most = policy.cpu.most_replicas if not each or left is None else min(policy.cpu.most_replicas, now + left // each)
    return policy.cpu.model_copy(update={"most_replicas": most}), ""


def _no_more(name: str, why: str) -> Refusal:
    return Refusal(what=f"More of {printable(name, 100)}", reason=why, lifted_by="a person who knows the cause")


def _overload(evidence: LatencyEvidence) -> str:
    return f"There are {evidence.busier or 0:.1f} times as many requests as usual, and no other cause was found."


def _with_others(evidence: LatencyEvidence, changes: Changes) -> None:
    """Two incidents that want the opposite: a person weighs them, and no action of the one undoes the other."""
    against = [action for action in changes.actions if action.kind in _MORE]
    if not (against and evidence.opposed):
        return
    others = listed([str(one) for one in evidence.opposed])
    changes.actions[:] = [action for action in changes.actions if action not in against]
    reason = f"{others} {'is open and wants' if len(evidence.opposed) == 1 else 'are open and want'} less"
    for action in against:
        changes.refusals.append(Refusal(what=action.title, reason=reason, lifted_by="the end of that incident"))
        title = f"Decide between the two: {action.title}, or leave it"
        changes.proposals.append(Proposal(title=title, reason=f"{action.reason} But {reason}."))


def _look_yourself(name: str, said: str, evidence: LatencyEvidence) -> Proposal:
    unseen = f" Not looked at: {listed([printable(one, 160) for one in evidence.unknown])}." if evidence.unknown else ""
    return Proposal(title=f"Find why requests to {name} are slow", reason=f"{said}, and no cause was seen.{unseen}")
