"""Objects of cert-manager.io/v1 and acme.cert-manager.io/v1. Tokens and keys of challenges are never read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from nightshift.remediation.clients.kubernetes.parsing.common import (
    Json,
    conditions,
    listed,
    metadata,
    moment,
    part,
    text,
)
from nightshift.remediation.clients.tls import certificate_of
from nightshift.remediation.kubernetes.objects import (
    Certificate,
    CertificateRequest,
    Challenge,
    Issuer,
    IssuerReference,
    Order,
)

_TYPES = ("acme", "ca", "selfSigned", "vault", "venafi")
_NO_PROVIDER = ("cnameStrategy",)


def _issuer_reference(spec: Json) -> IssuerReference:
    reference = part(spec, "issuerRef")
    return IssuerReference(
        name=text(reference, "name"),
        kind=text(reference, "kind") or "Issuer",
        group=text(reference, "group") or "cert-manager.io",
    )


def certificate(document: Json) -> Certificate:
    """A Certificate."""
    spec, status = part(document, "spec"), part(document, "status")
    return Certificate(
        meta=metadata(document),
        conditions=conditions(document),
        secret=text(spec, "secretName"),
        issuer=_issuer_reference(spec),
        dns_names=tuple(listed(spec, "dnsNames")),
        common_name=text(spec, "commonName"),
        not_before=moment(status.get("notBefore")),
        not_after=moment(status.get("notAfter")),
        renewal_at=moment(status.get("renewalTime")),
        revision=status.get("revision") or 0,
        failed_attempts=status.get("failedIssuanceAttempts") or 0,
        last_failure_at=moment(status.get("lastFailureTime")),
    )


def _serial(encoded: str) -> str:
    """Of a certificate as a request has it; empty when there is none, or it cannot be read."""
    try:
        return certificate_of(base64.b64decode(encoded, validate=True)).serial if encoded else ""
    except (binascii.Error, ValueError):
        return ""


def certificate_request(document: Json) -> CertificateRequest:
    """A CertificateRequest. What was issued is public; the key is in a Secret, and Secrets are not read."""
    status = part(document, "status")
    return CertificateRequest(
        meta=metadata(document, managers=False),
        conditions=conditions(document),
        issuer=_issuer_reference(part(document, "spec")),
        failed_at=moment(status.get("failureTime")),
        issued_serial=_serial(text(status, "certificate")),
    )


def order(document: Json) -> Order:
    """An Order."""
    spec, status = part(document, "spec"), part(document, "status")
    return Order(
        meta=metadata(document, managers=False),
        issuer=_issuer_reference(spec),
        dns_names=tuple(listed(spec, "dnsNames")),
        state=text(status, "state"),
        reason=text(status, "reason"),
        failed_at=moment(status.get("failureTime")),
    )


def challenge(document: Json) -> Challenge:
    """A Challenge."""
    spec, status = part(document, "spec"), part(document, "status")
    return Challenge(
        meta=metadata(document, managers=False),
        issuer=_issuer_reference(spec),
        dns_name=text(spec, "dnsName"),
        type=text(spec, "type"),
        wildcard=bool(spec.get("wildcard")),
        state=text(status, "state"),
        reason=text(status, "reason"),
        presented=bool(status.get("presented")),
        being_worked_on=bool(status.get("processing")),
    )


def issuer(document: Json) -> Issuer:
    """An Issuer or ClusterIssuer."""
    spec = part(document, "spec")
    return Issuer(
        meta=metadata(document),
        conditions=conditions(document),
        kind=text(document, "kind") or ("Issuer" if text(part(document, "metadata"), "namespace") else "ClusterIssuer"),
        type=next((name for name in _TYPES if name in spec), ""),
        acme_server=text(part(spec, "acme"), "server"),
        acme_solvers=tuple(_solvers(spec)),
    )


def _solvers(spec: Json) -> Iterator[str]:
    for solver in listed(spec, "acme", "solvers"):
        if "http01" in solver:
            yield "http01"
        yield from (f"dns01/{provider}" for provider in part(solver, "dns01") if provider not in _NO_PROVIDER)
