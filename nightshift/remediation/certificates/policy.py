"""What may be done about a certificate; written once per runbook in the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from nightshift.remediation.connections import NamespaceOfCluster
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.host_certificates.policy import DnsName
from nightshift.remediation.kubernetes.names import Namespace, ObjectName
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable


class TlsEndpoint(Value):
    """Where a certificate is shown to clients."""

    server_name: DnsName
    """The name that is asked for (SNI) and that the certificate must be good for."""
    address: str | None = Field(default=None, min_length=1, max_length=253)
    """Where the worker connects: a name or an address; null: the name that is asked for."""
    port: int = Field(default=443, ge=1, le=65535)


class CertificateExpiryPolicy(Value):
    """Limits of the flow ``certificate-expiry``."""

    TARGET: ClassVar[tuple[str, ...]] = ("cluster", "namespace", "certificate")
    """Kinds of the target's path, outermost first."""

    alert_before: Annotated[Seconds, Field(ge=3600, le=60 * 86400)] = 7 * 86400
    """The symptom: less than so long is left."""
    cert_manager_namespace: Annotated[Namespace, NamespaceOfCluster()] = "cert-manager"
    """Where cert-manager runs; write it among the namespaces of the connection to the cluster."""
    cert_manager: tuple[ObjectName, ...] = Field(
        default=("cert-manager", "cert-manager-webhook", "cert-manager-cainjector"), min_length=1, max_length=10
    )
    """Its Deployments."""
    ingress_namespace: Namespace | None = None
    """Where the ingress controller runs, whose pods are counted while an HTTP-01 challenge is open."""
    restart_cert_manager: bool = True
    """Restart those deployments of cert-manager whose pods are not healthy."""
    restarts_since_healthy: Annotated[int, Field(ge=1, le=50)] = 5
    """A pod of cert-manager that restarted so often is not healthy."""
    staging: bool = False
    """Renew certificates whose issuer is a staging authority, each after an approval; no client trusts them."""
    restart: Annotated[Seconds, Field(ge=1, le=3600)] = 300
    """How long cert-manager is waited for after it was restarted."""
    issuance: Annotated[Seconds, Field(ge=1, le=3600)] = 600
    """How long the new certificate is waited for."""
    endpoints: tuple[TlsEndpoint, ...] = Field(default=(), max_length=50)
    """Where certificates of this system are looked at, each with the endpoints it is good for; without any, at port
    443 of each of its names."""
    trusted_roots: Path | None = None
    """A file on the worker with the roots (PEM) to trust; null: those of its system."""
    served_within: Annotated[Seconds, Field(ge=0, le=3600)] = 180
    """How long whoever serves it may take to show the new one."""
    watch: Annotated[Seconds, Field(ge=0, le=3600)] = 20
    """How long every endpoint then must go on showing it."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("certificate"))
        return Symptom(
            what=f"the certificate {name} expires soon",
            solved=f"{name} ready with a later end, and the new one served where it is used",
            measured_by="the Certificate in the Kubernetes API and a TLS handshake",
            hold=max(self.watch, 1.0),
            allowances=(
                f"issuance, for {format_duration(self.issuance)}",
                f"whoever serves it learning of it, for {format_duration(self.served_within)}",
            ),
        )
