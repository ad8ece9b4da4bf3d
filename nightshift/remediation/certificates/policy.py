"""What may be done about a certificate; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable


class CertificateExpiryPolicy(Value):
    """Limits of the flow ``certificate-expiry``."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "namespace", "certificate")
    """Kinds of the target's path, outermost first."""

    alert_before: Annotated[Seconds, Field(ge=3600, le=60 * 86400)] = 7 * 86400
    """The symptom: less than so long is left."""
    renewals_per_week: Annotated[int, Field(ge=0, le=5)] = 2
    """At most so many renewals of one certificate are begun by Nightshift; the authority counts failures, too."""
    restart_cert_manager: bool = True
    """Restart those deployments of cert-manager whose pods are not healthy."""
    restarts_since_healthy: Annotated[int, Field(ge=1, le=50)] = 5
    """A pod of cert-manager that restarted so often is not healthy."""
    issuance: Annotated[Seconds, Field(ge=60, le=3600)] = 600
    """How long the new certificate is waited for."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("certificate"))
        return Symptom(
            what=f"the certificate {name} expires soon",
            solved=f"{name} ready with a later end, and the new one served where it is used",
            measured_by="the Certificate in the Kubernetes API and a TLS handshake",
            hold=1,
            allowances=("the time that issuance takes",),
        )
