"""Fewer tasks that wait: workers that answer, then more of them, as far as the host has room.

A pure function of what was seen and what is allowed. It follows the rules of ``queue_backlog`` in the families and
serves bybit_strategy_tester.HighTaskQueueLength, about which its document is silent. Nothing is purged.
"""

from __future__ import annotations

import math

from nightshift.remediation.compose import deciding
from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Plan, Proposal, Refusal, Target
from nightshift.remediation.text import counted, printable
from nightshift.remediation.workers.objects import WorkersDiagnosis
from nightshift.remediation.workers.policy import QueueBacklogPolicy
from nightshift.remediation.workers.repairing import NOTHING_TO_DO, Draft, repair_workers


def plan_backlog(target: Target, diagnosis: WorkersDiagnosis, policy: QueueBacklogPolicy) -> Plan:
    """What is done about tasks that wait."""
    name = printable(diagnosis.service.service, 80)
    now = f"{diagnosis.waiting:,} do" if diagnosis.broker_silence is None else "how many do, its broker does not say"
    goal = f"Have at most {policy.most_waiting:,} tasks wait for {name}; {now}"
    draft = Draft()
    repair_workers(draft, target, diagnosis, policy)
    expected = "The queue shrinks."
    if draft.actions or draft.refusals:
        return draft.plan(goal, target, expected)
    if diagnosis.waiting <= policy.most_waiting:
        expected = f"{counted(diagnosis.waiting, 'task')} wait, and workers answer."
        return Plan(goal=NOTHING_TO_DO, target=target, expected=expected)
    slowest = max((worker.longest for worker in diagnosis.workers), default=0.0)
    if slowest > policy.slow_after:
        proposal = Proposal(
            title="Look at the tasks that take so long",
            detail="celery inspect active",
            reason=f"The oldest one has run for {format_duration(slowest)}; more workers would only hang as well.",
        )
        draft.proposals.append(proposal)
        return draft.plan(goal, target, expected)
    if diagnosis.busy < diagnosis.processes:
        reason = f"only {diagnosis.busy} of {diagnosis.processes} processes work: it is not workers that are missing"
        draft.add(Refusal(what="Adding workers", reason=reason, lifted_by="see the queues that the workers listen to"))
        return draft.plan(goal, target, expected)
    if (why := no_room(diagnosis, policy)) is not None:
        draft.add(Refusal(what="Adding workers", reason=why, lifted_by="more processors or memory on the host"))
        return draft.plan(goal, target, expected)
    there = len(diagnosis.service.containers)
    wanted = max(there + 1, math.ceil(there * min(4, diagnosis.waiting / policy.most_waiting)))
    reason = f"{diagnosis.waiting:,} tasks wait, all {diagnosis.processes} processes work, and the host has room"
    draft.add(
        deciding.scale(
            target,
            diagnosis.engine,
            diagnosis.service,
            min(wanted, policy.ceiling),
            policy.ceiling,
            reason,
            policy.wait,
        )
    )
    return draft.plan(goal, target, expected)


def no_room(diagnosis: WorkersDiagnosis, policy: QueueBacklogPolicy) -> str | None:
    """Why the host has no room for another container; None: it has, by what the project uses."""
    mine = [one.id for one in diagnosis.service.containers]
    host = (diagnosis.host_cpus, diagnosis.host_memory)
    return deciding.no_room(diagnosis.usages, mine, host, policy.cpu_free_below)


def is_enough(diagnosis: WorkersDiagnosis, policy: QueueBacklogPolicy) -> bool:
    """Whether this look showed workers that answer, and no symptom."""
    return bool(diagnosis.workers) and not diagnosis.silent and diagnosis.waiting <= policy.most_waiting
