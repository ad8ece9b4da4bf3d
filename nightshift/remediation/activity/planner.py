"""What is done where nothing happens: nothing off hours, else the producer, what it needs, the queue, or a release.

A pure function of what was seen and what is allowed. Follows cryptofunk.VectorSearchNoOperations and
trading_signals.SignalIngestionStopped of the inventory, without their hazards: the age of the last event is taken
without a window, old items expire instead of being approved late, and a synthetic request is sent only once all else
works.
"""

from __future__ import annotations

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.activity.arguments import ExpireItems
from nightshift.remediation.activity.facts import ActivityDiagnosis, QueueSeen
from nightshift.remediation.activity.policy import ActivityStalledPolicy, EventTable, StuckQueue
from nightshift.remediation.activity.words import quiet_in_words, source_in_words
from nightshift.remediation.compose import deciding
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.objects import Workload
from nightshift.remediation.kubernetes.restarting import RESTARTED_AT, restart
from nightshift.remediation.kubernetes.revisions import released_at
from nightshift.remediation.kubernetes.rollback import Release, roll_back, why_not_the_release
from nightshift.remediation.kubernetes.rollout_state import RolloutState, rollout_status
from nightshift.remediation.models import Action, Impact, Plan, Proposal, Quantity, Refusal, Risk, Target
from nightshift.remediation.text import counted, listed, printable

_WAIT = 60.0
_HANGS = "It runs, and nothing that was looked at explains why nothing happens: does it hang?"


def plan_activity(target: Target, diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy) -> Plan:
    """The least that lets something happen again, or what people have to do."""
    if diagnosis.last.quiet_for <= policy.limit:
        return Plan(goal=f"Nothing to do: {quiet_in_words(diagnosis, policy)}.", target=target)
    if reason := why_expected(diagnosis, policy):
        return Plan(goal=f"Quiet as expected: {reason}.", target=target)
    changes = Changes()
    _repair(target, diagnosis, policy, changes)
    return Plan(
        goal=f"Have {policy.events} again",
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=f"{policy.symptom(target).solved}.",
    )


@serves("cryptofunk.VectorSearchNoOperations: d1 d2")
def why_expected(diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy) -> str:
    """Why nothing has to happen now; empty: something should, or nobody knows.

    Outside of its hours, where users count and none is there; within them, where none is there and a synthetic request
    is answered by all that has to answer.
    """
    looks = policy.looks
    alone = looks.users is not None and diagnosis.users is not None and diagnosis.users < looks.users.at_least
    if not diagnosis.within_hours and (alone or looks.users is None):
        return "it is outside of its hours" + (", and nobody is there" if alone else "")
    answered = diagnosis.synthetic is not None and not diagnosis.synthetic.why
    if alone and answered and not diagnosis.producer.why_down:
        return "nobody is there to ask, and a synthetic request is answered"
    return ""


def _repair(target: Target, diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy, changes: Changes) -> None:
    """What is broken, the producer's needs before the producer."""
    said = f"{quiet_in_words(diagnosis, policy)}."
    _tell(diagnosis, policy, changes)
    if diagnosis.database:
        what = "Restarting anything"
        reason = f"the database does not work: {printable(diagnosis.database)}"
        changes.refusals.append(Refusal(what=what, reason=reason, lifted_by="the database back"))
        title = f"Bring the database {printable(policy.looks.database or '', 60)} back"
        changes.proposals.insert(0, Proposal(title=title, reason="what makes the events writes into it"))
        return
    # What needs nobody's word goes first.
    if why := diagnosis.producer.why_down:
        reason = f"{why[:1].upper()}{why[1:]}. {said}"
        if not _back_from_release(target, diagnosis, policy, reason, changes):
            _restart(target, diagnosis, reason, changes)
    _backend(target, diagnosis, policy, changes)
    queue, rule = diagnosis.queue, policy.repairs.queue
    if queue is not None and rule is not None:
        _queue(target, queue, rule, changes)
    if diagnosis.synthetic is not None and diagnosis.synthetic.why:
        _request_fails(target, diagnosis, policy, changes)
    if not (changes.actions or changes.refusals or changes.proposals):
        if diagnosis.last.complaint:
            changes.refusals.append(Refusal(what="Restarting anything", reason=said, lifted_by="an answer to that"))
        elif isinstance(policy.looks.events, EventTable):
            _restart(target, diagnosis, said, changes, asks=_HANGS)
        else:
            changes.proposals.append(_ticket(diagnosis, policy, f"{said} All that was looked at works."))


