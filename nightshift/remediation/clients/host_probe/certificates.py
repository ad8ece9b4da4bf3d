"""Certificates that certbot keeps on a host (operations ``certbot.issue`` for renewals, and its reading kin)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.clients.host_probe.disk import path_text
from nightshift.remediation.clients.tls import certificate_of
from nightshift.remediation.errors import CommandFailedError, TargetChangedError
from nightshift.remediation.host_certificates.arguments import ReloadService, RenewCertificate
from nightshift.remediation.host_certificates.facts import Certificate, FailureCause, Lineage
from nightshift.remediation.text import printable

LOOKING_SECONDS = 15.0
RENEWING_SECONDS = 90.0
"""An order with its challenges usually takes seconds; DNS challenges that wait longer end unsuccessfully."""
RELOADING_SECONDS = 30.0
_RETRY_AFTER = re.compile(r"retry after (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?: UTC|Z)")
"""As Let's Encrypt says it: https://letsencrypt.org/docs/rate-limits/."""
_CAUSES: Mapping[str, FailureCause] = {
    "rateLimited": FailureCause.RATE_LIMITED,
    "too many requests": FailureCause.RATE_LIMITED,
    "Problem binding to port": FailureCause.PORT,
    "Could not bind TCP port": FailureCause.PORT,
    "accountDoesNotExist": FailureCause.ACCOUNT,
    "Account at ": FailureCause.ACCOUNT,
    "Type:   dns": FailureCause.NAME,
    "DNS problem": FailureCause.NAME,
    "Type:   connection": FailureCause.UNREACHABLE,
    "Type:   unauthorized": FailureCause.REFUSED,
    "Requesting ": FailureCause.CA,
    "HTTPSConnectionPool": FailureCause.CA,
    "serverInternal": FailureCause.CA,
    "Service busy": FailureCause.CA,
}
"""Words of certbot and of the CA (RFC 8555, 6.7), the more telling ones first."""


def read_lineage(host: Host, lineage: str, *, config_dir: str, log_dir: str) -> Lineage:
    """A certificate as certbot keeps it, and why its last renewal failed.

    A failure from before the certificate was issued has been overcome, and is none.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    answer = ask(
        host,
        f"look at the certificate {lineage}",
        "certificate",
        seconds=LOOKING_SECONDS,
        lineage=lineage,
        config_dir=path_text(config_dir),
        log_dir=path_text(log_dir),
    )
    certificate, complaint = _parsed(answer["pem"], answer["complaint"])
    failure: dict[str, Any] | None = answer["failure"]
    if failure is None or (certificate is not None and failure["at"] < certificate.not_before):
        cause, words = FailureCause.NONE, ""
    else:
        words = "; ".join([*(str(line) for line in failure["details"]), str(failure["error"])])
        cause = cause_of(words)
    return Lineage(
        certificate=certificate,
        complaint=printable(complaint),
        authenticator=printable(str(answer["authenticator"]), 60),
        timer_active=answer["timer_active"],
        cause=cause,
        last_words=printable(words, 600),
        retry_after=retry_after(words),
    )


def cause_of(words: str) -> FailureCause:
    """What certbot's words mean."""
    return next((cause for sign, cause in _CAUSES.items() if sign in words), FailureCause.OTHER)


def retry_after(words: str) -> float | None:
    """When the CA will issue again, in seconds since 1970, where it said so."""
    found = _RETRY_AFTER.search(words)
    if found is None:
        return None
    return datetime.strptime(" ".join(found.groups()), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def kept(host: Host, lineage: str, config_dir: str) -> Certificate:
    """The certificate of a lineage.

    Raises:
        TargetChangedError: there is none any more.
        NightshiftError: as :func:`ask`.
    """
    found = read_lineage(host, lineage, config_dir=config_dir, log_dir="/var/log/letsencrypt")
    if found.certificate is None:
        raise TargetChangedError(f"certbot has no certificate {lineage} any more: {found.complaint}")
    return found.certificate


def renew(host: Host, arguments: RenewCertificate) -> Certificate:
    """Let certbot renew one lineage if it is due; the new certificate.

    Raises:
        CommandFailedError: certbot could not, or did not find it due.
        NightshiftError: as :func:`ask`.
    """
    ask(
        host,
        f"renew the certificate {arguments.lineage}",
        RenewCertificate.KIND,
        seconds=RENEWING_SECONDS,
        lineage=arguments.lineage,
        config_dir=path_text(arguments.config_dir),
    )
    now = kept(host, arguments.lineage, arguments.config_dir)
    if now.serial == arguments.serial:
        raise CommandFailedError(f"certbot did not find {arguments.lineage} due for renewal, and left it as it is.")
    return now


def reload(host: Host, arguments: ReloadService) -> None:
    """Let a running service read its certificate again.

    Raises:
        TargetChangedError: it does not run.
        CommandFailedError: it did not take the configuration.
        NightshiftError: as :func:`ask`.
    """
    ask(host, f"reload {arguments.unit}", ReloadService.KIND, seconds=RELOADING_SECONDS, unit=arguments.unit)


def check_service(host: Host, unit: str) -> None:
    """Raises TargetChangedError when a service does not run: it is for somebody else to say why."""
    if not ask(host, f"look at {unit}", "service", seconds=LOOKING_SECONDS, unit=unit)["active"]:
        raise TargetChangedError(f"{unit} does not run; reloading it would do nothing.")


def _parsed(pem: str | None, complaint: str) -> tuple[Certificate | None, str]:
    if pem is None:
        return None, complaint
    try:
        return certificate_of(pem.encode("ascii", "replace")), ""
    except ValueError:
        return None, "its cert.pem holds no certificate"
