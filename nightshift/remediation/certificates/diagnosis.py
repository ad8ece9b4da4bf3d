"""What was seen of a certificate: itself, the chain of its renewal, its issuer, cert-manager, and what is served.

Serves octollm.CertificateExpiringInSevenDays.d1-d9 and certmanager.describe_certificate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.kubernetes.objects import (
    Certificate,
    CertificateRequest,
    Challenge,
    Event,
    Issuer,
    Order,
    Pod,
    Workload,
)


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a TLS handshake with one of the names showed."""

    name: str
    reached: bool
    error: str = ""
    """Why not, or what is wrong with the handshake; of a stranger."""
    serial: str = ""
    """Hexadecimal, lower case, without colons."""
    not_after: datetime | None = None
    complaint: str = ""
    """Why a client would refuse it, other than that it has ended; empty: it is trusted and good for the name."""


@dataclass(frozen=True, kw_only=True)
class Http01Look:
    """What stands between the authority and the answer to its HTTP-01 challenge."""

    name: str
    addresses: tuple[str, ...] | None = None
    """By DNS; None: not looked up."""
    ingress_addresses: tuple[str, ...] | None = None
    """Where the ingress is reached; None: not known."""
    port_80_answers: bool | None = None
    status: int | None = None
    """Of a request below ``/.well-known/acme-challenge/``."""


@dataclass(frozen=True, kw_only=True)
class CertificateDiagnosis:
    """Everything the planner gets to know."""

    certificate: Certificate
    issuer: Issuer | None = None
    """None: it does not exist."""
    requests: Sequence[CertificateRequest] = ()
    orders: Sequence[Order] = ()
    challenges: Sequence[Challenge] = ()
    """All three of this certificate only."""
    events: Sequence[Event] = ()
    cert_manager: Sequence[Workload] = ()
    """Its deployments: controller, webhook, CA injector."""
    cert_manager_pods: Sequence[Pod] = ()
    credentials_present: bool | None = None
    """Whether the Secret of the DNS provider is there with its keys; None: not looked at."""
    http01: Http01Look | None = None
    log: Sequence[str] = ()
    """Lines of cert-manager about it, the oldest first; of strangers."""
    ingress_events: Sequence[Event] = ()
    """About the ingresses of its names, while an HTTP-01 challenge is open."""
    ingress_pods: Sequence[Pod] | None = None
    """Of the ingress controller; None: not looked at."""
    unseen: Sequence[str] = ()
    """What of these could not be read, and why."""
    served: Sequence[Served] = ()
    now: datetime

    @property
    def seconds_left(self) -> float | None:
        """Until it expires; negative once it has; None while it was never issued."""
        end = self.certificate.not_after
        return (end - self.now).total_seconds() if end is not None else None

    @property
    def is_issuing(self) -> bool:
        """Whether cert-manager is at it."""
        issuing = self.certificate.condition("Issuing")
        return issuing is not None and issuing.is_true

    @property
    def issued_serial(self) -> str:
        """Of the certificate in force, by the request that it came of; empty where that is gone."""
        of_revision = (r.issued_serial for r in self.requests if r.revision == self.certificate.revision)
        return next((serial for serial in of_revision if serial), "")

    @property
    def request(self) -> CertificateRequest | None:
        """The newest attempt."""
        return max(self.requests, key=lambda r: (r.revision, r.meta.created_at or self.now, r.name), default=None)

    @property
    def order(self) -> Order | None:
        """The newest order."""
        return max(self.orders, key=lambda order: (order.meta.created_at or self.now, order.name), default=None)

    @property
    def open_challenges(self) -> tuple[Challenge, ...]:
        """Those of the newest order that are not valid; of all when there is no order."""
        newest = self.order
        mine = [
            challenge
            for challenge in self.challenges
            if newest is None or not challenge.meta.owners or any(o.uid == newest.uid for o in challenge.meta.owners)
        ]
        return tuple(challenge for challenge in mine if challenge.state != "valid")
