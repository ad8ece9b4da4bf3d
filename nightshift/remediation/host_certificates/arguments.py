"""The arguments of the two actions on a host's certificate, as the diagnosis saw the world."""

from __future__ import annotations

from typing import ClassVar

from nightshift.remediation.arguments import ActionArguments


class RenewCertificate(ActionArguments):
    """Let certbot renew one lineage, if it is due; never by force."""

    KIND: ClassVar[str] = "renew_host_certificate"

    lineage: str
    config_dir: str
    serial: str
    """Of the certificate on the host before."""
    not_after: float


class ReloadService(ActionArguments):
    """Let a service read its certificate again."""

    KIND: ClassVar[str] = "reload_service"

    unit: str
    lineage: str
    config_dir: str
    address: str
    port: int
    server_name: str
