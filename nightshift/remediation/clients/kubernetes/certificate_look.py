"""Everything that the planner of a certificate's renewal gets to know of the cluster; nothing is changed.

Operations ``certmanager.describe_certificate``, ``issuer_status``, ``kubernetes.list_pods``, ``list_events`` and
``list_ingresses``: octollm.CertificateExpiringInSevenDays.d1-d9. Secrets are not read.
"""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.certificates.diagnosis import CertificateDiagnosis
from nightshift.remediation.certificates.policy import CertificateExpiryPolicy
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.parsing.common import listed, part, text
from nightshift.remediation.clients.kubernetes.resources import (
    CERTIFICATE_REQUESTS,
    CERTIFICATES,
    CHALLENGES,
    CLUSTER_ISSUERS,
    DEPLOYMENTS,
    EVENTS,
    INGRESSES,
    ISSUERS,
    ORDERS,
    PODS,
)
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.objects import Certificate, Issuer, KubernetesObject, Workload


@serves("octollm.CertificateExpiringInSevenDays: d1 d2 d3 d4 d6 d7")
def diagnose_certificate(
    cluster: Cluster, namespace: str, name: str, policy: CertificateExpiryPolicy
) -> CertificateDiagnosis:
    """The certificate, the chain of its renewal, its issuer, and cert-manager.

    Raises:
        ObjectNotFoundError: there is no such certificate any more.
        ConfigurationError: cert-manager is not where the policy says.
        NightshiftError: something could not be read; nothing is concluded from a part.
    """
    certificate = cluster.get(CERTIFICATES, name, namespace)
    requests = [r for r in cluster.list(CERTIFICATE_REQUESTS, namespace) if _of(r, (certificate,))]
    orders = [order for order in cluster.list(ORDERS, namespace) if _of(order, requests)]
    challenges = [one for one in cluster.list(CHALLENGES, namespace) if _of(one, orders)]
    about = {"involvedObject.kind": "Certificate", "involvedObject.name": certificate.name}
    return CertificateDiagnosis(
        certificate=certificate,
        issuer=_issuer(cluster, certificate),
        requests=tuple(requests),
        orders=tuple(orders),
        challenges=tuple(challenges),
        events=tuple(cluster.list(EVENTS, namespace, fields=about)),
        cert_manager=cert_manager(cluster, policy),
        cert_manager_pods=tuple(cluster.list(PODS, policy.cert_manager_namespace)),
        now=cluster.now(),
    )


def cert_manager(cluster: Cluster, policy: CertificateExpiryPolicy) -> tuple[Workload, ...]:
    """The Deployments of cert-manager.

    Raises:
        ConfigurationError: none of them is where the policy says.
    """
    there = cluster.list(DEPLOYMENTS, policy.cert_manager_namespace)
    found = tuple(one for one in there if one.name in policy.cert_manager)
    if not found:
        raise ConfigurationError(
            f"{cluster.name}: there is no cert-manager in the namespace {policy.cert_manager_namespace}.",
            remedy="Say where it is with cert_manager_namespace and cert_manager in the runbook's policy.",
        )
    return found


@serves("octollm.CertificateExpiringInSevenDays: r4.3")
def ingress_addresses(cluster: Cluster, namespace: str, dns_name: str) -> tuple[str, ...] | None:
    """Where the ingresses with a rule for this name are reached (``kubernetes.describe_ingress``); None: nowhere."""
    documents = [
        document
        for document in cluster.list(INGRESSES, namespace)
        if any(text(rule, "host") == dns_name for rule in listed(document, "spec", "rules"))
    ]
    points = [point for document in documents for point in listed(part(document, "status"), "loadBalancer", "ingress")]
    return tuple(dict.fromkeys(address for point in points if (address := text(point, "ip")))) or None


def _of(one: KubernetesObject, owners: Sequence[KubernetesObject]) -> bool:
    uids = {owner.uid for owner in owners}
    return any(owner.uid in uids for owner in one.meta.owners)


def _issuer(cluster: Cluster, certificate: Certificate) -> Issuer | None:
    reference = certificate.issuer
    try:
        if reference.kind == "ClusterIssuer":
            return cluster.get(CLUSTER_ISSUERS, reference.name)
        if reference.kind == "Issuer":
            return cluster.get(ISSUERS, reference.name, certificate.namespace)
    except ObjectNotFoundError:
        return None
    return None  # of another API group: what it says of itself is not known here
