"""A workload at its CPU or memory limit: a larger limit, more pods, or a restart; or a person, when it leaks.

Covers octollm.HighNodeCPUUsage.r1.1-r3.1, octollm.HighNodeMemoryUsage.r1.2-r3.1, octollm.PodOOMKilled.r1.1-r2.1 and the
Kubernetes side of cpu_saturation and memory_exhaustion: steady growth is a leak, so that a larger limit only takes
longer to fill; a full node gets no larger limits; replicas belong to the autoscaler where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from nightshift.remediation.disk_space.policy import Percent
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.arguments import ScaleWorkload
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.crash_policy import MemoryPolicy
from nightshift.remediation.kubernetes.objects import Autoscaler, Container, Workload, WorkloadKind
from nightshift.remediation.kubernetes.ownership import FieldChange, Insists, owner_of_replicas
from nightshift.remediation.kubernetes.resizing import MEBIBYTE, raise_cpu, raise_memory, raised
from nightshift.remediation.kubernetes.restarting import RESTARTED_AT, restart
from nightshift.remediation.kubernetes.rollback import ONE_WORKLOAD, impact_on
from nightshift.remediation.models import Action, Proposal, Refusal, Risk, Target, UndoWhen, Value, format_bytes
from nightshift.remediation.text import printable


class SaturationPolicy(Value):
    """How a workload at its limit may be relieved."""

    high_percent: Percent = 80
    """Use above this share of the limit is trouble."""
    memory: MemoryPolicy | None = None
    """None: no memory limit is ever raised."""
    cpu_factor: Annotated[float, Field(gt=1, le=4)] = 1.5
    cpu_ceiling_millicores: Annotated[int, Field(ge=0, le=128_000)] = 0
    """No CPU limit is raised above this; 0: none at all."""
    most_replicas: Annotated[int, Field(ge=0, le=500)] = 0
    """It is scaled out up to so many pods; 0: never."""
    leak_watch: Annotated[Seconds, Field(ge=600, le=7 * 86400)] = 2 * 3600
    """Growth over at least so long is called steady."""
    throttled_percent: Percent = 25
    """A container that is held back at its CPU limit in this share of its periods is at its limit, too."""
    restart_leaking: bool = False
    """Restart what grows steadily, after its heap profile was taken."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """What one pod's container used at one moment, the hungriest of the workload."""

    at: float
    """Unix time."""
    amount: int
    """Bytes of working set (memory) or millicores (CPU)."""


@dataclass(frozen=True, kw_only=True)
class Saturated:
    """A workload at its limit, as seen."""

    workload: Workload
    container: Container
    """Of its template."""
    uses: Sequence[Use]
    """In order of time."""
    autoscalers: Sequence[Autoscaler] = ()
    left_on_node: int | None = None
    """Of the fullest node it runs on, in the unit of the uses; None: not seen."""
    nodes_full: bool = False
    """Whether every node is short of it."""
    kills_last_hour: int = 0
    throttled_percent: float | None = None
    """Share of its periods in which it was held back at its CPU limit; None: not measured."""

    @property
    def grows_steadily_for(self) -> float:
        """Seconds over which its memory grew from each quarter of the time to the next; 0 when it did not."""
        return grows_steadily(self.uses)

    @property
    def held_back(self) -> str:
        """How often it was held back at its CPU limit, in words; empty: never, or that is not known."""
        return f" It was held back in {self.throttled_percent:.0f} % of its periods." if self.throttled_percent else ""


def grows_steadily(uses: Sequence[Use]) -> float:
    """Seconds over which it grew from each quarter of the time to the next; 0 when it did not, or that is not known."""
    if len(uses) < 8:
        return 0.0
    size = len(uses) / 4
    quarters = [uses[int(i * size) : int((i + 1) * size)] for i in range(4)]
    lows = [min(use.amount for use in quarter) for quarter in quarters]
    rising = all(low < high for low, high in pairwise(lows))
    return uses[-1].at - uses[0].at if rising else 0.0


