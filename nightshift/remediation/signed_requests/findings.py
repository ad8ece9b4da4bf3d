"""What was seen of signed requests, for the report. Fingerprints instead of secrets; names of devices printable."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inbound_abuse.findings import findings_of as findings_of_abuse
from nightshift.remediation.models import Finding
from nightshift.remediation.signed_requests.facts import SignedDiagnosis
from nightshift.remediation.signed_requests.planner import keys_trouble, secret_differs
from nightshift.remediation.signed_requests.policy import SignedRequestPolicy
from nightshift.remediation.text import counted, listed, printable

_MOST = 5


def findings_of(diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> tuple[Finding, ...]:
    """Redis, signatures, the secret, what the other side says."""
    return tuple(_findings(diagnosis, policy))


def _findings(diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> Iterator[Finding]:
    traffic = diagnosis.traffic
    yield Finding(
        title=f"{counted(traffic.requests, 'signed request')} in {format_duration(policy.window)}",
        detail=f"{traffic.invalid:,} with an invalid signature, {counted(traffic.replays, 'replay')}, "
        f"{counted(traffic.timeouts, 'time-out')}",
        troubling=bool(traffic.invalid or traffic.replays),
    )
    yield from _redis(diagnosis, policy)
    if diagnosis.detail:
        shown = [f"{printable(name, 80) or 'all'}: {value:.2f}" for name, value in diagnosis.detail]
        yield Finding(title="By series", detail=listed(shown, _MOST))
    if policy.secret is not None:
        differs = secret_differs(diagnosis, policy)
        compared = {
            True: "differs from the expected one",
            False: "is the expected one",
            None: "nothing to compare with",
        }
        yield Finding(
            title=f"{policy.secret.setting}: fingerprint {diagnosis.fingerprint or 'none'}",
            detail=compared[differs],
            troubling=differs is True,
        )
    yield from _others(diagnosis)
    if policy.replays is not None and diagnosis.abuse is not None and traffic.replays:
        yield from findings_of_abuse(diagnosis.abuse, policy.replays)


def _redis(diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> Iterator[Finding]:
    if diagnosis.silence:
        yield Finding(title="Redis does not answer", detail=diagnosis.silence, troubling=True)
    if diagnosis.keys is not None:
        wrong = keys_trouble(diagnosis, policy)
        least = "" if diagnosis.keys.complete else "at least "
        yield Finding(
            title=f"{least}{counted(diagnosis.keys.keys, 'key')} {policy.remembered.prefix}*",
            detail=wrong or f"they stay as long as they should ({format_duration(policy.remembered.lives)})",
            troubling=wrong is not None,
        )


def _others(diagnosis: SignedDiagnosis) -> Iterator[Finding]:
    if (known := diagnosis.registered) is not None:
        active = "not known" if known.active is None else f"{known.active:,}"
        yield Finding(
            title=f"Devices active: {active}",
            detail=known.complaint
            or f"{known.failing_active:,} of those that fail; {len(known.created):,} in the database",
        )
    if (found := diagnosis.deliveries) is not None:
        ends = [f"{one.host}{'' if one.enabled else ' (off)'}" for one in found.endpoints]
        detail = (
            f"{found.undelivered:,}{'+' * found.more} events not delivered; endpoints: {listed(ends, _MOST) or 'none'}"
        )
        yield Finding(title="Stripe's deliveries", detail=detail, troubling=bool(found.undelivered))
    elif diagnosis.deliveries_complaint:
        yield Finding(title="Stripe's deliveries are not known", detail=diagnosis.deliveries_complaint)
    if diagnosis.answered:
        yield Finding(title="The endpoint answers us", detail=diagnosis.answered)
    if diagnosis.unknown:
        yield Finding(title="Not everything could be measured", detail=diagnosis.unknown, troubling=True)
