"""Look at what changed in a cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from nightshift.remediation.clients.kubernetes.change_look import (
    look_at_configuration,
    look_at_release,
    look_at_scaling,
)
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import DEPLOYMENTS
from nightshift.remediation.connections import HttpConnection, KubernetesConnection
from nightshift.remediation.kubernetes.change_planner import ChangeSeen
from nightshift.remediation.kubernetes.change_policy import ChangeReviewPolicy
from nightshift.remediation.kubernetes.rollout_state import RolloutStatus, rollout_status
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0


@diagnostic("see who changed what", of="{cluster} {namespace}/{name}")
def look_at_change(
    cluster: str,
    connection: KubernetesConnection,
    metrics: tuple[str, HttpConnection] | None,
    namespace: str,
    name: str,
    policy: ChangeReviewPolicy,
    time_zone: str,
) -> ChangeSeen | None:
    """The object that changed, who wrote it and when; None: it exists no more."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        if policy.change == "release":
            return look_at_release(opened, namespace, name)
        if policy.change == "configuration":
            return look_at_configuration(opened, namespace, name)
        if metrics is None:
            raise ValueError("the policy of scaling names a Prometheus")
        seen = look_at_scaling(opened, namespace, name, metrics)
    if seen is None or policy.peak is None:
        return seen
    return replace(seen, expected=policy.peak.contain(seen.record.at or datetime.now(UTC), time_zone))


@diagnostic("see whether a rollout is complete", of="{cluster} {namespace}/{name}")
def look_at_rollout(cluster: str, connection: KubernetesConnection, namespace: str, name: str) -> RolloutStatus | None:
    """How the rollout of a Deployment is; None: it exists no more."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        try:
            return rollout_status(opened.get(DEPLOYMENTS, name, namespace))
        except ObjectNotFoundError:
            return None
