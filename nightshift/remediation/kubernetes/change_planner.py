"""A change in a cluster: recorded, watched, and what it leaves to be done put before a person.

A pure function of what was seen and what is allowed. Covers octollm.NewDeploymentDetected.d1, d2, r1.1,
octollm.HPAScaledUp.d1, d2, r1.1 (and HPAScaledDown) and octollm.ConfigMapChanged.d1, d2, r1.1: a restart spreads a
wrong configuration to every pod (its hazard), so that a person decides about it in any mode.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.change_policy import ChangeReviewPolicy
from nightshift.remediation.kubernetes.change_record import RECORD, AlertSeen, ChangeRecord
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.configuring import AutoscalerBounds, UpdateAutoscaler
from nightshift.remediation.kubernetes.objects import Autoscaler, Workload, WorkloadKind
from nightshift.remediation.kubernetes.ownership import FieldChange, Ownership
from nightshift.remediation.kubernetes.restarting import RESTARTED_AT, restart
from nightshift.remediation.kubernetes.rollout_state import RolloutState, RolloutStatus
from nightshift.remediation.models import Action, Finding, Plan, Proposal, Quantity, Risk, Target, UndoWhen, Verdict
from nightshift.remediation.text import counted, listed, printable

HOUR = 3600.0
STEP = 30
"""Seconds between two looks back at the replicas of an autoscaler."""
_KUBERNETES_OWN, _LONGEST = 300, 3600
"""Seconds of a stabilization window: what counts where none is stated, and what the API takes at most."""
_ONE_AUTOSCALER = Quantity(amount=1, unit="autoscalers")


@dataclass(frozen=True, kw_only=True)
class ChangeSeen:
    """Everything that the planner gets to know."""

    record: ChangeRecord
    name: str
    """Of the object that changed."""
    owner: Ownership | None = None
    """Who keeps the object as it is, where that is known: a change through it was meant."""
    rollout: RolloutStatus | None = None
    """Of a release."""
    replicas: Sequence[float] = ()
    """Of an autoscaler over the last hour, in order of time."""
    scaler: Autoscaler | None = None
    stabilization: int | None = None
    """Seconds that the autoscaler waits before it scales down; None: Kubernetes' own 300."""
    bounds: AutoscalerBounds | None = None
    """Of the autoscaler; None: it does not scale by a share of CPU, so that Nightshift changes nothing of it."""
    expected: bool | None = None
    """Whether scaling is expected at this time; None: nobody said."""
    stale: Sequence[Workload] = ()
    """Workloads that use the ConfigMap and have a pod that was begun before the change."""
    fresh: Sequence[Workload] = ()
    """Those whose pods all began after it."""


def turns(replicas: Sequence[float]) -> int:
    """How often a series of replicas changed its direction."""
    steps = [after - before for before, after in itertools.pairwise(replicas) if after != before]
    return sum((before > 0) != (after > 0) for before, after in itertools.pairwise(steps))


def plan_change_review(target: Target, seen: ChangeSeen, policy: ChangeReviewPolicy) -> Plan:
    """What the change leaves to be done; nothing mostly."""
    changes = Changes()
    if turns(seen.replicas) > policy.most_turns:
        _calm_down(target, seen, policy, changes)
    for workload in seen.stale:
        _restart(target, workload, seen, changes)
    if seen.stale:
        changes.proposals.append(_take_back(seen))
    return Plan(
        goal=f"Know what changed: {seen.record.what}",
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=f"No critical or warning alert of {_services(seen.record)} for {format_duration(policy.watch)}.",
        separable=len(changes.actions) > 1,
    )


@serves("octollm.NewDeploymentDetected: r1.1")
def findings_of(seen: ChangeSeen, policy: ChangeReviewPolicy) -> tuple[Finding, ...]:
    """The record first, then what is known about it."""
    record = seen.record
    first = Finding(title=record.what, detail=record.said, data={RECORD: record.model_dump(mode="json")})
    return (first, *_about(seen, policy))


def _about(seen: ChangeSeen, policy: ChangeReviewPolicy) -> Iterator[Finding]:
    if seen.owner is not None:
        yield Finding(title=f"{seen.owner.where} keeps it", detail=f"by {seen.owner.evidence}")
    if seen.rollout is not None:
        troubling = seen.rollout.state is not RolloutState.COMPLETE
        yield Finding(title=f"Its rollout: {seen.rollout.words}", troubling=troubling)
    if seen.replicas:
        number = turns(seen.replicas)
        within = f"{min(seen.replicas):.0f} to {max(seen.replicas):.0f} pods within the last hour"
        title = f"It changed its direction {counted(number, 'time')} within the last hour"
        yield Finding(title=title, detail=within, troubling=number > policy.most_turns)
    if seen.expected is not None:
        yield Finding(title=f"It scaled {'within' if seen.expected else 'outside'} the hours in which that is expected")
    if seen.record.kind == "configuration":
        yield _users_of(seen)


def _users_of(seen: ChangeSeen) -> Finding:
    names = listed([f"{w.kind} {printable(w.name, 80)}" for w in (*seen.stale, *seen.fresh)])
    total = len(seen.stale) + len(seen.fresh)
    title = f"{counted(len(seen.stale), 'workload')} of {total} that use it began before the change"
    return Finding(title=title, detail=names, troubling=bool(seen.stale))


