"""What was seen of a certificate: served at its endpoint, and kept on its host."""

from __future__ import annotations

from enum import StrEnum

from nightshift.remediation.models import Value


class Certificate(Value):
    """The parts of an X.509 certificate that tell one from another and say how long it is good."""

    serial: str
    """Hexadecimal."""
    sha256: str
    """Of the whole certificate, hexadecimal."""
    subject: str
    issuer: str
    names: tuple[str, ...] = ()
    """DNS names it is good for."""
    not_before: float
    not_after: float
    """Seconds since 1970."""

    def left(self, now: float) -> float:
        """Seconds that it is valid for; negative when it has ended."""
        return self.not_after - now


class Served(Value):
    """What one connection to an endpoint was shown."""

    at: float
    """Seconds since 1970, by the worker's clock."""
    certificate: Certificate
    complaint: str = ""
    """Why a client would refuse it, other than that it has ended; empty: it is trusted and good for the name."""


class FailureCause(StrEnum):
    """Why the last renewal failed, as far as its log tells."""

    NONE = "none"
    RATE_LIMITED = "rate limited"
    NAME = "the name does not resolve"
    UNREACHABLE = "the challenge could not be fetched"
    REFUSED = "the challenge got a wrong answer"
    PORT = "the port of the challenge is taken"
    ACCOUNT = "the account is not known to the CA"
    CA = "the CA did not answer"
    OTHER = "another reason"


class Lineage(Value):
    """A certificate as certbot keeps it on the host."""

    certificate: Certificate | None
    """None: there is no such lineage, or its file cannot be read."""
    complaint: str = ""
    """Why there is none."""
    authenticator: str = ""
    """How the CA is convinced: ``standalone``, ``webroot``, ``nginx``, ``dns-…``, ``manual``."""
    timer_active: bool | None = None
    """Whether systemd's timer for renewals runs; None: the host has none."""
    cause: FailureCause = FailureCause.NONE
    last_words: str = ""
    """The line of certbot's newest log that says why, printable."""
    retry_after: float | None = None
    """Seconds since 1970 before which the CA refuses, where it said so."""


class CertificateDiagnosis(Value):
    """Everything the planner knows."""

    endpoint: str
    served: Served
    lineage: Lineage
    now: float
    """Seconds since 1970, by the worker's clock."""
