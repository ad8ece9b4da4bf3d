"""What is around a certificate's renewal: cert-manager's log about it, its ingresses' events, the ingress controller.

Operations ``kubernetes.pod_logs``, ``describe_ingress`` and ``list_pods``: octollm.CertificateExpiringInSevenDays.d5,
r4.2 and r4.4. Evidence for people only: what cannot be read is said, and keeps nobody from the repair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from nightshift.remediation.certificates.diagnosis import CertificateDiagnosis
from nightshift.remediation.certificates.policy import CertificateExpiryPolicy
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.parsing.common import listed, metadata, text
from nightshift.remediation.clients.kubernetes.resources import EVENTS, INGRESSES, PODS
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.objects import Event, Pod

_LINES = 500
_SINCE = 6 * 3600
"""Seconds; cert-manager tries again within hours."""
_MOST_PODS = 6


def with_surroundings(
    cluster: Cluster, seen: CertificateDiagnosis, policy: CertificateExpiryPolicy
) -> CertificateDiagnosis:
    """The same, with what is around it."""
    unseen: list[str] = []
    log: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    pods: tuple[Pod, ...] | None = None
    try:
        log = tuple(_log(cluster, seen))
    except NightshiftError as error:
        unseen.append(f"cert-manager's log: {error}")
    if any(challenge.type == "HTTP-01" for challenge in seen.open_challenges):
        try:
            events = _ingress_events(cluster, seen)
            pods = _controller_pods(cluster, policy)
        except NightshiftError as error:
            unseen.append(f"the ingress: {error}")
    return replace(seen, log=log, ingress_events=events, ingress_pods=pods, unseen=tuple(unseen))


@serves("octollm.CertificateExpiringInSevenDays: d5")
def _log(cluster: Cluster, seen: CertificateDiagnosis) -> Iterator[str]:
    """Lines of cert-manager's pods that name the certificate, its request, its order or a challenge."""
    chain = (seen.certificate, seen.request, seen.order, *seen.open_challenges)
    names = "|".join(re.escape(one.name) for one in chain if one is not None)
    about = re.compile(rf"(?<![\w.-])(?:{names})(?![\w.-])")
    parts = [part.selector for part in seen.cert_manager if part.selector is not None]
    mine = [pod for pod in seen.cert_manager_pods if any(part.matches(pod.meta.labels) for part in parts)]
    for pod in mine[:_MOST_PODS]:
        for status in pod.statuses:
            if status.running_since is not None:
                log = cluster.logs(pod.name, pod.namespace, status.name, tail=_LINES, since_seconds=_SINCE)
                yield from (line for line in log.splitlines() if about.search(line[:4000]))


@serves("octollm.CertificateExpiringInSevenDays: r4.4")
def _ingress_events(cluster: Cluster, seen: CertificateDiagnosis) -> tuple[Event, ...]:
    """About the ingresses with a rule for one of its names; those of others are not told."""
    names, namespace = set(seen.certificate.dns_names), seen.certificate.namespace
    uids = {
        metadata(document).uid
        for document in cluster.list(INGRESSES, namespace)
        if any(text(rule, "host") in names for rule in listed(document, "spec", "rules"))
    }
    events = cluster.list(EVENTS, namespace, fields={"involvedObject.kind": "Ingress"})
    return tuple(event for event in events if event.about_uid in uids)


@serves("octollm.CertificateExpiringInSevenDays: r4.2")
def _controller_pods(cluster: Cluster, policy: CertificateExpiryPolicy) -> tuple[Pod, ...] | None:
    """Of the ingress controller; None: the runbook does not say where it runs."""
    if policy.ingress_namespace is None:
        return None
    return tuple(pod for pod in cluster.list(PODS, policy.ingress_namespace) if not pod.is_finished)
