"""A certificate that expires soon: cert-manager brought back, or one renewal once nothing stands in its way.

A pure function of what was seen and what is allowed. Covers octollm.CertificateExpiringInSevenDays.r1.1-r5.7 and avoids
their hazards: one certificate is renewed by its ``Issuing`` condition (as ``cmctl renew``) instead of deleting every
request of the namespace, never while the authority's rate limit lasts, never from a staging authority.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nightshift.remediation.certificates.cause import Cause, Explanation, explain, is_staging, unhealthy_parts
from nightshift.remediation.certificates.diagnosis import CertificateDiagnosis
from nightshift.remediation.certificates.policy import CertificateExpiryPolicy
from nightshift.remediation.certificates.verification import is_good, wrong
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.arguments import RenewCertificate
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.crash_diagnosis import shown
from nightshift.remediation.kubernetes.objects import Event
from nightshift.remediation.kubernetes.restarting import RESTARTED_AT, restart
from nightshift.remediation.models import Action, Finding, Impact, Plan, Proposal, Quantity, Refusal, Risk, Target
from nightshift.remediation.text import counted, listed, printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a certificate without trouble."""
_NO_CLIENT = "Its issuer is a staging authority, whose certificates no client takes."
_EVENTS = 3
"""Of the newest events, so many are shown."""


def plan_renewal(target: Target, diagnosis: CertificateDiagnosis, policy: CertificateExpiryPolicy) -> Plan:
    """What may be done so that a new certificate comes, or what stands in its way."""
    name, left = printable(diagnosis.certificate.name, 120), diagnosis.seconds_left
    if left is not None and is_good(diagnosis.certificate, diagnosis.now, policy):
        return _lasts(target, diagnosis, f"{name} is ready and lasts for {format_duration(left)}.")
    why, changes = explain(diagnosis, policy.restarts_since_healthy), Changes()
    _REPAIRS[why.cause](target, diagnosis, policy, why, changes)
    return Plan(
        goal=f"Have the certificate {name} renewed, which {_ends(left)}: {why.words}",
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=f"{name} is ready with a later end, and served where it is used.",
    )


def in_words(diagnosis: CertificateDiagnosis) -> str:
    """One look as a line for people."""
    served = [f"{printable(one.name, 80)} shows {printable(one.serial, 60)}" for one in diagnosis.served if one.reached]
    return "; ".join([f"it {_ends(diagnosis.seconds_left)}", *dict.fromkeys(served)])


def findings_of(diagnosis: CertificateDiagnosis, why: Explanation) -> tuple[Finding, ...]:
    """How long it lasts, the chain of its renewal, and what is served."""
    certificate, left = diagnosis.certificate, diagnosis.seconds_left
    request, order = diagnosis.request, diagnosis.order
    chain = [
        f"request {printable(request.name, 80)}" if request is not None else "no request",
        f"order {printable(order.state, 40) or 'new'}" if order is not None else "no order",
        f"{counted(len(diagnosis.open_challenges), 'open challenge')}",
    ]
    return (
        Finding(
            title=f"{printable(certificate.name, 120)} {_ends(left)}",
            detail=f"for {listed([printable(name, 80) for name in certificate.dns_names])}; "
            f"{counted(certificate.failed_attempts, 'failed attempt')}",
            troubling=True,
        ),
        Finding(title=f"Renewal: {why.words}", detail=" ".join(why.evidence), data={"cause": why.cause}),
        Finding(title=f"Chain: {', '.join(chain)}"),
        *(
            Finding(title=f"Served at {printable(served.name, 100)}: {_served(served.reached, served.serial)}")
            for served in diagnosis.served
        ),
        *(_event("Event", event) for event in _newest(diagnosis.events, diagnosis)),
        *_around(diagnosis),
    )


