"""Why a certificate is not renewed, found along Certificate → CertificateRequest → Order → Challenge.

Serves octollm.CertificateExpiringInSevenDays.r1.1-r4.8: cert-manager itself, its issuer, the authority's rate limit,
DNS-01 and HTTP-01 are told apart. Messages are of the authority and of DNS providers: searched, escaped, never obeyed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from nightshift.remediation.certificates.diagnosis import CertificateDiagnosis
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import shown
from nightshift.remediation.kubernetes.objects import Challenge, Workload
from nightshift.remediation.text import listed, printable

_RATE_LIMIT = re.compile(
    r"urn:ietf:params:acme:error:rateLimited|too many (?:certificates|failed authorizations|currently pending|new)"
    r"|rate ?limit",
    re.IGNORECASE,
)
_RETRY_AFTER = re.compile(r"retry after (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)\s*(?:UTC|Z)", re.IGNORECASE)
_CREDENTIALS = re.compile(
    r"secrets? \"?[\w./-]{0,253}\"? not found|\b40[13]\b|forbidden|unauthori[sz]ed"
    r"|invalid (?:api )?(?:token|credential|key)"
    r"|authentication (?:error|failed)|permission denied|accessdenied|no key .{0,80}in secret",
    re.IGNORECASE,
)
_STAGING = ("staging", "acme-staging", "-test.", "pebble")
WEEK = timedelta(days=7)
"""The longest a rate limit of Let's Encrypt lasts; assumed when the authority does not say until when."""


class Cause(StrEnum):
    """Why no new certificate comes."""

    CERT_MANAGER = "cert-manager"
    ISSUER = "issuer"
    RATE_LIMIT = "rate limit"
    DNS01 = "dns-01"
    HTTP01 = "http-01"
    REFUSED = "refused"
    """The request was denied or is invalid; the same again would be refused again."""
    BACKING_OFF = "backing off"
    """A failure whose reason is gone; cert-manager waits before it tries again."""
    AT_WORK = "at work"
    NOT_STARTED = "not started"
    """Nothing stands in the way, and nobody began."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The cause, and what shows it; printable."""

    cause: Cause
    words: str
    evidence: tuple[str, ...] = ()
    until: datetime | None = None
    """Of a rate limit."""


def explain(diagnosis: CertificateDiagnosis, most_restarts: int = 5) -> Explanation:
    """The first cause along the chain; what works is no cause.

    Args:
        diagnosis: of this moment.
        most_restarts: a pod of cert-manager that restarted so often and is not ready is not healthy.
    """
    if parts := unhealthy_parts(diagnosis, most_restarts):
        names = listed([printable(part.name, 80) for part in parts])
        return Explanation(cause=Cause.CERT_MANAGER, words=f"cert-manager is not healthy: {names}")
    for look in (_issuer, _rate_limit, _challenges, _refused):
        if (found := look(diagnosis)) is not None:
            return found
    if diagnosis.is_issuing:
        return Explanation(cause=Cause.AT_WORK, words="cert-manager is issuing it at this moment")
    if diagnosis.certificate.failed_attempts:
        attempts = diagnosis.certificate.failed_attempts
        words = f"{attempts} attempts failed for reasons that are gone, and cert-manager waits before the next"
        return Explanation(cause=Cause.BACKING_OFF, words=words, evidence=_said(diagnosis))
    return Explanation(cause=Cause.NOT_STARTED, words="nothing stands in its way, and no renewal was begun")


@serves("octollm.CertificateExpiringInSevenDays: r1.1 r1.2")
def unhealthy_parts(diagnosis: CertificateDiagnosis, most_restarts: int) -> tuple[Workload, ...]:
    """Deployments of cert-manager that lack pods, or whose pods restart again and again."""
    restless = [
        pod
        for pod in diagnosis.cert_manager_pods
        if any(s.restarts >= most_restarts and not s.ready for s in pod.statuses)
        or any(s.waiting_reason == "CrashLoopBackOff" for s in pod.statuses)
    ]
    return tuple(
        part
        for part in diagnosis.cert_manager
        if part.available < max(1, part.replicas)
        or any(part.selector is not None and part.selector.matches(pod.meta.labels) for pod in restless)
    )


def is_staging(server: str) -> bool:
    """Whether an ACME directory is one whose certificates nobody trusts."""
    return any(mark in server.lower() for mark in _STAGING)


def _issuer(diagnosis: CertificateDiagnosis) -> Explanation | None:
    reference, issuer = diagnosis.certificate.issuer, diagnosis.issuer
    name = f"{printable(reference.kind, 40)} {printable(reference.name, 100)}"
    if issuer is None:
        if reference.kind not in ("Issuer", "ClusterIssuer"):
            return None
        return Explanation(cause=Cause.ISSUER, words=f"its {name} does not exist")
    ready = issuer.condition("Ready")
    if ready is not None and ready.is_true:
        return None
    said = ready.message if ready is not None else "it has no condition Ready"
    if _RATE_LIMIT.search(said[:4000]):
        return _limited(diagnosis, said)
    return Explanation(cause=Cause.ISSUER, words=f"its {name} is not ready", evidence=(shown(said, 300),))


