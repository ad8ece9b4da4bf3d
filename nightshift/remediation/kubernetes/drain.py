"""Which pods of a node may be evicted, each with a verdict and its reason; nothing is changed by asking.

The five filters of ``kubectl drain`` (kubernetes/kubernetes ``staging/src/k8s.io/kubectl/pkg/drain/filters.go``) and
their order are the reference: with the same options, whatever is evicted here kubectl would evict, too. Beyond it:

- every pod has its verdict, also those that stay, and one pod that must stay does not keep the others;
- what the disruption budgets will answer is told beforehand, so that the approver sees what will block;
- a pod whose volume exists on this node only stays: nowhere else could it start;
- pods stuck in termination are named, never forced: only the kubelet or a dead machine ends their containers.

Serves octollm.NodeNotReady.r1.6, r2.5, r3.6, r4.7, r5.4 and octollm.scenario.node_failure_with_crashing_pods.
"""

# ruff: noqa: ARG001  every filter has the same signature, whether it looks at all of it or not

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from nightshift.remediation.durations import format_duration
from nightshift.remediation.kubernetes.disruption import Allowances, BudgetAnswer, Leave
from nightshift.remediation.kubernetes.objects import DisruptionBudget, PersistentVolume, Pod
from nightshift.remediation.text import printable


class Fate(StrEnum):
    """What a drain does about a pod."""

    EVICT = "evict"
    EVICT_LATER = "evict later"
    """Its disruption budget is spent; it is asked again while the others go."""
    STAYS = "stays"
    """It belongs here, or goes by itself: nothing is missing when it stays."""
    REFUSED = "refused"
    """It must not be evicted before a person decides."""
    STUCK = "stuck"
    """It was to be gone long ago."""


@dataclass(frozen=True, kw_only=True)
class DrainOptions:
    """What a drain may do beyond evicting pods that are made again elsewhere without loss."""

    delete_empty_dir: bool = False
    """``kubectl drain --delete-emptydir-data``."""
    evict_unmanaged: bool = False
    """``kubectl drain --force``: such pods are gone for good."""
    stuck_after: float = 60
    """Seconds past the end of its grace period after which a terminating pod counts as stuck."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the filters may look at."""

    now: datetime
    options: DrainOptions = DrainOptions()
    budgets: Sequence[DisruptionBudget] = ()
    volumes: Sequence[PersistentVolume] = ()
    """Of the pods' claims; a volume that is not known binds nobody to a node."""
    daemon_sets: frozenset[tuple[str, str]] | None = None
    """Namespace and name of all that exist; None: not looked at, all do."""
    urgent_first: bool = False
    """Evict important pods first: the node serves nobody, so what matters most must start elsewhere first."""
    bound_here: Mapping[str, str] = field(init=False)
    """Claims (``namespace/name``) with the volume that exists on one node only."""

    def __post_init__(self) -> None:
        bound = {volume.claim: volume.name for volume in self.volumes if volume.claim and len(volume.nodes) == 1}
        object.__setattr__(self, "bound_here", bound)


@dataclass(frozen=True, kw_only=True)
class PodVerdict:
    """What happens to one pod, and why."""

    pod: Pod
    fate: Fate
    reason: str
    lifted_by: str | None = None
    budget: str = ""
    detail: str = ""
    """About this one pod; printable."""

    @property
    def goes(self) -> bool:
        """Whether the drain evicts it, now or when its budget allows."""
        return self.fate in (Fate.EVICT, Fate.EVICT_LATER)


@dataclass(frozen=True)
class Kept:
    """The answer of a filter that objects."""

    fate: Fate
    reason: str
    lifted_by: str | None = None
    detail: str = ""


Filter = Callable[[Pod, Scene], Kept | None]


def leaving_already(pod: Pod, scene: Scene) -> Kept | None:
    """A terminating pod needs no eviction; kubectl evicts it again, which changes nothing, and waits for it."""
    deletion = pod.meta.deletion_at
    if deletion is None:
        return None
    overdue = (scene.now - deletion).total_seconds()
    if overdue <= scene.options.stuck_after:
        return Kept(Fate.STAYS, "it is terminating already")
    held = [printable(finalizer, 60) for finalizer in pod.meta.finalizers[:3]]
    return Kept(
        Fate.STUCK,
        "it is terminating, but nobody confirms that it ended",
        "the kubelet answering again, or its Node removed once the machine is known to be off",
        f"was to be gone {format_duration(overdue)} ago" + (f"; finalizers: {', '.join(held)}" if held else ""),
    )


