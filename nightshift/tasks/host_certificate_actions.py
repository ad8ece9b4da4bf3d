"""A host's certificate: renewing it, and reloading what serves it, with what makes that safe to run unattended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from nightshift.remediation.actions import Connections, Effect, Observation
from nightshift.remediation.clients import tls
from nightshift.remediation.clients.host_probe import certificates, permissions
from nightshift.remediation.clients.host_probe.asking import ends_within
from nightshift.remediation.errors import NotMeasuredError, TargetChangedError
from nightshift.remediation.host_certificates.arguments import ReloadService, RenewCertificate
from nightshift.remediation.models import Action, Quantity
from nightshift.remediation.privileges import Lack
from nightshift.tasks.disk_space_actions import host_of
from nightshift.tasks.steps import action


def _is_unchanged(action: Action, connections: Connections) -> None:
    arguments = RenewCertificate.from_json(action.arguments)
    with host_of(action, connections) as host:
        now = certificates.kept(host, arguments.lineage, arguments.config_dir)
    if now.serial != arguments.serial:
        raise TargetChangedError(f"{arguments.lineage} was renewed by something else meanwhile.")


def _is_renewed(action: Action, connections: Connections) -> Observation:
    arguments = RenewCertificate.from_json(action.arguments)
    with host_of(action, connections) as host:
        now = certificates.kept(host, arguments.lineage, arguments.config_dir)
    is_newer = now.serial != arguments.serial and now.not_after > arguments.not_after
    return Observation.DONE if is_newer else Observation.NOT_DONE


def _lacks_to_renew(action: Action, connections: Connections) -> Sequence[Lack]:
    with host_of(action, connections) as host:
        return permissions.lacks(host, permissions.to_renew(RenewCertificate.from_json(action.arguments)))


@action(
    kind=RenewCertificate.KIND,
    name="renew a certificate",
    # The order itself, and a look at what came of it.
    timeout=ends_within(certificates.RENEWING_SECONDS) + ends_within(certificates.LOOKING_SECONDS),
    precondition=_is_unchanged,
    observe=_is_renewed,
    permitted=_lacks_to_renew,
    undo=None,
)
def renew_certificate(action: Action, connections: Connections) -> Effect:
    """Operation ``certbot.issue``, as a renewal: once, only when due, for bybit SSLCertificateExpiring."""
    arguments = RenewCertificate.from_json(action.arguments)
    with host_of(action, connections) as host:
        new = certificates.renew(host, arguments)
    until = datetime.fromtimestamp(new.not_after, UTC).strftime("%Y-%m-%d")
    return Effect(
        summary=f"renewed, valid until {until}",
        amount=Quantity(amount=1, unit="certificates"),
        evidence={"serial": new.serial, "serial_before": arguments.serial, "not_after": new.not_after},
    )


def _has_something_to_read(action: Action, connections: Connections) -> None:
    unit = ReloadService.from_json(action.arguments).unit
    with host_of(action, connections) as host:
        certificates.check_service(host, unit)
    if _serves_what_is_kept(action, connections) is Observation.DONE:
        raise TargetChangedError(f"{unit} serves the certificate that is on the host; reloading it would do nothing.")


def _serves_what_is_kept(action: Action, connections: Connections) -> Observation:
    """A reload leaves no other trace; carrying it out again is safe, so "cannot tell" counts as not done."""
    arguments = ReloadService.from_json(action.arguments)
    with host_of(action, connections) as host:
        kept = certificates.kept(host, arguments.lineage, arguments.config_dir)
    try:
        served = tls.look(arguments.address, arguments.port, arguments.server_name)
    except NotMeasuredError:
        return Observation.NOT_DONE
    return Observation.DONE if served.certificate.sha256 == kept.sha256 else Observation.NOT_DONE


def _lacks_to_reload(action: Action, connections: Connections) -> Sequence[Lack]:
    with host_of(action, connections) as host:
        return permissions.lacks(host, permissions.to_reload(ReloadService.from_json(action.arguments)))


@action(
    kind=ReloadService.KIND,
    name="reload a service",
    timeout=ends_within(certificates.RELOADING_SECONDS),
    precondition=_has_something_to_read,
    observe=_serves_what_is_kept,
    permitted=_lacks_to_reload,
    undo=None,
)
def reload_service(action: Action, connections: Connections) -> Effect:
    """Let a service read its certificate again; it is never restarted."""
    arguments = ReloadService.from_json(action.arguments)
    with host_of(action, connections) as host:
        certificates.reload(host, arguments)
    return Effect(summary=f"reloaded {arguments.unit}", amount=Quantity(amount=1, unit="services"))