@serves("octollm.CertificateExpiringInSevenDays: r2.1")
def _rate_limit(diagnosis: CertificateDiagnosis) -> Explanation | None:
    order, request = diagnosis.order, diagnosis.request
    ready = request.condition("Ready") if request is not None else None
    issuing = diagnosis.certificate.condition("Issuing")
    texts = (
        order.reason if order is not None and order.state != "valid" else "",
        ready.message if ready is not None and not ready.is_true else "",
        issuing.message if issuing is not None and not issuing.is_true else "",
    )
    said = next((text for text in texts if _RATE_LIMIT.search(text[:4000])), "")
    return _limited(diagnosis, said) if said else None


def _limited(diagnosis: CertificateDiagnosis, said: str) -> Explanation | None:
    order, certificate = diagnosis.order, diagnosis.certificate
    failed = certificate.last_failure_at or (order.failed_at if order is not None else None) or diagnosis.now
    until = _until(said[:4000]) or failed + WEEK
    if until <= diagnosis.now:
        return None
    words = f"the authority refuses more of them until {until:%Y-%m-%d %H:%M} UTC"
    return Explanation(cause=Cause.RATE_LIMIT, words=words, evidence=(shown(said, 300),), until=until)


def _until(said: str) -> datetime | None:
    if (found := _RETRY_AFTER.search(said)) is None:
        return None
    try:
        return datetime.strptime(f"{found[1]} {found[2]}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _challenges(diagnosis: CertificateDiagnosis) -> Explanation | None:
    bad = [challenge for challenge in diagnosis.open_challenges if challenge.reason or challenge.state == "invalid"]
    for kind, look in (("DNS-01", _dns01), ("HTTP-01", _http01)):
        mine = [c for c in bad if c.type == kind and not (kind == "HTTP-01" and _http01_works_now(diagnosis))]
        if mine:
            return look(diagnosis, mine[0])
    return None


def _http01_works_now(diagnosis: CertificateDiagnosis) -> bool:
    """The order failed, and everything between the authority and the answer works by now."""
    look, order = diagnosis.http01, diagnosis.order
    if look is None or order is None or order.state not in ("invalid", "errored", "expired"):
        return False
    meets = bool(set(look.addresses or ()) & set(look.ingress_addresses or ()))
    return meets and look.port_80_answers is True and look.status in (200, 404)


def _dns01(diagnosis: CertificateDiagnosis, challenge: Challenge) -> Explanation:
    name = printable(challenge.dns_name, 120)
    if diagnosis.credentials_present is False:
        words = f"the credentials of the DNS provider are missing, so that {name} cannot be proven"
    elif _CREDENTIALS.search(challenge.reason[:4000]):
        words = f"the DNS provider refuses the credentials, so that {name} cannot be proven"
    elif challenge.presented:
        words = f"the record that proves {name} was set, but the authority does not see it"
    else:
        words = f"the record that proves {name} could not be set"
    return Explanation(cause=Cause.DNS01, words=words, evidence=(shown(challenge.reason, 300),))


def _http01(diagnosis: CertificateDiagnosis, challenge: Challenge) -> Explanation:
    name, look = printable(challenge.dns_name, 120), diagnosis.http01
    words = f"the authority cannot fetch the proof for {name} over HTTP"
    if look is not None:
        if look.addresses == ():
            words = f"{name} has no address in DNS"
        elif look.addresses and look.ingress_addresses and not set(look.addresses) & set(look.ingress_addresses):
            words = f"{name} points to {listed([printable(a, 60) for a in look.addresses])}, not to the ingress"
        elif look.port_80_answers is False:
            words = f"port 80 of {name} does not answer"
        elif look.status is not None and look.status not in (200, 404):
            words = f"{name} answers the path of the challenge with {look.status}"
    return Explanation(cause=Cause.HTTP01, words=words, evidence=(shown(challenge.reason, 300),))


def _refused(diagnosis: CertificateDiagnosis) -> Explanation | None:
    request = diagnosis.request
    if request is None or (request.revision and request.revision <= diagnosis.certificate.revision):
        return None
    for kind in ("Denied", "InvalidRequest"):
        condition = request.condition(kind)
        if condition is not None and condition.is_true:
            words = "its request was denied by policy" if kind == "Denied" else "its request is invalid"
            return Explanation(cause=Cause.REFUSED, words=words, evidence=(shown(condition.message, 300),))
    return None


def _said(diagnosis: CertificateDiagnosis) -> tuple[str, ...]:
    ready = diagnosis.certificate.condition("Ready")
    order = diagnosis.order
    texts = (ready.message if ready is not None else "", order.reason if order is not None else "")
    return tuple(shown(text, 300) for text in texts if text)
