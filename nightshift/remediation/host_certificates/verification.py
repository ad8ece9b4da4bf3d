"""Does the endpoint serve a good certificate, on every connection? Judged from connections over the watch time."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.host_certificates.facts import CertificateDiagnosis, Served
from nightshift.remediation.host_certificates.planner import in_words, moment
from nightshift.remediation.host_certificates.policy import HostCertificatePolicy
from nightshift.remediation.models import Finding, Verdict
from nightshift.remediation.text import counted, printable, shown_address

ENOUGH_LOOKS = 3
"""A server with several processes may show the old certificate on every other connection."""


def is_good(served: Served, policy: HostCertificatePolicy) -> bool:
    """Whether this connection showed no symptom."""
    return not served.complaint and served.certificate.left(served.at) > policy.expires_within


def judge_served(before: CertificateDiagnosis, looks: Sequence[Served], policy: HostCertificatePolicy) -> Verdict:
    """Healthy when a trusted certificate with enough time left was shown to the end, for at least half of the time.

    The beginning may still show the old one: a reload takes a moment to reach every process of a server.

    Args:
        before: the diagnosis.
        looks: connections after the repair, in their order.
        policy: thresholds and the watch time.
    """
    if not looks:
        return Verdict(healthy=False, inconclusive=True, reason="The endpoint was not looked at after the repair.")
    old, last = before.served.certificate, looks[-1].certificate
    findings = (
        Finding(title=f"Before: serial {old.serial}, until {moment(old.not_after)}"),
        Finding(title=f"After: serial {last.serial}, until {moment(last.not_after)}, from {printable(last.issuer)}"),
    )
    endpoint = shown_address(before.endpoint)
    good = _good_to_the_end(looks, policy)
    if not good:
        reason = f"{endpoint} shows {_trouble(looks[-1])}, at the end of {counted(len(looks), 'connection')}."
        return Verdict(healthy=False, reason=reason, findings=findings)
    span = good[-1].at - good[0].at
    if len(good) < ENOUGH_LOOKS or span < policy.watch / 2:
        reason = (
            f"Whether it stays is not known: the last {counted(len(good), 'connection')} of {len(looks)} were good."
        )
        return Verdict(healthy=False, inconclusive=True, reason=reason, findings=findings)
    reason = (
        f"{endpoint} serves the certificate {last.serial}, {in_words(last.left(looks[-1].at))}, on each of "
        f"{counted(len(good), 'connection')} (before: {old.serial}, {in_words(old.left(before.now))})."
    )
    return Verdict(healthy=True, reason=reason, findings=findings)


def _good_to_the_end(looks: Sequence[Served], policy: HostCertificatePolicy) -> Sequence[Served]:
    """The looks after the last bad one."""
    bad = [number for number, look in enumerate(looks) if not is_good(look, policy)]
    return looks[bad[-1] + 1 :] if bad else looks


def _trouble(look: Served) -> str:
    if look.complaint:
        return f"a certificate that clients refuse: {printable(look.complaint)}"
    return f"the certificate {look.certificate.serial}, {in_words(look.certificate.left(look.at))}"
