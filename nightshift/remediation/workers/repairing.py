"""The least that lets workers answer again, in the order broker, then worker.

Pure functions of what was seen and what is allowed. They follow bybit_strategy_tester.CeleryWorkersDown.d1-r3.3 without
its hazards: a broker that keeps nothing on disk is started by a person only, a task over which workers die is set aside
and not purged, and a container is recreated where a restart would run an old image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from nightshift.remediation.caches.unavailable import persists
from nightshift.remediation.compose import deciding
from nightshift.remediation.compose.objects import Container
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import (
    Action,
    HandOver,
    Impact,
    Plan,
    Proposal,
    Quantity,
    Refusal,
    Risk,
    Target,
    UndoWhen,
)
from nightshift.remediation.text import counted, listed, printable
from nightshift.remediation.workers.arguments import SetAside
from nightshift.remediation.workers.objects import Message, WorkersDiagnosis
from nightshift.remediation.workers.policy import Workers, WorkerUnavailablePolicy

NOTHING_TO_DO = "nothing to do"
_CRASHES = 3
"""Starts by the engine itself after which another one would not help."""


@dataclass
class Draft:
    """What a plan is made of."""

    actions: list[Action] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)

    def add(self, found: Action | Refusal) -> None:
        """Take what a rule said."""
        if isinstance(found, Action):
            self.actions.append(found)
        else:
            self.refusals.append(found)

    def plan(self, goal: str, target: Target, expected: str) -> Plan:
        """The plan itself."""
        return Plan(
            goal=goal,
            target=target,
            actions=tuple(self.actions),
            refusals=tuple(self.refusals),
            proposals=tuple(self.proposals),
            expected=expected,
        )


def plan_workers(target: Target, diagnosis: WorkersDiagnosis, policy: WorkerUnavailablePolicy) -> Plan:
    """What is done about workers that do not answer."""
    name = printable(diagnosis.service.service, 80)
    answering = len(diagnosis.workers)
    if answering and not diagnosis.silent and diagnosis.broker_silence is None:
        expected = f"{counted(answering, 'worker')} of {name} answer."
        return Plan(goal=NOTHING_TO_DO, target=target, expected=expected)
    draft = Draft()
    repair_workers(draft, target, diagnosis, policy)
    expected = f"Every container of {name} has a worker that answers."
    return draft.plan(f"Have the workers of {name} answer again", target, expected)


def repair_workers(draft: Draft, target: Target, diagnosis: WorkersDiagnosis, policy: Workers) -> None:
    """The broker first; then what workers die over; then the workers that do not answer."""
    if diagnosis.broker_silence is not None and not _broker(draft, target, diagnosis, policy):
        return
    for found in poison(target, diagnosis, policy):
        draft.add(found)
    if not diagnosis.service.containers:
        reason = "Compose has no container of it on this engine"
        draft.add(Refusal(what="Starting a worker", reason=reason, lifted_by="docker compose up -d"))
    if (differing := deciding.differing_configurations(diagnosis.service)) is not None:
        draft.proposals.append(differing)
    for container in diagnosis.silent:
        _worker(draft, target, diagnosis, container, policy)


@serves("bybit_strategy_tester.CeleryWorkersDown: r2.1")
def _broker(draft: Draft, target: Target, diagnosis: WorkersDiagnosis, policy: Workers) -> bool:
    """Start the broker; False: that cannot be done from here, and workers without it would only end again."""
    why = diagnosis.broker_silence.why if diagnosis.broker_silence is not None else ""
    full = diagnosis.broker_silence is not None and diagnosis.broker_silence.too_many_clients
    look = diagnosis.broker_service
    container = look.containers[0] if look is not None and len(look.containers) == 1 else None
    if look is None or container is None or full:
        lifted = "bring the broker back first (flow redis-unavailable)"
        draft.add(Refusal(what="Restarting workers", reason=f"their broker does not work: {why}", lifted_by=lifted))
        handed = HandOver(flows=("redis-unavailable",), why=f"the broker does not work: {why}")
        draft.proposals.append(Proposal(title="Bring the broker back first", reason=why, hand_over=handed))
        return False
    if container.health == "healthy":
        reason = "the broker's own check finds it healthy: the way from here to it is what does not work"
        draft.add(Refusal(what="Restarting the broker", reason=reason))
        return False
    reason = f"workers need it, and it is {printable(container.state, 20)}: {why}"
    action = deciding.repair(target, diagnosis.engine, look, container, reason, policy.wait)
    kept = policy.broker_persistent if policy.broker_persistent is not None else persists(container)
    if not kept:
        asks = "The broker keeps nothing on disk as far as is known, and comes back without the tasks that waited."
        action = action.model_copy(update={"asks": asks, "risk": Risk.HIGH})
    draft.add(action)
    return True


@serves("bybit_strategy_tester.CeleryWorkersDown: r1.1 r2.2 r3.3")
def _worker(draft: Draft, target: Target, diagnosis: WorkersDiagnosis, container: Container, policy: Workers) -> None:
    state = printable(container.state, 20)
    ended = f", ended with {container.exit_code}" if container.exit_code is not None else ""
    reason = f"its worker does not answer; it is {state}{ended}{container.and_memory_death}"
    if container.memory_death:
        draft.proposals.append(_more_memory(container))
    crashes = container.restarts >= _CRASHES and not container.memory_death
    changed = diagnosis.service.tagged not in ("", container.image_id)
    if crashes and not changed:
        found = deciding.roll_back(target, diagnosis.engine, diagnosis.service, container, reason, policy.wait)
        if isinstance(found, Action):
            asks = f"It was started {container.restarts} times and ended each time: is it the release?"
            found = found.model_copy(update={"asks": asks, "risk": Risk.HIGH})
        draft.add(found)
        return
    action = deciding.repair(target, diagnosis.engine, diagnosis.service, container, reason, policy.wait)
    running = container.state == "running"
    if running:
        users = f"{counted(diagnosis.unacknowledged, 'task')} taken and not finished, of all workers"
        lost = "lost unless they acknowledge late"
        action = action.model_copy(
            update={"impact": Impact(what="the tasks that it works on", how_much=lost, users=users)}
        )
    draft.add(action)


@proposes("bybit_strategy_tester.CeleryWorkersDown: r3.2")
def _more_memory(container: Container) -> Proposal:
    return Proposal(
        title=f"Give {printable(container.name, 80)} more memory, or its worker --max-memory-per-child",
        detail="mem_limit in the Compose file, then docker compose up -d --no-deps",
        reason="It was killed at its limit; started again, it may be once more.",
    )


def poison(target: Target, diagnosis: WorkersDiagnosis, policy: Workers) -> Iterator[Action]:
    """Set aside the tasks that come next, were taken before, and over which workers died; one action per queue."""
    deadly = [m for m in diagnosis.head if m.redelivered and m.taken >= policy.poison_after]
    for queue in dict.fromkeys(message.queue for message in deadly):
        yield set_aside(target, policy.broker, queue, [m for m in deadly if m.queue == queue])


def set_aside(target: Target, redis: str, queue: str, messages: list[Message]) -> Action:
    """Move these messages beside their queue, where they are kept until a person says what becomes of them."""
    beside = f"nightshift:set-aside:{queue}"
    arguments = SetAside(
        redis=redis, source=queue, destination=beside, messages=tuple(message.id for message in messages[:20])
    )
    named = [f"{printable(m.task, 60)} {printable(m.id, 40)}" for m in messages[:20]]
    taken = max(message.taken for message in messages)
    return Action(
        kind=SetAside.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=arguments.messages,
        title=f"Set {counted(len(named), 'task')} of the queue {printable(queue, 60)} aside: {listed(named)}",
        reason=f"workers took it {taken} times and never finished it, and it comes next again",
        risk=Risk.MEDIUM,
        bound=Quantity(amount=len(arguments.messages), unit="messages"),
        undo=f"nothing is deleted: it is kept in the list {beside}, and can return to its queue (nightshift undo)",
        undo_when=UndoWhen.BY_HAND,
    )
