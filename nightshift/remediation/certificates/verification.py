"""Is the certificate new, and is the new one served? Judged from the cluster and from TLS handshakes.

Serves octollm.CertificateExpiringInSevenDays.v1 and v2: a Secret with the new certificate helps nobody while a server
still shows the old one. Secrets are not read: what was issued is known from its request, which has no key.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from nightshift.remediation.certificates.cause import Cause, explain
from nightshift.remediation.certificates.diagnosis import CertificateDiagnosis, Served
from nightshift.remediation.certificates.policy import CertificateExpiryPolicy
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.objects import Certificate
from nightshift.remediation.models import Finding, Verdict
from nightshift.remediation.text import printable

_IN_MOTION = (Cause.NOT_STARTED, Cause.AT_WORK)
"""No reason why it failed."""


def is_good(certificate: Certificate, now: datetime, policy: CertificateExpiryPolicy) -> bool:
    """Whether it shows no symptom: ready, and with enough time left."""
    ready, end = certificate.condition("Ready"), certificate.not_after
    lasts = end is not None and (end - now).total_seconds() > policy.alert_before
    return lasts and ready is not None and ready.is_true


def has_ended(before: Certificate, now: Certificate, at: datetime, policy: CertificateExpiryPolicy) -> bool:
    """Whether nothing more is to be waited for: it is there, or this attempt has failed."""
    failed_anew = now.last_failure_at is not None and now.last_failure_at != before.last_failure_at
    issuing = now.condition("Issuing")
    return is_good(now, at, policy) or (failed_anew and (issuing is None or not issuing.is_true))


@serves("octollm.CertificateExpiringInSevenDays: v1 v2")
def judge(before: CertificateDiagnosis, after: CertificateDiagnosis | None, policy: CertificateExpiryPolicy) -> Verdict:
    """Healthy when it is ready, lasts long enough, and every endpoint that is looked at shows the new one.

    Args:
        before: the diagnosis.
        after: the same after the repair, with every look at the endpoints; None when the certificate is gone.
        policy: how much time has to be left.
    """
    name = printable(before.certificate.name, 120)
    if after is None:
        return Verdict(healthy=False, reason=f"{name} exists no more.")
    served, findings = after.served, _findings(after.served)
    if (trouble := _not_new(before.certificate, after, policy)) is not None:
        why = explain(after, policy.restarts_since_healthy)
        words = f": {why.words}" if why.cause not in _IN_MOTION else ""
        return Verdict(healthy=False, reason=f"{name} {trouble}{words}.", findings=findings)
    if bad := [words for look in served if (words := wrong(look, after))]:
        return Verdict(healthy=False, reason=f"{name} is new, but not where it is used: {bad[0]}.", findings=findings)
    if unreached := [look for look in served if not look.reached]:
        reason = f"{name} is new; {printable(unreached[0].name, 100)} could not be reached to see which one it shows."
        return Verdict(healthy=False, inconclusive=True, reason=reason, findings=findings)
    shown = "every name in use shows it" if served else "no name is known that would show it"
    end = f"{after.certificate.not_after:%Y-%m-%d}" if after.certificate.not_after is not None else "an unknown day"
    return Verdict(healthy=True, reason=f"{name} lasts until {end}, and {shown}.", findings=findings)


def _not_new(before: Certificate, after: CertificateDiagnosis, policy: CertificateExpiryPolicy) -> str | None:
    certificate, left = after.certificate, after.seconds_left
    if is_good(certificate, after.now, policy):
        return None
    if left is None:
        return "was not issued"
    if left <= 0:
        return "is expired"
    if before.not_after is not None and certificate.not_after == before.not_after:
        return "has the same end as before"
    if left <= policy.alert_before:
        return f"is new, but lasts only {format_duration(left)}"
    return "is not ready"


def wrong(look: Served, diagnosis: CertificateDiagnosis) -> str:
    """What is wrong with what a server shows; empty: nothing, or it was not reached."""
    if not look.reached:
        return ""
    name, end = printable(look.name, 100), diagnosis.certificate.not_after
    if look.not_after is not None and look.not_after <= diagnosis.now:
        return f"{name} shows an expired certificate"
    if look.serial != diagnosis.issued_serial if diagnosis.issued_serial else _ends_before(look, end):
        return f"{name} shows another certificate than the new one; what serves it may need a restart"
    if look.complaint:
        return f"{name} shows a certificate that clients refuse: {printable(look.complaint, 200)}"
    return ""


def _ends_before(look: Served, end: datetime | None) -> bool:
    """Its request is gone, so that only the end tells one from the other."""
    return look.not_after is not None and end is not None and look.not_after < end


def _findings(served: Sequence[Served]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            title=f"{printable(look.name, 100)}: {'reached' if look.reached else 'not reached'}",
            detail=printable(look.error, 200) or f"serial {printable(look.serial, 60)}",
            troubling=not look.reached,
        )
        for look in served
    )