@proposes("trading_signals.SignalIngestionStopped: r3.2")
def _tell(diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy, changes: Changes) -> None:
    """What does not answer, and what only people can do about that."""
    source = diagnosis.source
    if source is not None and (not source.answer.works or (source.failures and source.failures == source.calls)):
        name, fallback = printable(source.answer.name, 60), policy.repairs.fallback
        title = f"Enable the fallback source in place of {name}" if fallback else f"Ask the vendor about {name}"
        changes.proposals.append(
            Proposal(title=title, detail=printable(fallback or "", 300), reason=source_in_words(source))
        )
    for answer in diagnosis.services:
        if not answer.works:
            title = f"Bring {printable(answer.name, 60)} back"
            changes.proposals.append(Proposal(title=title, reason=answer.in_words))


@serves("trading_signals.SignalIngestionStopped: r1.1")
def _restart(target: Target, diagnosis: ActivityDiagnosis, reason: str, changes: Changes, *, asks: str = "") -> None:
    """The producer: a container that does not work, or its Deployment; what runs, only as a person decides."""
    seen, before = diagnosis.producer, len(changes.actions)
    if diagnosis.restarted:
        refused = "it was restarted before, and that did not help"
        changes.refusals.append(Refusal(what="Restarting it again", reason=refused, lifted_by="a person"))
        return
    if seen.service is not None:
        _containers(target, seen.service, reason, changes, all_of_them=bool(asks))
    elif seen.release is not None:
        workload = seen.release.workload
        if (refusal := _why_untouched(workload)) is not None:
            changes.refusals.append(refusal)
            return
        changes.change(restart(target, workload, reason), workload, (RESTARTED_AT,))
    changes.actions[before:] = [one.model_copy(update={"asks": asks or one.asks}) for one in changes.actions[before:]]


def _why_untouched(workload: Workload) -> Refusal | None:
    what, status = f"Restarting {printable(workload.name, 100)}", rollout_status(workload)
    if not workload.replicas:
        return Refusal(what=what, reason="somebody scaled it to nothing", lifted_by="a person who scales it up")
    if status.state in (RolloutState.PAUSED, RolloutState.UNSEEN):
        return Refusal(what=what, reason=status.words, lifted_by="the end of that")
    return None


def _containers(target: Target, look: ServiceLook, reason: str, changes: Changes, *, all_of_them: bool) -> None:
    if not look.containers:
        what = f"Starting {printable(look.service, 80)}"
        refused = "Compose has no container of it on this engine"
        changes.refusals.append(Refusal(what=what, reason=refused, lifted_by="docker compose up -d"))
    engine = target.part("compose")
    for one in look.containers:
        if all_of_them or not one.works:
            changes.actions.append(deciding.repair(target, engine, look, one, reason, _WAIT))


@serves("trading_signals.SignalIngestionStopped: r2.2")
def _backend(target: Target, diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy, changes: Changes) -> None:
    """The database works, and what is between does not: it is restarted, its connections with it."""
    rule, look, answer = policy.repairs.backend, diagnosis.backend, diagnosis.backend_answer
    if rule is None or look is None or answer is None or answer.works:
        return
    reason = f"{answer.in_words}, while the database works."
    for one in look.containers:
        changes.actions.append(deciding.repair(target, rule.docker, look, one, reason, _WAIT))