def _around(diagnosis: CertificateDiagnosis) -> Iterator[Finding]:
    """What cert-manager logged about it, its ingresses, and the ingress controller."""
    if diagnosis.log:
        last = " | ".join(shown(line, 250) for line in diagnosis.log[-_EVENTS:])
        yield Finding(title=f"cert-manager logged {counted(len(diagnosis.log), 'line')} about it", detail=last)
    if (pods := diagnosis.ingress_pods) is not None:
        ready = sum(pod.is_ready for pod in pods)
        title = f"Ingress controller: {ready} of {counted(len(pods), 'pod')} ready"
        yield Finding(title=title, troubling=ready < max(1, len(pods)))
    yield from (_event("Ingress event", event) for event in _newest(diagnosis.ingress_events, diagnosis))
    for what in diagnosis.unseen:
        yield Finding(title=f"Not seen: {printable(what, 300)}")


def _newest(events: Sequence[Event], diagnosis: CertificateDiagnosis) -> list[Event]:
    return sorted(events, key=lambda one: (one.last_at or diagnosis.now, one.uid))[-_EVENTS:]


def _event(what: str, event: Event) -> Finding:
    return Finding(title=f"{what} {printable(event.reason, 60)}", detail=printable(event.message, 300))


def _served(reached: bool, serial: str) -> str:
    return f"serial {printable(serial, 60)}" if reached else "not reached"


def _lasts(target: Target, diagnosis: CertificateDiagnosis, expected: str) -> Plan:
    """Nothing to renew; what still shows another one has to read it anew, and which workload that is nobody says."""
    stale = [words for look in diagnosis.served if (words := wrong(look, diagnosis))]
    if not stale:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=expected)
    name = printable(diagnosis.certificate.name, 120)
    proposal = Proposal(title=f"Have {name} read anew by what serves it", detail="; ".join(stale), reason=expected)
    return Plan(goal=f"Have {name} served: {stale[0]}", target=target, proposals=(proposal,), expected=expected)


def _ends(left: float | None) -> str:
    if left is None:
        return "was never issued"
    return f"expires in {format_duration(left)}" if left > 0 else f"expired {format_duration(-left)} ago"


Repair = Callable[[Target, CertificateDiagnosis, CertificateExpiryPolicy, Explanation, Changes], None]


@serves("octollm.CertificateExpiringInSevenDays: r1.3 r1.4 r1.5")
def _restart_parts(
    target: Target,
    diagnosis: CertificateDiagnosis,
    policy: CertificateExpiryPolicy,
    why: Explanation,
    changes: Changes,
) -> None:
    for part in unhealthy_parts(diagnosis, policy.restarts_since_healthy):
        what = f"Restarting {printable(part.name, 80)}"
        if not policy.restart_cert_manager:
            changes.refusals.append(Refusal(what=what, reason="the policy", lifted_by="restart_cert_manager: true"))
        elif part.replicas == 0:
            reason = "it is scaled to nothing: somebody switched it off"
            changes.refusals.append(Refusal(what=what, reason=reason, lifted_by="a person who switches it on"))
        else:
            changes.change(restart(target, part, f"{_sentence(why)}."), part, (RESTARTED_AT,))


@serves("octollm.CertificateExpiringInSevenDays: r1.7 r3.8 r4.8")
def _renew(
    target: Target,
    diagnosis: CertificateDiagnosis,
    policy: CertificateExpiryPolicy,
    why: Explanation,
    changes: Changes,
) -> None:
    certificate = diagnosis.certificate
    name = printable(certificate.name, 120)
    what = f"Renewing {name}"
    staging = diagnosis.issuer is not None and is_staging(diagnosis.issuer.acme_server)
    if staging and not policy.staging:
        changes.refusals.append(_no_staging(what, "staging: true, for names that are not in production"))
        return
    arguments = RenewCertificate(
        namespace=certificate.namespace,
        name=certificate.name,
        uid=certificate.uid,
        revision=certificate.revision,
        secret=certificate.secret,
    )
    certificates = Quantity(amount=1, unit="certificates")
    changes.actions.append(
        Action(
            kind=arguments.KIND,
            target=target,
            arguments=arguments.to_json(),
            items=(certificate.uid,),
            title=f"Renew the certificate {name}",
            reason=f"{_sentence(why)}.{f' {_NO_CLIENT}' if staging else ''}",
            risk=Risk.HIGH if staging else Risk.MEDIUM,
            asks=_NO_CLIENT if staging else "",
            bound=certificates,
            gain=certificates,
            undo="cannot be undone; the certificate in use stays until the new one is there",
            impact=Impact(
                what=f"certificate {name} and its Secret {printable(certificate.secret, 120)}",
                how_much=counted(len(certificate.dns_names), "name"),
                users=listed([printable(dns_name, 80) for dns_name in certificate.dns_names]),
            ),
        )
    )


