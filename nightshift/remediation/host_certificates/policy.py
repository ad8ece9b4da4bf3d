"""Which certificates a runbook may renew, and how: written once per runbook in the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints, model_validator

from nightshift.remediation.disk_space.policy import Directory
from nightshift.remediation.durations import Seconds, format_duration
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import shown_address

DnsName = Annotated[
    str,
    StringConstraints(
        max_length=253, pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"
    ),
]
"""A host name in lower case; for others write its ``xn--`` form."""
LineageName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,250}$")]
"""As ``certbot certificates`` lists it."""
UnitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.@-]{0,240}\.service$")]
"""A systemd service with its suffix."""


class EndpointRule(Value):
    """A TLS endpoint and the certificate behind it."""

    address: str = Field(min_length=1, max_length=253)
    """Where the worker connects to look at what is served: a name or an address."""
    port: int = Field(default=443, ge=1, le=65535)
    server_name: DnsName
    """The name that is asked for (SNI) and that the certificate must be good for."""
    lineage: LineageName
    """certbot's name of the certificate on the host."""
    reload: tuple[UnitName, ...] = Field(min_length=1, max_length=5)
    """The services that hold the certificate in memory, reloaded after a renewal; never restarted."""


class HostCertificatePolicy(Value):
    """Limits and permissions of :func:`host_certificate_renewal` for the endpoints of one system."""

    TARGET: ClassVar[tuple[str, ...]] = ("host", "endpoint")
    """Kinds of the target's path, outermost first."""

    endpoints: dict[str, EndpointRule] = Field(min_length=1)
    """By their name in the target, which is what the alert's label says, such as ``https://shop.example``."""
    expires_within: Seconds = 14 * 86400
    """The symptom: less time than this is left on what is served."""
    config_dir: Directory = "/etc/letsencrypt"
    """Where certbot keeps its certificates on the host."""
    log_dir: Directory = "/var/log/letsencrypt"
    trusted_roots: Path | None = None
    """A file on the worker with the roots (PEM) to trust; null: those of its system."""
    watch: Seconds = 60
    """How long the endpoint is looked at after the repair."""

    @model_validator(mode="after")
    def _named_once(self) -> HostCertificatePolicy:
        for name in self.endpoints:
            if not name or len(name) > 300 or not name.isprintable():
                raise ValueError("name each endpoint as the alert's label does, such as https://shop.example")
        return self

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        endpoint, left = shown_address(target.part("endpoint")), format_duration(self.expires_within)
        return Symptom(
            what=f"the certificate that {endpoint} serves ends within {left}",
            solved=f"{endpoint} serves a certificate that clients trust and that is valid for more than {left}",
            measured_by="connections of the worker to the endpoint (TLS)",
            hold=max(self.watch, 1.0),
            allowances=("a reload that has not reached every process of the server yet: each connection counts",),
        )
