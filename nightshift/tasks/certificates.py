"""Look at a certificate that cert-manager keeps: in its cluster, and as it is served."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from nightshift.remediation.certificates.cause import unhealthy_parts
from nightshift.remediation.certificates.diagnosis import CertificateDiagnosis, Served
from nightshift.remediation.certificates.endpoints import endpoints_of, is_dns_name
from nightshift.remediation.certificates.policy import CertificateExpiryPolicy, TlsEndpoint
from nightshift.remediation.certificates.verification import has_ended, is_good, wrong
from nightshift.remediation.clients import http01, tls
from nightshift.remediation.clients.kubernetes.certificate_look import diagnose_certificate, ingress_addresses
from nightshift.remediation.clients.kubernetes.certificate_surroundings import with_surroundings
from nightshift.remediation.clients.kubernetes.cluster import Cluster, open_cluster
from nightshift.remediation.clients.kubernetes.errors import ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.resources import CERTIFICATES
from nightshift.remediation.clients.kubernetes.watching import Happened, watch
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.errors import NotMeasuredError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.objects import Certificate
from nightshift.remediation.text import printable
from nightshift.tasks.steps import diagnostic

_LOOKS = 3
"""So often each endpoint is looked at over the watch time: behind one name there may be several servers."""
_PAUSE = 2.0


@diagnostic("find why a certificate is not renewed", of="{cluster} {namespace}/{name}")
def look_at_certificate(
    cluster: str, connection: KubernetesConnection, namespace: str, name: str, policy: CertificateExpiryPolicy
) -> CertificateDiagnosis:
    """The certificate with its chain, issuer and cert-manager, what is served, and its HTTP-01 challenge."""
    with open_cluster(cluster, connection) as opened:
        seen = diagnose_certificate(opened, namespace, name, policy)
        seen = with_surroundings(opened, seen, policy)
        open_challenges = [one for one in seen.open_challenges if one.type == "HTTP-01" and is_dns_name(one.dns_name)]
        http = None
        if open_challenges:
            asked = open_challenges[0].dns_name
            http = http01.look(asked, ingress_addresses(opened, namespace, asked))
    return replace(seen, http01=http, served=_looks(seen.certificate, policy))


@diagnostic("see whether a certificate lasts", of="{cluster} {namespace}/{name}")
def certificate_lasts(
    cluster: str, connection: KubernetesConnection, namespace: str, name: str, policy: CertificateExpiryPolicy
) -> bool:
    """Whether it is ready and has enough time left (operation ``certmanager.describe_certificate``)."""
    with open_cluster(cluster, connection) as opened:
        return is_good(opened.get(CERTIFICATES, name, namespace), opened.now(), policy)


@serves("octollm.CertificateExpiringInSevenDays: r1.6")
@diagnostic("wait for cert-manager", of="{cluster} {namespace}/{name}")
def wait_for_cert_manager(
    cluster: str, connection: KubernetesConnection, namespace: str, name: str, policy: CertificateExpiryPolicy
) -> CertificateDiagnosis:
    """What is seen once cert-manager is healthy, or its time is over (operation ``kubernetes.wait_ready``)."""
    with open_cluster(cluster, connection, within=policy.restart + 60) as opened:

        def look() -> CertificateDiagnosis:
            return diagnose_certificate(opened, namespace, name, policy)

        seen = _until(lambda seen: not unhealthy_parts(seen, policy.restarts_since_healthy), look, policy.restart)
    return replace(seen, served=_looks(seen.certificate, policy))


@serves("octollm.CertificateExpiringInSevenDays: r1.8 r1.9 r3.9")
@diagnostic("wait for a new certificate", of="{cluster} {namespace}/{name}")
def wait_for_issuance(
    cluster: str,
    connection: KubernetesConnection,
    namespace: str,
    name: str,
    before: Certificate,
    policy: CertificateExpiryPolicy,
) -> CertificateDiagnosis | None:
    """What is seen once it was issued and is served everywhere, its issuance failed, or the time for it is over.

    None when the certificate is gone.
    """
    with open_cluster(cluster, connection, within=policy.issuance + 120) as opened:
        try:
            _issued(opened, namespace, name, before, policy)
            seen = diagnose_certificate(opened, namespace, name, policy)
        except ObjectNotFoundError:
            return None
    if not is_good(seen.certificate, seen.now, policy):
        return replace(seen, served=_looks(seen.certificate, policy))

    def served() -> CertificateDiagnosis:
        return replace(seen, served=_looks(seen.certificate, policy))

    seen = _until(
        lambda now: all(one.reached and not wrong(one, now) for one in now.served), served, policy.served_within
    )
    looks = list(seen.served)
    for _ in range(_LOOKS - 1):
        time.sleep(policy.watch / (_LOOKS - 1))
        looks += _looks(seen.certificate, policy)
    return replace(seen, served=tuple(looks), now=datetime.now(UTC))


def _issued(cluster: Cluster, namespace: str, name: str, before: Certificate, policy: CertificateExpiryPolicy) -> None:
    fields = {"metadata.name": name}
    for change in watch(cluster, CERTIFICATES, namespace, seconds=policy.issuance, fields=fields):
        gone = change.happened is Happened.GONE
        if gone or has_ended(before, change.object, datetime.now(UTC), policy):
            return


def _until(
    true: Callable[[CertificateDiagnosis], bool], look: Callable[[], CertificateDiagnosis], seconds: float
) -> CertificateDiagnosis:
    ends = time.monotonic() + seconds
    while not true(seen := look()) and time.monotonic() < ends:
        time.sleep(min(_PAUSE, max(0.0, ends - time.monotonic())))
    return seen


def _looks(certificate: Certificate, policy: CertificateExpiryPolicy) -> tuple[Served, ...]:
    return tuple(_look(endpoint, policy) for endpoint in endpoints_of(certificate, policy))


@serves("octollm.CertificateExpiringInSevenDays: r5.6")
def _look(endpoint: TlsEndpoint, policy: CertificateExpiryPolicy) -> Served:
    """One connection (operation ``tls.check_certificate``)."""
    name = endpoint.server_name
    try:
        seen = tls.look(endpoint.address or name, endpoint.port, name, policy.trusted_roots)
    except NotMeasuredError as error:
        return Served(name=name, reached=False, error=printable(str(error), 200))
    found = seen.certificate
    return Served(
        name=name,
        reached=True,
        serial=found.serial,
        not_after=datetime.fromtimestamp(found.not_after, UTC),
        complaint=seen.complaint,
    )