@serves("octollm.CertificateExpiringInSevenDays: r2.2")
@proposes("octollm.CertificateExpiringInSevenDays: r2.4")
def _wait_for_the_limit(
    target: Target,  # noqa: ARG001
    diagnosis: CertificateDiagnosis,
    policy: CertificateExpiryPolicy,  # noqa: ARG001
    why: Explanation,
    changes: Changes,
) -> None:
    name, end = printable(diagnosis.certificate.name, 120), diagnosis.certificate.not_after
    until = f"{why.until:%Y-%m-%d %H:%M} UTC" if why.until is not None else "its end"
    changes.refusals.append(Refusal(what=f"Renewing {name}", reason=why.words, lifted_by=until))
    changes.refusals.append(_no_staging(f"Issuing {name} from the authority's staging service", until))
    too_late = why.until is not None and end is not None and end <= why.until
    changes.proposals.append(
        Proposal(
            title="Ask the authority for a higher limit" + ", or issue from another authority" * too_late,
            detail=" ".join(why.evidence),
            reason="It expires before the limit ends." if too_late else "The limit ends before it expires.",
        )
    )


@proposes("octollm.CertificateExpiringInSevenDays: r3.5 r3.6 r4.7")
def _people(
    target: Target,  # noqa: ARG001
    diagnosis: CertificateDiagnosis,
    policy: CertificateExpiryPolicy,  # noqa: ARG001
    why: Explanation,
    changes: Changes,
) -> None:
    issuer = printable(diagnosis.certificate.issuer.name, 100)
    titles = {
        Cause.ISSUER: (f"Repair the issuer {issuer}: {why.words}", "Nothing can be issued before."),
        Cause.DNS01: (
            "Replace the Secret of the DNS provider in one apply, keeping the old one",
            "Deleting it first would stop every renewal that uses it.",
        ),
        Cause.HTTP01: (
            f"Let the authority reach the challenge: {why.words}",
            "DNS, then the ingress, then port 80; a firewall rule for port 80 of the ingress only.",
        ),
        Cause.REFUSED: (f"Correct the request: {why.words}", "The same request would be refused again."),
    }
    title, reason = titles[why.cause]
    changes.proposals.append(Proposal(title=title, detail=" ".join((why.words, *why.evidence)), reason=reason))


def _at_work(
    target: Target,  # noqa: ARG001
    diagnosis: CertificateDiagnosis,
    policy: CertificateExpiryPolicy,
    why: Explanation,
    changes: Changes,
) -> None:
    name = printable(diagnosis.certificate.name, 120)
    issuing = diagnosis.certificate.condition("Issuing")
    since = (diagnosis.now - issuing.since).total_seconds() if issuing is not None and issuing.since else 0.0
    lifted_by = f"its end, or {format_duration(policy.issuance)} without one"
    changes.refusals.append(Refusal(what=f"Renewing {name}", reason=why.words, lifted_by=lifted_by))
    if since > policy.issuance:
        title = f"Look at the newest order of {name}: it is being issued for {format_duration(since)}"
        changes.proposals.append(Proposal(title=title))


def _no_staging(what: str, lifted_by: str) -> Refusal:
    reason = "nobody trusts the certificates of a staging authority: every client would refuse them"
    return Refusal(what=what, reason=reason, lifted_by=lifted_by)


def _sentence(why: Explanation) -> str:
    return why.words[:1].upper() + why.words[1:]


_REPAIRS: dict[Cause, Repair] = {
    Cause.CERT_MANAGER: _restart_parts,
    Cause.ISSUER: _people,
    Cause.RATE_LIMIT: _wait_for_the_limit,
    Cause.DNS01: _people,
    Cause.HTTP01: _people,
    Cause.REFUSED: _people,
    Cause.BACKING_OFF: _renew,
    Cause.AT_WORK: _at_work,
    Cause.NOT_STARTED: _renew,
}
