"""Compare how a Deployment answers with its releases."""

from __future__ import annotations

from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import DEPLOYMENTS
from nightshift.remediation.clients.kubernetes.workload_look import release_of
from nightshift.remediation.clients.request_quality import Service, compare_versions, measure_requests, trouble_since
from nightshift.remediation.connections import HttpConnection, KubernetesConnection
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.regression import RegressionDiagnosis
from nightshift.remediation.kubernetes.revisions import released_at
from nightshift.remediation.requests.policy import MeasuredRequests
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0
_LOOK_BACK = 3600.0
"""Seconds, where no release may be taken back."""


@serves("octollm.HighErrorRate: d2", "octollm.HighLatency: d3")
@diagnostic("compare requests with releases", of="{cluster} {namespace}/{name}")
def look_at_regression(
    cluster: str,
    connection: KubernetesConnection,
    metrics: HttpConnection,
    namespace: str,
    name: str,
    policy: MeasuredRequests,
) -> RegressionDiagnosis | None:
    """The Deployment with its releases, how it answers, and since when; None: it exists no more."""
    with open_cluster(cluster, connection, within=LOOK_SECONDS) as opened:
        try:
            workload = opened.get(DEPLOYMENTS, name, namespace)
        except ObjectNotFoundError:
            return None
        release = release_of(opened, workload, policy.rollback)
    service = Service(policy.prometheus, metrics, workload.namespace, workload.name)
    value, at = measure_requests(service, policy)
    look_back = 2 * policy.rollback.within if policy.rollback is not None else _LOOK_BACK
    if value <= policy.measure.at_most:
        return RegressionDiagnosis(release=release, value=value, since=None)
    since = trouble_since(service, policy, at, look_back, released_at(workload, release.revisions))
    newest = next((one.name for one in release.revisions if one.number == workload.revision), None)
    versions = None
    if newest is not None and since is not None:
        # Of the time of the trouble only: before it, all versions were well.
        versions = compare_versions(service, policy, newest, max(1.0, at - since.timestamp()))
    return RegressionDiagnosis(release=release, value=value, since=since, versions=versions)
