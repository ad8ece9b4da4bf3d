"""Look at a certificate: as its endpoint serves it, and as its host keeps it."""

from __future__ import annotations

import time

from nightshift.remediation.clients import tls
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.certificates import read_lineage
from nightshift.remediation.connections import HostConnection
from nightshift.remediation.host_certificates.facts import CertificateDiagnosis, Served
from nightshift.remediation.host_certificates.policy import EndpointRule, HostCertificatePolicy
from nightshift.tasks.steps import diagnostic

_LOOKS = 12


def _look(rule: EndpointRule, policy: HostCertificatePolicy) -> Served:
    return tls.look(rule.address, rule.port, rule.server_name, policy.trusted_roots)


@diagnostic("look at a served certificate", of="{endpoint}")
def look_at_endpoint(endpoint: str, policy: HostCertificatePolicy) -> Served:
    """What one connection to the endpoint is shown (operation ``tls.check_certificate``)."""
    return _look(policy.endpoints[endpoint], policy)


@diagnostic("find why a certificate was not renewed", of="{endpoint}")
def diagnose_host_certificate(
    host: str, connection: HostConnection, endpoint: str, policy: HostCertificatePolicy
) -> CertificateDiagnosis:
    """The certificate as served and as kept, the timer that renews it, and the last words of certbot."""
    rule = policy.endpoints[endpoint]
    served = _look(rule, policy)
    with open_host(host, connection) as opened:
        lineage = read_lineage(opened, rule.lineage, config_dir=policy.config_dir, log_dir=policy.log_dir)
    return CertificateDiagnosis(endpoint=endpoint, served=served, lineage=lineage, now=time.time())


@diagnostic("watch a served certificate", of="{endpoint}")
def watch_endpoint(endpoint: str, policy: HostCertificatePolicy) -> tuple[Served, ...]:
    """Connections at even intervals over the watch time, the first at once and the last at its end."""
    looks = [_look(policy.endpoints[endpoint], policy)]
    for _ in range(_LOOKS - 1):
        time.sleep(policy.watch / (_LOOKS - 1))
        looks.append(_look(policy.endpoints[endpoint], policy))
    return tuple(looks)
