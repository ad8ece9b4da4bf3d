"""Back to the last healthy revision: when a release brought the trouble, and only then.

Serves octollm.PodCrashLoopBackOff.r5.3, the rollout rules of http_error_rate_response and request_latency_response, and
their hazards: a ConfigMap or a schema is not rolled back with it, a GitOps controller reverts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from pydantic import Field

from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.arguments import BlockDeployments, RolloutUndo
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.marks import DEPLOYMENTS_BLOCKED
from nightshift.remediation.kubernetes.objects import Revision, Template, Workload, WorkloadKind
from nightshift.remediation.kubernetes.ownership import FieldChange
from nightshift.remediation.kubernetes.revisions import Health, Proven, released_at, way_back
from nightshift.remediation.kubernetes.rollout_state import RolloutState, rollout_status
from nightshift.remediation.models import Action, Impact, Quantity, Refusal, Risk, Target, UndoWhen, Value
from nightshift.remediation.text import counted, listed, printable

_MIGRATES = "migrat"
"""In the name of an init container, by common habit: it changes a schema before the new version starts."""
ONE_WORKLOAD = Quantity(amount=1, unit="workloads")


class RollbackPolicy(Value):
    """When a release is taken back."""

    within: Annotated[Seconds, Field(ge=60, le=86400)] = 3600
    """The trouble must have begun so soon after the release."""
    proven_after: Annotated[Seconds, Field(ge=300, le=30 * 86400)] = 3600
    """A revision that stayed in place for so long counts as healthy."""
    migration_annotation: str = Field(default="nightshift.dev/migration", min_length=1, max_length=253)
    """An annotation of the pod template that says the release changes a schema; so does an init container named so."""
    block_deployments: bool = False
    """Mark the workload afterwards, so that pipelines which know the mark release nothing before a person looked."""
    block_annotation: str = Field(default=DEPLOYMENTS_BLOCKED, min_length=1, max_length=253)


@dataclass(frozen=True, kw_only=True)
class Release:
    """A workload and what is known about its releases."""

    workload: Workload
    revisions: Sequence[Revision] = ()
    health: Health = field(default_factory=Health)


@serves("octollm.HighErrorRate: r1.1", "octollm.HighLatency: r6.1")
def why_not_the_release(release: Release, symptom_since: datetime | None, policy: RollbackPolicy) -> str:
    """Why the newest release is not to blame; empty when it is: the trouble began soon after it."""
    began = released_at(release.workload, release.revisions)
    if release.workload.kind is not WorkloadKind.DEPLOYMENT or not release.workload.revision:
        return "only Deployments keep revisions that can be gone back to"
    if began is None:
        return "it cannot be told when the newest release began"
    if symptom_since is None:
        return "it cannot be told when the trouble began"
    after = (symptom_since - began).total_seconds()
    if after < 0:
        return f"the trouble began {format_duration(-after)} before the newest release"
    if after > policy.within:
        return f"the newest release was {format_duration(after)} before the trouble"
    return ""


@serves("octollm.PodCrashLoopBackOff: r5.3", "octollm.HighErrorRate: r1.3", "octollm.HighLatency: r6.3")
def roll_back(target: Target, release: Release, policy: RollbackPolicy, reason: str, changes: Changes) -> bool:
    """Plan to go back to the last healthy revision; False when that is refused, with the reason in the changes."""
    workload = release.workload
    what = f"Rolling back {printable(workload.name, 100)}"
    if refusal := _why_not(release, what):
        changes.refusals.append(refusal)
        return False
    way = way_back(workload, release.revisions, release.health)
    if way.to is None:
        detail = f" ({listed(way.passed_over)})" if way.passed_over else ""
        lifted_by = "a person who knows a revision that worked: kubectl rollout undo --to-revision"
        changes.refusals.append(Refusal(what=what, reason=f"{way.why_not}{detail}", lifted_by=lifted_by))
        return False
    action = _undo(target, workload, way.to, policy, reason, way.passed_over)
    if not changes.change(action, workload, differences(workload.template, way.to.revision.template)):
        return False
    if policy.block_deployments:
        _block(target, workload, way.to, policy, changes)
    return True


def migrates(template: Template, policy: RollbackPolicy) -> bool:
    """Whether a release with this template changes a schema."""
    said = template.annotations.get(policy.migration_annotation, "")
    named = any(container.is_init and _MIGRATES in container.name.lower() for container in template.containers)
    return named or said.strip().lower() not in ("", "false", "no", "none", "0")


@serves("octollm.PodCrashLoopBackOff: r5.2")
def differences(now: Template, then: Template) -> tuple[FieldChange, ...]:
    """What going back changes: images first; the rest of the template by its digest."""
    before = {container.name: container.image for container in now.containers}
    after = {container.name: container.image for container in then.containers}
    images = tuple(
        FieldChange(
            path=f"spec.template.spec.containers[name={name}].image",
            before=before.get(name, ""),
            after=after.get(name, ""),
        )
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )
    return images or (FieldChange(path="spec.template", before=now.digest[:12], after=then.digest[:12]),)


def _why_not(release: Release, what: str) -> Refusal | None:
    status = rollout_status(release.workload)
    if status.state is RolloutState.PAUSED:
        return Refusal(what=what, reason=status.words, lifted_by="kubectl rollout resume, by who paused it")
    if status.state is RolloutState.UNSEEN:
        return Refusal(what=what, reason=status.words, lifted_by="its controller, in a moment")
    return None


def _undo(
    target: Target,
    workload: Workload,
    to: Proven,
    policy: RollbackPolicy,
    reason: str,
    passed_over: Sequence[str],
) -> Action:
    name, number = printable(workload.name, 100), to.revision.number
    schema = migrates(workload.template, policy)
    skipped = f" Passed over: {listed(passed_over)}." if passed_over else ""
    asks = "The release changed a schema: the old version must be able to work with the new one." if schema else ""
    arguments = RolloutUndo(
        workload=workload.kind,
        namespace=workload.namespace,
        name=workload.name,
        uid=workload.uid,
        template=workload.template.digest,
        from_revision=workload.revision,
        to_revision=number,
        to_template=to.revision.template.digest,
    )
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(workload.uid,),
        title=f"Roll back {name} from revision {workload.revision} to {number}",
        reason=f"{reason} Revision {number} worked: {to.proof}.{skipped}{f' {asks}' if asks else ''}",
        risk=Risk.HIGH if schema else Risk.MEDIUM,
        asks=asks,
        bound=ONE_WORKLOAD,
        gain=ONE_WORKLOAD,
        undo=f"roll forward to revision {workload.revision}'s pod template",
        undo_when=UndoWhen.BY_HAND,
        impact=impact_on(workload),
    )


@serves("octollm.HighLatency: r6.6")
def _block(target: Target, workload: Workload, to: Proven, policy: RollbackPolicy, changes: Changes) -> None:
    why = f"rolled back from revision {workload.revision} to {to.revision.number} by Nightshift"
    arguments = BlockDeployments(
        workload=workload.kind,
        namespace=workload.namespace,
        name=workload.name,
        uid=workload.uid,
        template=to.revision.template.digest,
        annotation=policy.block_annotation,
        reason=why,
    )
    action = Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(workload.uid,),
        title=f"Mark {printable(workload.name, 100)} so that nothing is released before a person looked",
        reason="The next pipeline run would bring the same release again.",
        risk=Risk.LOW,
        bound=ONE_WORKLOAD,
        gain=ONE_WORKLOAD,
        undo=f"a person removes the annotation {policy.block_annotation}",
        impact=impact_on(workload),
    )
    path = f"metadata.annotations[{policy.block_annotation}]"
    changes.change(action, workload, (FieldChange(path=path, before="", after=why),))


def impact_on(workload: Workload) -> Impact:
    """What a change of this workload touches."""
    return Impact(
        what=f"{workload.kind} {printable(f'{workload.namespace}/{workload.name}', 120)}",
        how_much=f"{counted(workload.replicas, 'pod')}, {workload.available} of them available",
        users=f"whoever uses {printable(workload.name, 100)}",
    )