@serves("octollm.PodOOMKilled: r1.1", "cryptofunk.HighMemoryUsage: r1.1 r1.2")
def relieve_memory(target: Target, seen: Saturated, policy: SaturationPolicy, changes: Changes) -> None:
    """A leak is restarted and reported; a spike at the limit gets a larger one; a full node gets neither."""
    name, limit = printable(seen.workload.name, 100), seen.container.limits.memory_bytes
    if not _is_high(seen, limit, policy):
        return
    grows = seen.grows_steadily_for
    if grows >= policy.leak_watch:
        relieve_leak(target, seen, policy, grows, changes)
        return
    if seen.nodes_full:
        reason = "its nodes are full: a larger limit would take from others"
        changes.refusals.append(Refusal(what=f"Raising limits of {name}", reason=reason, lifted_by="a larger node"))
        scale_out(target, seen, policy, "Its nodes are short of memory.", changes)
        return
    what = f"Raising the memory limit of {name}"
    if policy.memory is None or limit is None:
        lifted_by = "memory with its ceiling" if policy.memory is None else "a limit for it"
        changes.refusals.append(Refusal(what=what, reason="there is nothing that may be raised", lifted_by=lifted_by))
        return
    if seen.kills_last_hour > policy.memory.kills_per_hour:
        reason = f"{seen.kills_last_hour} kills within an hour: it may leak"
        changes.refusals.append(Refusal(what=what, reason=reason, lifted_by="memory.kills_per_hour"))
        changes.proposals.append(
            _profile(seen, f"It was killed {seen.kills_last_hour} times within an hour: it may leak.")
        )
        return
    wanted = raised(limit, policy.memory.factor, policy.memory.ceiling, MEBIBYTE)
    if wanted is None or (seen.left_on_node is not None and seen.left_on_node < wanted - limit):
        reason = f"the ceiling is {format_bytes(policy.memory.ceiling)}" if wanted is None else "its node has no room"
        changes.refusals.append(Refusal(what=what, reason=reason, lifted_by="a higher ceiling, or a larger node"))
        scale_out(target, seen, policy, "It is at its memory limit.", changes)
        return
    reason = f"It used {format_bytes(seen.uses[-1].amount)} of {format_bytes(limit)}."
    action, fields = raise_memory(target, seen.workload, seen.container, wanted, reason)
    changes.change(action, seen.workload, fields)


@serves("cryptofunk.HighMemoryUsage: r1.1 r1.2")
def relieve_cpu(target: Target, seen: Saturated, policy: SaturationPolicy, changes: Changes) -> None:
    """A pod at its limit gets a larger one where its node has room, else more pods share the work."""
    limit = seen.container.limits.cpu_millicores
    held_back = (seen.throttled_percent or 0) >= policy.throttled_percent
    if limit is None or not seen.uses or not (held_back or _is_high(seen, limit, policy)):
        return
    used = f"It used {seen.uses[-1].amount} of {limit} millicores.{seen.held_back}"
    wanted = raised(limit, policy.cpu_factor, policy.cpu_ceiling_millicores, 50)
    room = seen.left_on_node is None or (wanted is not None and seen.left_on_node >= wanted - limit)
    if wanted is not None and room and not seen.nodes_full:
        action, fields = raise_cpu(target, seen.workload, seen.container, wanted, used)
        changes.change(action, seen.workload, fields)
        return
    if seen.nodes_full:
        changes.proposals.append(
            Proposal(title="Add nodes to the pool", reason="Every node is short of CPU: more pods would only wait.")
        )
        return
    scale_out(target, seen, policy, used, changes)


def _is_high(seen: Saturated, limit: int | None, policy: SaturationPolicy) -> bool:
    if not seen.uses:
        return False
    return limit is None or seen.uses[-1].amount > limit * policy.high_percent / 100


@serves("octollm.HighNodeMemoryUsage: r1.1 r1.2")
def relieve_leak(target: Target, seen: Saturated, policy: SaturationPolicy, grows: float, changes: Changes) -> bool:
    """A restart where the policy allows it, and a heap profile in any case; True when it is restarted."""
    workload, name = seen.workload, printable(seen.workload.name, 100)
    growth = f"Its memory grows steadily for {format_duration(grows)}"
    changes.proposals.append(_profile(seen, f"{growth}: a larger limit would only be full later."))
    reason = f"{growth}; a restart gives time to find the leak."
    if policy.restart_leaking and workload.kind is WorkloadKind.DEPLOYMENT:
        return changes.change(restart(target, workload, reason), workload, (RESTARTED_AT,))
    stateful = workload.kind is not WorkloadKind.DEPLOYMENT
    changes.refusals.append(
        Refusal(
            what=f"Restarting {name}",
            reason="it keeps state" if stateful else "the policy does not allow it",
            lifted_by="a person" if stateful else "restart_leaking: true",
        )
    )
    return False


