"""Ending pods in a Kubernetes cluster: draining a node, relieving it, and deleting one pod.

Only the gate carries these out; see :mod:`nightshift.remediation.clients.kubernetes.draining`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from nightshift.remediation.actions import Connections, Effect, Observation
from nightshift.remediation.clients.kubernetes import draining
from nightshift.remediation.clients.kubernetes.changing import delete_pod as delete_in_cluster
from nightshift.remediation.clients.kubernetes.changing import pod_now
from nightshift.remediation.clients.kubernetes.cluster import Cluster, shown
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import NODES, PODS, SERVICES
from nightshift.remediation.clients.kubernetes.service_look import ready_endpoints
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes.arguments import DeletePod, DrainNode, EvictPods, ListedPod
from nightshift.remediation.kubernetes.node_diagnosis import is_well
from nightshift.remediation.models import Action, Quantity
from nightshift.remediation.text import printable
from nightshift.tasks.kubernetes_actions import LOOK_SECONDS, cluster_of, permitted
from nightshift.tasks.progress import ProgressArtifact
from nightshift.tasks.steps import action as declare_action

ROUND_SECONDS = 420.0
"""One round of evictions; what is left then waits for the next, so that a worker that dies holds nobody up for long."""
ROUND_TIMEOUT_SECONDS = 480.0
TRIAL_SECONDS = 120.0
DELETE_TIMEOUT_SECONDS = 90.0
_GONE_WITHIN = 45.0


def _still_drainable(action: Action, connections: Connections) -> None:
    arguments = DrainNode.from_json(action.arguments)
    with cluster_of(action, connections, TRIAL_SECONDS) as cluster:
        try:
            node = cluster.get(NODES, arguments.node)
        except ObjectNotFoundError:
            raise TargetChangedError(f"{shown(NODES, arguments.node)} is gone.") from None
        if node.uid != arguments.uid:
            raise TargetChangedError(f"{shown(NODES, arguments.node)} is another one of the same name now.")
        if not node.unschedulable:
            raise TargetChangedError(f"{shown(NODES, arguments.node)} takes new pods: it is not cordoned any more.")
        if arguments.only_in_trouble and is_well(node):
            raise TargetChangedError(f"{shown(NODES, arguments.node)} is well again: its pods may stay.")
        _still_there(cluster, arguments.node, arguments.pods)
        draining.try_dry(cluster, arguments.pods)


def _still_evictable(action: Action, connections: Connections) -> None:
    arguments = EvictPods.from_json(action.arguments)
    with cluster_of(action, connections, TRIAL_SECONDS) as cluster:
        _still_there(cluster, arguments.node, arguments.pods)
        draining.try_dry(cluster, arguments.pods)


def _still_there(cluster: Cluster, node: str, pods: Sequence[ListedPod]) -> None:
    """A pod that is gone needs no eviction; one that is on another node must not get one."""
    for pod in pods:
        found = pod_now(cluster, pod.namespace, pod.name, pod.uid)
        if found is not None and found.node != node:
            raise TargetChangedError(f"{shown(PODS, pod.name, pod.namespace)} is not on {printable(node)} any more.")


def _observe_drained(action: Action, connections: Connections) -> Observation:
    return _observe_gone(action, connections, DrainNode.from_json(action.arguments).pods)


def _observe_evicted(action: Action, connections: Connections) -> Observation:
    return _observe_gone(action, connections, EvictPods.from_json(action.arguments).pods)


def _observe_gone(action: Action, connections: Connections, pods: Sequence[ListedPod]) -> Observation:
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        return Observation.NOT_DONE if draining.left(cluster, pods) else Observation.DONE


@declare_action(
    kind=DrainNode.KIND,
    name="drain a node",
    timeout=ROUND_TIMEOUT_SECONDS,
    precondition=_still_drainable,
    observe=_observe_drained,
    permitted=permitted(DrainNode),
    undo=None,
)
def drain_node(action: Action, connections: Connections) -> Effect:
    """Operation ``kubernetes.drain_node``: octollm.NodeNotReady, scenario.node_failure_with_crashing_pods."""
    arguments = DrainNode.from_json(action.arguments)
    return _evict(action, connections, arguments.pods, arguments.seconds)


@declare_action(
    kind=EvictPods.KIND,
    name="evict pods",
    timeout=ROUND_TIMEOUT_SECONDS,
    precondition=_still_evictable,
    observe=_observe_evicted,
    permitted=permitted(EvictPods),
    undo=None,
)
def evict_pods(action: Action, connections: Connections) -> Effect:
    """A part of ``kubernetes.drain_node``, to relieve a node: octollm.NodeNotReady, HighNodeMemoryUsage."""
    arguments = EvictPods.from_json(action.arguments)
    return _evict(action, connections, arguments.pods, arguments.seconds)


def _evict(action: Action, connections: Connections, pods: Sequence[ListedPod], seconds: float) -> Effect:
    if len(pods) > action.bound.amount:
        raise TargetChangedError(f"The plan names {len(pods)} pods, and at most {action.bound} may be ended.")
    within = min(seconds, ROUND_SECONDS)
    progress = ProgressArtifact(f"evictions-{action.target.label}", action.title)
    with cluster_of(action, connections, within + LOOK_SECONDS) as cluster:
        done = draining.evict_all(cluster, pods, within, progress.show)
    return Effect(
        summary=done.summary,
        amount=Quantity(amount=len(done.evicted), unit="pods"),
        evidence={
            "evicted": [pod.identity for pod in done.evicted],
            "ending": [pod.identity for pod in done.ending],
            "stuck": [pod.identity for pod in done.stuck],
            "refused": dict(done.refused),
        },
    )


def _still_made_again(action: Action, connections: Connections) -> None:
    arguments = DeletePod.from_json(action.arguments)
    pod, needs = arguments.pod, arguments.needs_service
    with cluster_of(action, connections, LOOK_SECONDS) as cluster:
        found = pod_now(cluster, pod.namespace, pod.name, pod.uid)
        answers = not needs or ready_endpoints(cluster, pod.namespace, needs) > 0
    if found is None:
        raise TargetChangedError(f"{shown(PODS, pod.name, pod.namespace)} is gone.")
    if found.meta.controller is None or found.is_mirror:
        raise TargetChangedError(f"No controller would make {shown(PODS, pod.name, pod.namespace)} again.")
    if not answers:
        raise TargetChangedError(f"Nobody answers behind {shown(SERVICES, needs, pod.namespace)} yet.")


def _observe_deleted(action: Action, connections: Connections) -> Observation:
    return _observe_gone(action, connections, (DeletePod.from_json(action.arguments).pod,))


@declare_action(
    kind=DeletePod.KIND,
    name="delete a pod",
    timeout=DELETE_TIMEOUT_SECONDS,
    precondition=_still_made_again,
    observe=_observe_deleted,
    permitted=permitted(DeletePod),
    undo=None,
)
def delete_pod(action: Action, connections: Connections) -> Effect:
    """Operation ``kubernetes.delete_pod``: octollm.PodCrashLoopBackOff, HighNodeMemoryUsage, LowCacheHitRate."""
    pod = DeletePod.from_json(action.arguments).pod
    with cluster_of(action, connections, _GONE_WITHIN + LOOK_SECONDS) as cluster:
        delete_in_cluster(cluster, pod.namespace, pod.name, pod.uid)
        until = time.monotonic() + _GONE_WITHIN
        while (there := pod_now(cluster, pod.namespace, pod.name, pod.uid)) and time.monotonic() < until:
            time.sleep(1.0)
    named = shown(PODS, pod.name, pod.namespace)
    summary = f"{named} is being deleted, within its grace period" if there else f"{named} is gone"
    return Effect(summary=summary, amount=Quantity(amount=1, unit="pods"), evidence={"pod": pod.identity})
