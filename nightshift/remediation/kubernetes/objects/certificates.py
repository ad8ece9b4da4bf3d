"""Objects of cert-manager (v1, and acme v1) as values; spec: certmanager.describe_certificate, issuer_status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.kubernetes.objects.common import Conditioned, KubernetesObject


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerReference:
    """Who signs."""

    name: str
    kind: str = "Issuer"
    """``Issuer`` (of the same namespace) or ``ClusterIssuer``; others belong to external issuers."""
    group: str = "cert-manager.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate(Conditioned):
    """A certificate that cert-manager keeps. Conditions: ``Ready``, and ``Issuing`` while a renewal runs."""

    secret: str = ""
    issuer: IssuerReference
    dns_names: tuple[str, ...] = ()
    common_name: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    renewal_at: datetime | None = None
    revision: int = 0
    failed_attempts: int = 0
    """``failedIssuanceAttempts``: cert-manager waits 1 h, 2 h, 4 h, ... up to 32 h after each."""
    last_failure_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest(Conditioned):
    """One attempt to get a certificate signed. Conditions: ``Approved``, ``Denied``, ``InvalidRequest``, ``Ready``."""

    issuer: IssuerReference
    failed_at: datetime | None = None
    issued_serial: str = ""
    """Of the certificate that came of it, hexadecimal; empty while there is none."""

    @property
    def revision(self) -> int:
        """Of the certificate it is for; 0 when unknown."""
        text = self.meta.annotations.get("cert-manager.io/certificate-revision", "")
        return int(text) if text.isascii() and text.isdigit() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(KubernetesObject):
    """An ACME order: all names of one request."""

    issuer: IssuerReference
    dns_names: tuple[str, ...] = ()
    state: str = ""
    """``pending``, ``ready``, ``processing``, ``valid``, ``invalid``, ``expired``, ``errored``; empty when new."""
    reason: str = ""
    """Of a failure; a rate limit of the authority stands here as its problem document says it."""
    failed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge(KubernetesObject):
    """The proof of control over one name. Its token and key are secrets and never read."""

    issuer: IssuerReference
    dns_name: str = ""
    type: str = ""
    """``HTTP-01`` or ``DNS-01``."""
    wildcard: bool = False
    state: str = ""
    reason: str = ""
    presented: bool = False
    being_worked_on: bool = False
    """``status.processing``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer(Conditioned):
    """An Issuer or ClusterIssuer. Condition: ``Ready``."""

    kind: str = "Issuer"
    type: str = ""
    """``acme``, ``ca``, ``selfSigned``, ``vault`` or ``venafi``."""
    acme_server: str = ""
    """URL of the ACME directory; staging authorities are told by it."""
    acme_solvers: tuple[str, ...] = ()
    """``http01`` and ``dns01/<provider>``, in the order given."""