def conclusion_of(
    seen: ChangeSeen, alerts: Sequence[AlertSeen], rollout: RolloutStatus | None, policy: ChangeReviewPolicy
) -> tuple[bool, str]:
    """Whether all is well after the watch, and why, in words for people."""
    if alerts:
        names = listed([alert.said for alert in alerts])
        return False, f"{seen.record.said}. Since then: {names}. Their flows have this record."
    if rollout is not None and rollout.state is not RolloutState.COMPLETE:
        return False, f"{seen.record.said}. Its rollout is not complete: {rollout.words}."
    quiet = f"no critical or warning alert of {_services(seen.record)} for {format_duration(policy.watch)}"
    return True, f"Recorded: {seen.record.said}; {quiet}."


def watched_until(record: ChangeRecord, opened: datetime, policy: ChangeReviewPolicy) -> float:
    """Unix time at which nobody has to watch any longer; a change long past is watched no longer than a young one."""
    since = opened if record.at is None else min(record.at, opened)
    return since.timestamp() + policy.watch


def _services(record: ChangeRecord) -> str:
    return listed([printable(name, 80) for name in record.services]) or "its service"


@serves("octollm.HPAScaledUp: r1.1")
def _calm_down(target: Target, seen: ChangeSeen, policy: ChangeReviewPolicy, changes: Changes) -> None:
    """A longer stabilization window of autoscaling/v2; its other bounds stay."""
    name, waits = printable(seen.name, 100), _KUBERNETES_OWN if seen.stabilization is None else seen.stabilization
    seconds = min(_LONGEST, max(round(policy.stabilization), 2 * waits))
    flaps = f"It changed its direction {turns(seen.replicas)} times within an hour: pods start only to be ended."
    if seen.scaler is None or seen.bounds is None or seconds <= waits:
        space = printable(seen.record.namespace, 63)
        title = f"Find what {name} follows: kubectl describe hpa {name} -n {space}"
        changes.proposals.append(
            Proposal(title=title, detail=f"It waits {waits} s before it scales down.", reason=flaps)
        )
        return
    arguments = UpdateAutoscaler(
        namespace=seen.scaler.namespace,
        name=seen.scaler.name,
        uid=seen.scaler.uid,
        was=seen.bounds,
        bounds=seen.bounds.model_copy(update={"stabilization_seconds": seconds}),
        floor=seen.bounds.min_replicas,
        ceiling=seen.bounds.max_replicas,
    )
    action = Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(seen.scaler.uid,),
        title=f"Let {name} wait {format_duration(seconds)} before it scales down, instead of {format_duration(waits)}",
        reason=flaps,
        risk=Risk.MEDIUM,
        asks="It scales down later then: pods that nobody needs any more run, and cost, for longer.",
        bound=_ONE_AUTOSCALER,
        gain=_ONE_AUTOSCALER,
        undo=f"let it wait {format_duration(waits)} again",
        undo_when=UndoWhen.BY_HAND,
    )
    path = "spec.behavior.scaleDown.stabilizationWindowSeconds"
    changes.change(action, seen.scaler, (FieldChange(path=path, before=str(waits), after=str(seconds)),))


def judge_calm(seen: ChangeSeen | None, wanted: str, looked_for: float) -> Verdict:
    """Whether an autoscaler turned at most once within the last so many seconds.

    Args:
        seen: after the change; None: it is gone.
        wanted: what was done, in words.
        looked_for: seconds.
    """
    if seen is None or not seen.replicas:
        return Verdict(healthy=False, inconclusive=True, reason="How it scaled since then could not be read.")
    number = turns(seen.replicas[-max(2, math.ceil(looked_for / STEP)) :])
    said = f"{wanted}: {counted(number, 'turn')} within {format_duration(looked_for)}"
    return Verdict(healthy=number <= 1, reason=f"{said}.", findings=(Finding(title=said, troubling=number > 1),))


@serves("octollm.ConfigMapChanged: r1.1")
def _restart(target: Target, workload: Workload, seen: ChangeSeen, changes: Changes) -> None:
    name, config = printable(workload.name, 100), printable(seen.name, 100)
    if workload.kind is not WorkloadKind.DEPLOYMENT:
        kind, space = str(workload.kind).lower(), printable(workload.namespace, 63)
        title = f"Restart {name} when it suits: kubectl rollout restart {kind}/{name} -n {space}"
        changes.proposals.append(Proposal(title=title, reason=f"It began before {config} changed, and keeps state."))
        return
    action = restart(target, workload, f"Its pods began before {config} changed, and may not know the new content.")
    asks = f"Was the change of {config} meant? A restart spreads a wrong one to every pod."
    changes.change(action.model_copy(update={"asks": asks}), workload, (RESTARTED_AT,))


@proposes("octollm.ConfigMapChanged: d2")
def _take_back(seen: ChangeSeen) -> Proposal:
    config = printable(seen.name, 100)
    where = f" in {seen.owner.where}" if seen.owner is not None else ""
    who = f"Written last by {listed(seen.record.who)}." if seen.record.who else ""
    return Proposal(
        title=f"If nobody meant it, deny this and put {config} back{where}",
        detail=who,
        reason="Pods that begin from now on take the new content in any case.",
    )
