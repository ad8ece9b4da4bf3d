"""Is the certificate new, and is the new one served? Judged from the cluster and from TLS handshakes.

Serves octollm.CertificateExpiringInSevenDays.v1 and v2: a Secret with the new certificate helps nobody while a server
still shows the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nightshift.remediation.certificates.diagnosis import Served
from nightshift.remediation.kubernetes.objects import Certificate
from nightshift.remediation.models import Finding, Verdict
from nightshift.remediation.text import printable


def judge(
    before: Certificate, after: Certificate | None, served: Sequence[Served], secret_serial: str, now: datetime
) -> Verdict:
    """Healthy when it is ready with a later end and every name that is served shows the new one.

    Args:
        before: as diagnosed.
        after: as it is now; None when it is gone.
        served: handshakes with the names in use; none: nobody serves it, which is said.
        secret_serial: of the certificate in the Secret, as in :class:`Served`.
        now: by the cluster's clock.
    """
    name = printable(before.name, 120)
    if after is None:
        return Verdict(healthy=False, reason=f"{name} exists no more.")
    if (trouble := _not_new(before, after, now)) is not None:
        return Verdict(healthy=False, reason=f"{name} {trouble}.", findings=_findings(served))
    unreached = [look for look in served if not look.reached]
    wrong = [words for look in served if look.reached and (words := _wrong(look, secret_serial, now))]
    if wrong:
        reason = f"{name} is new, but not where it is used: {wrong[0]}."
        return Verdict(healthy=False, reason=reason, findings=_findings(served))
    if unreached:
        reason = f"{name} is new; {printable(unreached[0].name, 100)} could not be reached to see which one it shows."
        return Verdict(healthy=False, inconclusive=True, reason=reason, findings=_findings(served))
    shown = "every name in use shows it" if served else "no name is known that would show it"
    end = f"{after.not_after:%Y-%m-%d}" if after.not_after is not None else "an unknown day"
    return Verdict(healthy=True, reason=f"{name} lasts until {end}, and {shown}.", findings=_findings(served))


def _not_new(before: Certificate, after: Certificate, now: datetime) -> str | None:
    ready = after.condition("Ready")
    if ready is None or not ready.is_true:
        return "is not ready"
    if after.not_after is None or after.not_after <= now:
        return "is expired"
    if before.not_after is not None and after.not_after <= before.not_after:
        return "has the same end as before"
    return None


def _wrong(look: Served, secret_serial: str, now: datetime) -> str:
    """What is wrong with what a server shows; empty: nothing."""
    name = printable(look.name, 100)
    if look.not_after is not None and look.not_after <= now:
        return f"{name} shows an expired certificate"
    if secret_serial and look.serial and look.serial != secret_serial:
        return f"{name} shows another certificate than the new one; what serves it may need a restart"
    if not look.names_match:
        return f"{name} shows a certificate for other names"
    if not look.chain_trusted:
        return f"{name} shows a certificate that is not trusted"
    return ""


def _findings(served: Sequence[Served]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            title=f"{printable(look.name, 100)}: {'reached' if look.reached else 'not reached'}",
            detail=printable(look.error, 200) or f"serial {printable(look.serial, 60)}",
            troubling=not look.reached,
        )
        for look in served
    )
