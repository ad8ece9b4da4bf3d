"""Everything that the planner for a crashing pod gets to know, read in one go; nothing is changed.

Operations ``kubernetes.read_pod``, ``pod_logs``, ``describe_pod``, ``list_pods`` and ``read_configmap``:
octollm.PodCrashLoopBackOff.d1-d9. Secrets are not read, not even their names: the kubelet says when one is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from nightshift.remediation.clients.kubernetes.claim_look import diagnose_claim
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import ForbiddenError, ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.parsing.common import metadata
from nightshift.remediation.clients.kubernetes.resources import CLAIMS, CONFIG_MAPS, EVENTS, NODES, PODS
from nightshift.remediation.clients.kubernetes.service_look import look_at_dependency
from nightshift.remediation.clients.kubernetes.workload_look import (
    pods_of,
    release_of,
    workload_named_by,
    workload_of,
)
from nightshift.remediation.errors import CommandFailedError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.claim_diagnosis import ClaimDiagnosis
from nightshift.remediation.kubernetes.crash_diagnosis import (
    CrashDiagnosis,
    Dependency,
    Reference,
    began_to_crash,
    is_crashing,
    is_ended_by_a_crash,
    kills_within_an_hour,
)
from nightshift.remediation.kubernetes.crash_policy import PodCrashLoopPolicy
from nightshift.remediation.kubernetes.objects import Claim, Event, Node, Pod, Workload
from nightshift.remediation.kubernetes.room import requests_of

_LINES = 300


@serves("octollm.PodCrashLoopBackOff: d1 d4 d5 d6")
def diagnose_pod(cluster: Cluster, namespace: str, name: str, policy: PodCrashLoopPolicy) -> CrashDiagnosis | None:
    """The pod of this name, or, where it was replaced meanwhile, one of the same workload, a crashing one first.

    Raises:
        NightshiftError: something could not be read; nothing is concluded from a part.
    """
    pod = pod_or_its_successor(cluster, namespace, name)
    return None if pod is None else _diagnosis(cluster, pod, policy)


def pod_or_its_successor(cluster: Cluster, namespace: str, name: str) -> Pod | None:
    """The pod of this name, or one of the workload it was of, a crashing one first; None: there is neither."""
    try:
        return cluster.get(PODS, name, namespace)
    except ObjectNotFoundError:
        workload = workload_named_by(cluster, namespace, name)
    pods = pods_of(cluster, workload) if workload is not None else []
    return next((pod for pod in pods if is_crashing(pod)), pods[0] if pods else None)


def _diagnosis(cluster: Cluster, pod: Pod, policy: PodCrashLoopPolicy) -> CrashDiagnosis:
    now, claims = cluster.now(), tuple(_claims(cluster, pod))
    workload, node = workload_of(cluster, pod), node_of(cluster, pod)
    beside = list(cluster.list(PODS, fields={"spec.nodeName": pod.node})) if pod.node else []
    about = {"involvedObject.kind": "Pod", "involvedObject.name": pod.name}
    events = [event for event in cluster.list(EVENTS, pod.namespace, fields=about) if event.about_uid == pod.uid]
    return CrashDiagnosis(
        pod=pod,
        node=node,
        crashing_on_node=_others_on_node(cluster, pod, beside),
        crashing_elsewhere=_elsewhere(cluster, pod, workload),
        release=release_of(cluster, workload, policy.rollback) if workload is not None else None,
        events=events,
        logs=dict(_logs(cluster, pod)),
        references=tuple(_references(cluster, pod)),
        claims=claims,
        unbound=tuple(_unbound(cluster, claims)),
        dependencies=tuple(_dependencies(cluster, pod, workload, policy)),
        kills_last_hour=kills_within_an_hour(pod, now),
        memory_left_on_node=_memory_left(node, beside),
        crashing_since=began_to_crash(pod, _of_crashes(events), now),
        now=now,
    )


def node_of(cluster: Cluster, pod: Pod) -> Node | None:
    """The node it runs on; None: none yet, or that node is gone."""
    try:
        return cluster.get(NODES, pod.node) if pod.node else None
    except ObjectNotFoundError:
        return None


def _others_on_node(cluster: Cluster, pod: Pod, beside: list[Pod]) -> int:
    """Other workloads whose programs crash on its node; 0 where there is only one node, which then says nothing."""
    others = {_owner(one) for one in beside if is_ended_by_a_crash(one)} - {_owner(pod)}
    return len(others) if others and sum(1 for _ in cluster.list(NODES)) > 1 else 0


def _owner(pod: Pod) -> tuple[str, str]:
    controller = pod.meta.controller
    return pod.namespace, controller.uid if controller is not None else pod.uid


def _elsewhere(cluster: Cluster, pod: Pod, workload: Workload | None) -> int:
    pods = pods_of(cluster, workload) if workload is not None else []
    return sum(is_crashing(other) and other.node != pod.node for other in pods)


def _of_crashes(events: list[Event]) -> list[Event]:
    return [event for event in events if event.type == "Warning" or event.reason in ("BackOff", "Killing")]


@serves("octollm.PodCrashLoopBackOff: d2 d3")
def _logs(cluster: Cluster, pod: Pod) -> Iterator[tuple[str, str]]:
    """Of the containers that crash: the run before this one, else this one; what was never started has none."""
    for status in pod.statuses:
        if not (status.restarts or status.terminated is not None):
            continue
        for previous in (True, False) if status.restarts else (False,):
            try:
                log = cluster.logs(pod.name, pod.namespace, status.name, previous=previous, tail=_LINES)
            except CommandFailedError:
                continue  # it is gone with its container, as the runtime cleans up
            if log.strip():
                yield status.name, log
                break


def _references(cluster: Cluster, pod: Pod) -> Iterator[Reference]:
    for kind, _, name in (need.partition("/") for need in pod.needs):
        if kind == "configmap":
            yield _config_map(cluster, pod.namespace, name)
        elif _claim(cluster, pod.namespace, name) is None:
            yield Reference(kind="claim", name=name, exists=False)


@serves("octollm.PodCrashLoopBackOff: d8")
def _config_map(cluster: Cluster, namespace: str, name: str) -> Reference:
    try:
        found = metadata(cluster.get(CONFIG_MAPS, name, namespace))
    except ObjectNotFoundError:
        return Reference(kind="configmap", name=name, exists=False)
    except ForbiddenError:
        return Reference(kind="configmap", name=name, exists=None)
    written = [manager.at for manager in found.managers if manager.at is not None]
    return Reference(kind="configmap", name=name, exists=True, changed_at=max(written, default=found.created_at))


@serves("octollm.PodCrashLoopBackOff: r6.1")
def _claims(cluster: Cluster, pod: Pod) -> Iterator[Claim]:
    for volume in pod.volumes:
        if volume.kind == "persistentVolumeClaim":
            found = _claim(cluster, pod.namespace, volume.source)
            if found is not None:
                yield found


@serves("octollm.PodCrashLoopBackOff: r6.2 r6.3")
def _unbound(cluster: Cluster, claims: Sequence[Claim]) -> Iterator[ClaimDiagnosis]:
    """With what was said about them, and whether their storage class exists."""
    for claim in claims:
        if claim.phase != "Bound":
            with suppress(ObjectNotFoundError):  # it is gone since
                yield diagnose_claim(cluster, claim.namespace, claim.name)


def _claim(cluster: Cluster, namespace: str, name: str) -> Claim | None:
    try:
        return cluster.get(CLAIMS, name, namespace)
    except ObjectNotFoundError:
        return None


def _dependencies(
    cluster: Cluster, pod: Pod, workload: Workload | None, policy: PodCrashLoopPolicy
) -> Iterator[Dependency]:
    """What the runbook says its pods need; nobody waits for itself."""
    for name in policy.dependencies:
        found = look_at_dependency(cluster, pod.namespace, name)
        if workload is None or found.workload is None or found.workload.uid != workload.uid:
            yield found


def _memory_left(node: Node | None, pods: list[Pod]) -> int | None:
    if node is None or node.allocatable.memory_bytes is None:
        return None
    return node.allocatable.memory_bytes - sum(requests_of(pod)[1] for pod in pods if not pod.is_finished)