def mirror(pod: Pod, scene: Scene) -> Kept | None:
    """``mirrorPodFilter``: the API's image of a static pod, which only its kubelet can end."""
    return Kept(Fate.STAYS, "it is a static pod of the kubelet's own") if pod.is_mirror else None


def of_daemon_set(pod: Pod, scene: Scene) -> Kept | None:
    """``daemonSetFilter`` with ``--ignore-daemonsets``: its controller ignores the cordon and would make it again."""
    controller = pod.meta.controller
    if controller is None or controller.kind != "DaemonSet" or pod.is_finished:
        return None
    if scene.daemon_sets is None or (pod.namespace, controller.name) in scene.daemon_sets:
        return Kept(Fate.STAYS, "its DaemonSet runs one on every node")
    if scene.options.evict_unmanaged:
        return None
    return Kept(Fate.REFUSED, "its DaemonSet exists no more, so nothing would make it again", "evict_unmanaged: true")


def unmanaged(pod: Pod, scene: Scene) -> Kept | None:
    """``unreplicatedFilter``: evicting a pod that no controller keeps deletes it for good."""
    if pod.is_finished or pod.meta.controller is not None or scene.options.evict_unmanaged:
        return None
    return Kept(Fate.REFUSED, "no controller would make it again", "evict_unmanaged: true, or a controller for it")


def local_storage(pod: Pod, scene: Scene) -> Kept | None:
    """``localStorageFilter``: the content of an emptyDir is lost with the pod."""
    names = [printable(volume.name, 40) for volume in pod.volumes if volume.kind == "emptyDir"]
    if not names or pod.is_finished or scene.options.delete_empty_dir:
        return None
    return Kept(Fate.REFUSED, f"the content of its emptyDir {names[0]} would be lost", "delete_empty_dir: true")


def volume_only_here(pod: Pod, scene: Scene) -> Kept | None:
    """Not in kubectl: elsewhere it would wait for its volume for ever."""
    if pod.is_finished:
        return None
    for volume in pod.volumes:
        key = f"{pod.namespace}/{volume.source}"
        if volume.kind == "persistentVolumeClaim" and key in scene.bound_here:
            name = printable(scene.bound_here[key], 60)
            return Kept(Fate.REFUSED, f"its volume {name} exists on this node only", "its data moved elsewhere")
    return None


FILTERS: tuple[Filter, ...] = (mirror, of_daemon_set, leaving_already, local_storage, unmanaged, volume_only_here)
"""First objection counts."""


def verdicts(pods: Sequence[Pod], scene: Scene) -> tuple[PodVerdict, ...]:
    """Every pod with its verdict: first those that go now, in the order of their eviction, then the others.

    Less important pods go first, so that what matters most is disturbed last, and a drain that is cut short disturbed
    the least; with ``urgent_first`` it is the other way round. What a budget keeps waits behind all that may go.
    """
    allowances = Allowances(scene.budgets)
    judged = [_verdict(pod, scene, allowances) for pod in sorted(pods, key=lambda pod: _order(pod, scene))]
    rank = list(Fate)
    return tuple(sorted(judged, key=lambda verdict: rank.index(verdict.fate)))


def _order(pod: Pod, scene: Scene) -> tuple[int, str, str]:
    return (-pod.priority if scene.urgent_first else pod.priority, pod.namespace, pod.name)


def _verdict(pod: Pod, scene: Scene, allowances: Allowances) -> PodVerdict:
    for objection in FILTERS:
        if (kept := objection(pod, scene)) is not None:
            return PodVerdict(pod=pod, fate=kept.fate, reason=kept.reason, lifted_by=kept.lifted_by, detail=kept.detail)
    answer = allowances.ask(pod)
    fate = {Leave.NOW: Fate.EVICT, Leave.LATER: Fate.EVICT_LATER, Leave.NEVER: Fate.REFUSED}[answer.leave]
    reason = answer.reason or _why_it_may_go(pod, answer)
    return PodVerdict(pod=pod, fate=fate, reason=reason, lifted_by=answer.lifted_by, budget=answer.budget)


def _why_it_may_go(pod: Pod, answer: BudgetAnswer) -> str:
    controller = pod.meta.controller
    if pod.is_finished:
        return "it has finished"
    again = f"its {printable(controller.kind, 40)} makes it again" if controller else "allowed by evict_unmanaged"
    return f"{again}, and its disruption budget {printable(answer.budget, 60)} allows it" if answer.budget else again
