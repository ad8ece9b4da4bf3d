"""Evictions, one after the other, until all are gone or the time is over; operation ``kubernetes.drain_node``.

Only through the eviction API, each locked to the pod's uid, each within the pod's own grace period. A pod that its
budget keeps lets the others go first (:mod:`nightshift.remediation.kubernetes.eviction_order`). Begun anew after a kill
it goes on where it was: a pod that is gone, or is ending, costs one question.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nightshift.remediation.clients.kubernetes.changing import evict, pod_now
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import BudgetSpentError, SeveralBudgetsError
from nightshift.remediation.clients.kubernetes.resources import PODS
from nightshift.remediation.kubernetes.arguments import ListedPod
from nightshift.remediation.kubernetes.eviction_order import EvictionOrder
from nightshift.remediation.kubernetes.objects import Pod
from nightshift.remediation.text import counted, listed, printable

_LOOK_SECONDS = 1.0
_STUCK_SECONDS = 30.0
"""So long after its grace period a pod that is still there is called stuck."""


@dataclass
class Drained:
    """How far it came."""

    evicted: list[ListedPod] = field(default_factory=list)
    """Asked to end, or gone already."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why what was not evicted was not, by identity."""
    ending: list[ListedPod] = field(default_factory=list)
    """Evicted, and still there at the end."""
    stuck: list[ListedPod] = field(default_factory=list)
    """Of these, the ones whose grace period is long over: reported, never forced."""

    @property
    def summary(self) -> str:
        """In one line."""
        parts = [f"{counted(len(self.evicted) - len(self.ending), 'pod')} evicted and gone"]
        if self.ending:
            parts.append(f"still ending: {_names(self.ending)}")
        if self.stuck:
            parts.append(f"long over their grace period, left alone: {_names(self.stuck)}")
        if self.refused:
            parts.append(
                f"not evicted: {listed([printable(identity.partition('#')[0], 120) for identity in self.refused], 5)}"
            )
        return "; ".join(parts)


Progress = Callable[[int, int], None]
"""Told how many pods of how many were asked to end."""


def _untold(_done: int, _of: int) -> None:
    return None


def evict_all(cluster: Cluster, pods: Sequence[ListedPod], seconds: float, progress: Progress = _untold) -> Drained:
    """Evict these pods, in this order as far as their budgets let them, then wait for them to end.

    Args:
        cluster: where.
        pods: and no others.
        seconds: after which it ends and says what is left.
        progress: is told after each eviction.

    Raises:
        NightshiftError: the cluster cannot be reached, or refuses for good; what was evicted stays evicted.
    """
    until, order, done = time.monotonic() + seconds, EvictionOrder(pods), Drained()
    while order.left and time.monotonic() < until:
        pod = order.next(time.monotonic())
        if pod is None:
            time.sleep(max(0.0, min(order.wait(time.monotonic()), until - time.monotonic())))
            continue
        try:
            evict(cluster, pod.namespace, pod.name, pod.uid)
        except BudgetSpentError as kept:
            order.blocked(pod, time.monotonic(), str(kept), kept.retry_after)
        except SeveralBudgetsError as never:
            done.refused[pod.identity] = str(never)
            order.gone(pod)
        else:
            order.gone(pod)
            done.evicted.append(pod)
            progress(len(done.evicted), len(pods))
    done.refused |= {pod.identity: order.refusals.get(pod.identity, "there was no time left") for pod in order.left}
    _wait(cluster, done, until)
    return done


def _wait(cluster: Cluster, done: Drained, until: float) -> None:
    """Until what was evicted is gone, or stuck, or the time is over."""
    there = [(pod, found) for pod in done.evicted if (found := _now(cluster, pod)) is not None]
    while _end_by_themselves(there, cluster.now()) and time.monotonic() + _LOOK_SECONDS < until:
        time.sleep(_LOOK_SECONDS)
        there = [(pod, found) for pod, _ in there if (found := _now(cluster, pod)) is not None]
    done.ending = [pod for pod, _ in there]
    done.stuck = [pod for pod, found in there if is_stuck(found, cluster.now())]


def _end_by_themselves(there: Sequence[tuple[ListedPod, Pod]], now: datetime) -> bool:
    """Whether waiting may help some of them."""
    return any(not is_stuck(found, now) for _, found in there)


def is_stuck(pod: Pod, now: datetime) -> bool:
    """Whether it should have ended long ago: its kubelet does not answer, or a finalizer keeps it."""
    return pod.meta.deletion_at is not None and now > pod.meta.deletion_at + timedelta(seconds=_STUCK_SECONDS)


def try_dry(cluster: Cluster, pods: Sequence[ListedPod]) -> None:
    """Ask the server what it would answer, changing nothing; budgets that say "not now" are no objection.

    Raises:
        NightshiftError: evictions are refused for another reason.
    """
    for pod in pods:
        try:
            evict(cluster, pod.namespace, pod.name, pod.uid, dry=True)
        except (BudgetSpentError, SeveralBudgetsError):
            continue


def left(cluster: Cluster, pods: Sequence[ListedPod]) -> list[ListedPod]:
    """Which of these very pods are there and were not asked to end."""
    return [pod for pod in pods if (found := _now(cluster, pod)) is not None and not found.is_terminating]


def on_node(cluster: Cluster, node: str) -> list[Pod]:
    """The pods of a node, of all namespaces."""
    return list(cluster.list(PODS, fields={"spec.nodeName": node}))


def _now(cluster: Cluster, pod: ListedPod) -> Pod | None:
    return pod_now(cluster, pod.namespace, pod.name, pod.uid)


def _names(pods: Sequence[ListedPod]) -> str:
    return listed([printable(f"{pod.namespace}/{pod.name}", 120) for pod in pods], 5)