@serves("trading_signals.SignalIngestionStopped: r4.1")
def _queue(target: Target, seen: QueueSeen, rule: StuckQueue, changes: Changes) -> None:
    """Old items expire, by a person's word in any mode: what is stale must not be approved late."""
    if not seen.stuck:
        return
    items, old = counted(len(seen.stuck), "item"), format_duration(rule.older_than)
    what = f"Expiring {items} of {printable(rule.table, 100)}"
    if len(seen.stuck) > rule.at_most:
        reason = f"more than {rule.at_most} wait for longer than {old}: that is no ordinary backlog"
        changes.refusals.append(Refusal(what=what, reason=reason, lifted_by="queue.at_most, or a person"))
        return
    arguments = ExpireItems(queue=rule, ids=seen.stuck)
    action = Action(
        kind=ExpireItems.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=seen.stuck,
        title=f"Let {items} of {printable(rule.table, 100)} expire that wait for longer than {old}",
        reason=f"The oldest waits for {format_duration(seen.oldest_age)}; {seen.waiting:,} wait in all. "
        f"First ones: {listed([printable(one, 40) for one in seen.stuck])}.",
        risk=Risk.HIGH,
        asks="Who wanted to decide about them cannot any more. None is approved.",
        bound=Quantity(amount=len(seen.stuck), unit="items"),
        undo=f"{CANNOT_BE_UNDONE}: back in the queue they could be approved late; their keys are kept in the journal",
        impact=Impact(what=items, how_much=f"{rule.waiting} to {rule.expired}", users="whoever they wait for"),
    )
    changes.actions.append(action)


@serves("cryptofunk.VectorSearchNoOperations: d6")
def _back_from_release(
    target: Target, diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy, reason: str, changes: Changes
) -> bool:
    """The newest release fits: a person decides whether it is taken back. True: that, or why not, is in the plan."""
    release, rule = diagnosis.producer.release, policy.repairs.rollback
    if release is None or rule is None or why_not_the_release(release, diagnosis.began, rule):
        return False
    before = len(changes.actions)
    if roll_back(target, release, rule, reason, changes):
        asks = "Is it the release? It is the newest change before it became quiet."
        changes.actions[before:] = [
            one.model_copy(update={"asks": one.asks or asks}) for one in changes.actions[before:]
        ]
    return True


def _request_fails(
    target: Target, diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy, changes: Changes
) -> None:
    """A synthetic request fails: the release is put before a person where it fits, and the owner is told."""
    assert diagnosis.synthetic is not None  # noqa: S101 - asked before
    route = " Nothing is registered under its path." if diagnosis.synthetic.route_is_missing else ""
    reason = f"A synthetic request {diagnosis.synthetic.why}.{route}"
    _back_from_release(target, diagnosis, policy, reason, changes)
    changes.proposals.append(_ticket(diagnosis, policy, reason))


@proposes("cryptofunk.VectorSearchNoOperations: d7 r1.1")
def _ticket(diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy, reason: str) -> Proposal:
    """What the owning team gets: what was found, the newest release, and where in the code to look."""
    owner, code = policy.repairs.owner, policy.repairs.code
    parts = [_released(diagnosis.producer.release)] if diagnosis.producer.release is not None else []
    parts += [f"git log -- {printable(code, 200)}"] if code else []
    title = f"Open a ticket for {printable(owner, 100) if owner else 'the team that owns it'}"
    return Proposal(title=title, detail="; ".join(parts), reason=reason)


def _released(release: Release) -> str:
    at = released_at(release.workload, release.revisions)
    images = listed([printable(image, 100) for image in release.workload.template.images])
    when = f"{at:%Y-%m-%d %H:%M} UTC" if at is not None else "at a time that cannot be told"
    return f"revision {release.workload.revision} ({images}) was released {when}"