@proposes("octollm.PodOOMKilled: r2.1", "cryptofunk.HighMemoryUsage: r2.1")
def _profile(seen: Saturated, reason: str) -> Proposal:
    name = f"{printable(seen.workload.name, 100)}, container {printable(seen.container.name, 80)}"
    return Proposal(title=f"Take a heap profile of {name}, and open a ticket with it", reason=reason)


@serves("octollm.HighNodeCPUUsage: r1.1", "octollm.HighNodeMemoryUsage: r3.1")
def scale_out(target: Target, seen: Saturated, policy: SaturationPolicy, reason: str, changes: Changes) -> bool:
    """Half as many pods again, at least one, up to the most (kubernetes.scale_deployment); True when it is done."""
    workload, now = seen.workload, seen.workload.replicas
    wanted = min(policy.most_replicas, now + max(1, math.ceil(now / 2)))
    what = f"Scaling out {printable(workload.name, 100)}"
    if workload.kind is not WorkloadKind.DEPLOYMENT:
        stateful = workload.kind is WorkloadKind.STATEFUL_SET
        why = "it keeps state" if stateful else "it has one pod on every node: there are no more to have"
        changes.refusals.append(Refusal(what=what, reason=why, lifted_by="a person"))
        return False
    if single := _runs_alone(workload):
        changes.refusals.append(Refusal(what=what, reason=single, lifted_by="a person"))
        return False
    if now == 0 or wanted <= now:
        why = "somebody scaled it to nothing" if now == 0 else f"it has {now}, and may have {policy.most_replicas}"
        changes.refusals.append(Refusal(what=what, reason=why, lifted_by="most_replicas"))
        return False
    arguments = ScaleWorkload(
        workload=workload.kind,
        namespace=workload.namespace,
        name=workload.name,
        uid=workload.uid,
        template=workload.template.digest,
        from_replicas=now,
        to_replicas=wanted,
    )
    action = Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(workload.uid,),
        title=f"Scale {printable(workload.name, 100)} from {now} to {wanted} pods",
        reason=reason,
        risk=Risk.MEDIUM,
        bound=ONE_WORKLOAD,
        gain=ONE_WORKLOAD,
        undo=f"scale it back to {now}",
        undo_when=UndoWhen.BY_HAND,
        impact=impact_on(workload),
    )
    field = FieldChange(path="spec.replicas", before=str(now), after=str(wanted))
    return changes.change(action, workload, (field,), owner=owner_of_replicas(workload, seen.autoscalers))


@proposes("octollm.HighNodeCPUUsage: r1.2", "octollm.HighLatency: r3.5")
def propose_autoscaler(seen: Saturated, policy: SaturationPolicy, changes: Changes) -> None:
    """An autoscaler, where nobody counts its pods yet; never fewer than there are now."""
    workload = seen.workload
    owner = owner_of_replicas(workload, seen.autoscalers)
    counted_by_others = owner is not None and owner.insists is Insists.REVERTS
    if counted_by_others or workload.kind is not WorkloadKind.DEPLOYMENT or policy.most_replicas <= workload.replicas:
        return
    name, space = printable(workload.name, 100), printable(workload.namespace, 63)
    bounds = f"--min={max(1, workload.replicas)} --max={policy.most_replicas}"
    changes.proposals.append(
        Proposal(
            title=f"Let an autoscaler count the pods of {name}: kubectl autoscale deployment/{name} -n {space} "
            f"--cpu-percent=70 {bounds}",
            reason="It would have answered this load by itself. It needs CPU requests, and the metrics server.",
        )
    )


def _runs_alone(workload: Workload) -> str:
    """Why two pods of a Deployment may harm each other; empty when nothing says so."""
    if workload.strategy == "Recreate":
        return "it is replaced by Recreate: two pods of it are never to run at once"
    if any(volume.kind == "persistentVolumeClaim" for volume in workload.template.volumes):
        return "its pods would share a volume"
    return ""
