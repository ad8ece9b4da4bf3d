"""A change in a cluster: recorded, watched, and what it leaves to be done put before a person.

A pure function of what was seen and what is allowed. Covers octollm.NewDeploymentDetected.d1, d2, r1.1,
octollm.HPAScaledUp.d1, d2, r1.1 (and HPAScaledDown) and octollm.ConfigMapChanged.d1, d2, r1.1: a restart spreads a
wrong configuration to every pod (its hazard), so that a person decides about it in any mode.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.durations import format_duration
from nightshift.remediation.kubernetes.change_policy import ChangeReviewPolicy
from nightshift.remediation.kubernetes.change_record import RECORD, AlertSeen, ChangeRecord
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.objects import Workload, WorkloadKind
from nightshift.remediation.kubernetes.ownership import Ownership
from nightshift.remediation.kubernetes.restarting import RESTARTED_AT, restart
from nightshift.remediation.kubernetes.rollout_state import RolloutState, RolloutStatus
from nightshift.remediation.models import Finding, Plan, Proposal, Target
from nightshift.remediation.text import counted, listed, printable

HOUR = 3600.0


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
    stabilization: int | None = None
    """Seconds that the autoscaler waits before it scales down; None: Kubernetes' own 300."""
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
        changes.proposals.append(_calm_down(seen, policy))
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


def _calm_down(seen: ChangeSeen, policy: ChangeReviewPolicy) -> Proposal:
    """octollm.HPAScaledUp.r1.1, for autoscaling/v2."""
    name, space = printable(seen.name, 100), printable(seen.record.namespace, 63)
    seconds = max(round(policy.stabilization), 2 * (seen.stabilization or 0))
    patch = json.dumps({"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": min(3600, seconds)}}}})
    where = f", in {seen.owner.where}" if seen.owner is not None else ""
    waits = 300 if seen.stabilization is None else seen.stabilization
    return Proposal(
        title=f"Let {name} wait {format_duration(min(3600, seconds))} before it scales down{where}",
        detail=f"kubectl patch hpa {name} -n {space} --type=merge -p '{patch}'; it waits {waits} s now.",
        reason=f"It changed its direction {turns(seen.replicas)} times within an hour: pods start only to be ended.",
    )


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


def _take_back(seen: ChangeSeen) -> Proposal:
    config = printable(seen.name, 100)
    where = f" in {seen.owner.where}" if seen.owner is not None else ""
    who = f"Written last by {listed(seen.record.who)}." if seen.record.who else ""
    return Proposal(
        title=f"If nobody meant it, deny this and put {config} back{where}",
        detail=who,
        reason="Pods that begin from now on take the new content in any case.",
    )
