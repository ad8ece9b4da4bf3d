"""The Deployment of a trading agent with its pods, their end, their log, and how its CPU limit holds it back.

Operations ``kubernetes.list_pods``, ``pod_logs`` and ``describe_pod``: cryptofunk.AgentDown.d1, d3, r1.1, r4.1 and
cryptofunk.TradingSessionFailure.d1-d3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.crash_look import diagnose_pod
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.load_look import diagnose_pod_load
from nightshift.remediation.clients.kubernetes.resources import AUTOSCALERS, DEPLOYMENTS, PODS
from nightshift.remediation.clients.kubernetes.workload_look import pods_of, release_of
from nightshift.remediation.clients.resource_use import Meter
from nightshift.remediation.errors import CommandFailedError, NightshiftError, NotMeasuredError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import is_crashing, last_lines, shown
from nightshift.remediation.kubernetes.crash_policy import PodCrashLoopPolicy
from nightshift.remediation.kubernetes.objects import Pod
from nightshift.remediation.trading_agents.facts import PodsSeen
from nightshift.remediation.trading_agents.policy import AgentUnavailablePolicy

_LINES = 100
_COMPONENT = "app.kubernetes.io/component"
_RECENT_SECONDS = 600
_KEY_REFUSED = re.compile(
    r"(invalid|incorrect|expired|revoked)[ _-]{0,3}(x-)?api[ _-]?key|unauthori[sz]ed|authentication[ _]error"
    r"|(status|code|http)\D{0,12}401\b",
    re.IGNORECASE,
)


@serves("cryptofunk.AgentDown: d1 d3", "cryptofunk.TradingSessionFailure: d1 d2 d3")
def look_at_agent_pods(
    cluster: Cluster, namespace: str, name: str, policy: AgentUnavailablePolicy, meter: Meter | None
) -> PodsSeen | None:
    """The Deployment and its pods; None: it exists no more.

    Raises:
        NightshiftError: something could not be read; nothing is concluded from a part.
    """
    try:
        workload = cluster.get(DEPLOYMENTS, name, namespace)
    except ObjectNotFoundError:
        return None
    pods = pods_of(cluster, workload)
    worst = _worst(pods)
    crash = diagnose_pod(cluster, namespace, worst.name, PodCrashLoopPolicy()) if worst is not None else None
    agents = list(cluster.list(PODS, namespace, labels={_COMPONENT: policy.agents.component}))
    seen = PodsSeen(
        release=release_of(cluster, workload, policy.rollback),
        pods=pods,
        crash=crash,
        log=newest_lines(cluster, worst) if worst is not None else (),
        agents=tuple(pod.name for pod in agents),
        agents_not_ready=tuple(pod.name for pod in agents if not pod.is_ready),
        autoscalers=tuple(cluster.list(AUTOSCALERS, namespace)),
        now=cluster.now(),
    )
    return _with_cpu(cluster, seen, worst, meter) if meter is not None and worst is not None else seen


def _worst(pods: Sequence[Pod]) -> Pod | None:
    return min(pods, key=lambda pod: (not is_crashing(pod), pod.is_ready, pod.name), default=None)


@serves("cryptofunk.AgentDown: r5.2", "cryptofunk.TradingSessionFailure: r1.2")
def newest_lines(cluster: Cluster, pod: Pod) -> tuple[str, ...]:
    """The newest lines of its containers, credentials masked."""
    found: list[str] = []
    for container in pod.containers:
        if container.is_init:
            continue
        try:
            log = cluster.logs(pod.name, pod.namespace, container.name, tail=_LINES)
        except CommandFailedError:
            continue  # it was never started
        found += [shown(line) for line in last_lines(log)]
    return tuple(found[-_LINES:])


def _with_cpu(cluster: Cluster, seen: PodsSeen, pod: Pod, meter: Meter) -> PodsSeen:
    """With what its hungriest container uses; a pod that nobody measures yet is left as it is."""
    try:
        load = diagnose_pod_load(cluster, pod.namespace, pod.name, meter, meter.window)
    except NotMeasuredError:
        return seen
    if load is None:
        return seen
    return replace(
        seen,
        throttled_percent=load.throttled_percent,
        cpu=load.uses[-1] if load.uses else None,
        cpu_container=load.container.name,
        cpu_left_on_node=load.left_on_node,
    )


@serves("cryptofunk.AgentDown: r1.1")
def refused_keys(cluster: Cluster, namespace: str, name: str) -> tuple[int, str]:
    """How many of the newest lines of a Deployment's log say that its key is refused, and the newest of them.

    A log that cannot be read says nothing.
    """
    try:
        pods = pods_of(cluster, cluster.get(DEPLOYMENTS, name, namespace))
        logs = [
            cluster.logs(pod.name, namespace, container.name, tail=_LINES, since_seconds=_RECENT_SECONDS)
            for pod in pods
            for container in pod.containers
            if pod.is_ready and not container.is_init
        ]
    except NightshiftError:
        return 0, ""
    lines = [line for log in logs for line in last_lines(log) if _KEY_REFUSED.search(line)]
    return len(lines), shown(lines[-1]) if lines else ""
