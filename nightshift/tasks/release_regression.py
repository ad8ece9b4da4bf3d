"""Look at a service whose requests fail or are slow, and watch it after a repair."""

from __future__ import annotations

import time

from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import DEPLOYMENTS
from nightshift.remediation.clients.kubernetes.workload_look import release_of
from nightshift.remediation.clients.request_quality import Service, measure_requests, trouble_since
from nightshift.remediation.connections import HttpConnection, KubernetesConnection
from nightshift.remediation.errors import TargetUnreachableError
from nightshift.remediation.kubernetes.regression import RegressionDiagnosis, RequestSample, held_for, judge_requests
from nightshift.remediation.kubernetes.regression_policy import ReleaseRegressionPolicy
from nightshift.tasks.steps import diagnostic

LOOK_SECONDS = 120.0
_LOOK_BACK = 3600.0
"""Seconds, where no release may be taken back."""
_LONGEST_PAUSE = 15.0
_LOOKS = 20


@diagnostic("compare requests with releases", of="{cluster} {namespace}/{name}")
def look_at_regression(
    cluster: str,
    connection: KubernetesConnection,
    metrics: HttpConnection,
    namespace: str,
    name: str,
    policy: ReleaseRegressionPolicy,
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
    since = trouble_since(service, policy, at, look_back) if value > policy.measure.at_most else None
    return RegressionDiagnosis(release=release, value=value, since=since)


@diagnostic("see whether requests are within their limit", of="{namespace}/{name}")
def requests_are_well(metrics: HttpConnection, namespace: str, name: str, policy: ReleaseRegressionPolicy) -> bool:
    """Whether there is nothing left to repair."""
    value, _ = measure_requests(Service(policy.prometheus, metrics, namespace, name), policy)
    return value <= policy.measure.at_most


@diagnostic("watch requests", of="{namespace}/{name}")
def watch_requests(
    metrics: HttpConnection, namespace: str, name: str, policy: ReleaseRegressionPolicy
) -> tuple[RequestSample, ...]:
    """Looks until requests were within their limit for ``hold`` seconds, or were not within ``wait``."""
    service = Service(policy.prometheus, metrics, namespace, name)
    began, samples = time.monotonic(), list[RequestSample]()
    while True:
        samples.append(_look(service, policy))
        well = held_for(samples, policy.measure.at_most) > 0
        waited = time.monotonic() - began
        if judge_requests(samples, policy).healthy or waited >= policy.wait + (policy.hold if well else 0):
            return tuple(samples)
        time.sleep(max(1.0, min(_LONGEST_PAUSE, policy.hold / _LOOKS)))


def _look(service: Service, policy: ReleaseRegressionPolicy) -> RequestSample:
    """One look; a Prometheus that cannot tell ends nothing: what counts is whether it can at the end."""
    try:
        return RequestSample(at=time.monotonic(), value=measure_requests(service, policy)[0])
    except TargetUnreachableError as error:
        return RequestSample(at=time.monotonic(), value=None, unknown=str(error))
