"""Where a certificate is looked at: the declared endpoints it is good for, or port 443 of its names."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from nightshift.remediation.certificates.policy import CertificateExpiryPolicy, TlsEndpoint
from nightshift.remediation.host_certificates.planner import names_cover
from nightshift.remediation.host_certificates.policy import DnsName
from nightshift.remediation.kubernetes.objects import Certificate

MOST = 10
"""Endpoints of one certificate."""
_DNS_NAME: TypeAdapter[str] = TypeAdapter(DnsName)


def endpoints_of(certificate: Certificate, policy: CertificateExpiryPolicy) -> tuple[TlsEndpoint, ...]:
    """Endpoints that show this certificate. Names of the cluster that are no DNS names, and wildcards, are left out."""
    names = tuple(name.lower() for name in certificate.dns_names)
    if policy.endpoints:
        return tuple(one for one in policy.endpoints if names_cover(names, one.server_name))[:MOST]
    return tuple(TlsEndpoint(server_name=name) for name in dict.fromkeys(names) if is_dns_name(name))[:MOST]


def is_dns_name(text: str) -> bool:
    """Whether it is a host name in lower case that may be connected to."""
    try:
        return bool(_DNS_NAME.validate_python(text))
    except ValidationError:
        return False
