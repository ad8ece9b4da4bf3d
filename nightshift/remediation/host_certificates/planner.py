"""The least that brings a certificate with enough time left to its endpoint: reload, or renew once and reload.

A pure function of what was seen and what is allowed. It follows the rules of ``certificate_expiry`` in the families:
the reason why renewal failed comes first, one renewal of one certificate, no try before a rate limit has passed, and a
trusted certificate is never replaced by one of a staging CA. Serves bybit_strategy_tester.SSLCertificateExpiring, about
which its document is silent.
"""

from __future__ import annotations

from datetime import UTC, datetime

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.durations import format_duration
from nightshift.remediation.host_certificates.arguments import ReloadService, RenewCertificate
from nightshift.remediation.host_certificates.facts import CertificateDiagnosis, FailureCause, Lineage
from nightshift.remediation.host_certificates.policy import EndpointRule, HostCertificatePolicy
from nightshift.remediation.models import Action, Plan, Proposal, Quantity, Refusal, Risk, Target
from nightshift.remediation.text import printable, shown_address

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for an endpoint without trouble."""
ONE = Quantity(amount=1, unit="certificates")
_SERVICE = Quantity(amount=1, unit="services")
_HOPELESS = {
    FailureCause.NAME: ("The name does not resolve for the CA", "Mend the DNS record of {name}; then run this again"),
    FailureCause.ACCOUNT: (
        "The CA does not know the account any more",
        "Register again on the host: certbot register; then run this again",
    ),
}
"""What another try cannot change, with what a person can do."""


def plan_host_certificate(target: Target, diagnosis: CertificateDiagnosis, policy: HostCertificatePolicy) -> Plan:
    """What is done about the certificate of one endpoint.

    Args:
        target: the endpoint.
        diagnosis: of this endpoint.
        policy: names the endpoint.
    """
    rule = policy.endpoints[diagnosis.endpoint]
    served, kept, now = diagnosis.served, diagnosis.lineage.certificate, diagnosis.now
    endpoint = shown_address(diagnosis.endpoint)
    left = served.certificate.left(now)
    if left > policy.expires_within and not served.complaint:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{endpoint}: {in_words(left)}, as it should be.")
    goal = f"Serve a certificate at {endpoint} that is valid for more than {format_duration(policy.expires_within)}"
    if kept is None:
        return Plan(goal=goal, target=target, proposals=(_no_lineage(diagnosis, rule),))
    if not names_cover(kept.names, rule.server_name):
        return Plan(goal=goal, target=target, proposals=(_other_names(diagnosis, rule),))
    if kept.sha256 != served.certificate.sha256 and kept.left(now) > policy.expires_within:
        return Plan(goal=goal, target=target, actions=reloads(target, rule, policy), expected=_expected(policy))
    if refusal := _refusal(diagnosis, rule):
        return Plan(goal=goal, target=target, refusals=(refusal,), proposals=_proposals(diagnosis.lineage))
    renewal = _renewal(target, diagnosis, rule, policy)
    actions = (renewal, *reloads(target, rule, policy))
    proposals = _proposals(diagnosis.lineage)
    return Plan(goal=goal, target=target, actions=actions, proposals=proposals, expected=_expected(policy))


def in_words(left: float) -> str:
    """How long a certificate is valid for, in whole days or hours."""
    if left <= 0:
        return f"ended {format_duration(_rounded(-left))} ago"
    return f"valid for {format_duration(_rounded(left))}"


def names_cover(names: tuple[str, ...], wanted: str) -> bool:
    """Whether one of the DNS names is the wanted one, or its wildcard (RFC 6125: one label, the leftmost)."""
    parent = wanted.partition(".")[2]
    return any(name.lower() == wanted or (parent != "" and name.lower() == f"*.{parent}") for name in names)


def reloads(target: Target, rule: EndpointRule, policy: HostCertificatePolicy) -> tuple[Action, ...]:
    """One reload for each service that holds the certificate in memory."""
    return tuple(
        Action(
            kind=ReloadService.KIND,
            target=target,
            arguments=ReloadService(
                unit=unit,
                lineage=rule.lineage,
                config_dir=policy.config_dir,
                address=rule.address,
                port=rule.port,
                server_name=rule.server_name,
            ).to_json(),
            items=(unit,),
            title=f"Reload {unit}",
            reason="it serves a certificate that is not the one on the host",
            risk=Risk.LOW,
            bound=_SERVICE,
            undo=f"{CANNOT_BE_UNDONE}, and need not be: connections go on, mistakes in its configuration are not taken",
        )
        for unit in rule.reload
    )


def _renewal(
    target: Target, diagnosis: CertificateDiagnosis, rule: EndpointRule, policy: HostCertificatePolicy
) -> Action:
    kept = diagnosis.lineage.certificate
    assert kept is not None  # noqa: S101 - asked before
    why = diagnosis.lineage.cause
    last = f"; the last try failed: {why.value}" if why is not FailureCause.NONE else ""
    arguments = RenewCertificate(
        lineage=rule.lineage, config_dir=policy.config_dir, serial=kept.serial, not_after=kept.not_after
    )
    return Action(
        kind=RenewCertificate.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(rule.lineage,),
        title=f"Renew the certificate {rule.lineage} with certbot, if it is due",
        reason=f"it is {in_words(kept.left(diagnosis.now))}{last}",
        risk=Risk.LOW,
        bound=ONE,
        undo=f"{CANNOT_BE_UNDONE}: the one before stays in {printable(policy.config_dir)}/archive",
    )


def _refusal(diagnosis: CertificateDiagnosis, rule: EndpointRule) -> Refusal | None:
    lineage = diagnosis.lineage
    what = f"Renewing {rule.lineage}"
    if lineage.cause is FailureCause.RATE_LIMITED and (
        lineage.retry_after is None or lineage.retry_after > diagnosis.now
    ):
        until = f" before {moment(lineage.retry_after)}" if lineage.retry_after else ", and did not say for how long"
        return Refusal(
            what=what,
            reason=f"the CA refuses more certificates{until}: {lineage.last_words}",
            lifted_by="wait, or ask the CA for a higher limit; a staging certificate would be trusted by nobody",
        )
    if lineage.authenticator == "manual":
        return Refusal(
            what=what,
            reason="a person has to answer its challenge (authenticator manual)",
            lifted_by=f"certbot certonly --cert-name {rule.lineage} with an authenticator that needs nobody",
        )
    if lineage.cause in _HOPELESS:
        reason, mend = _HOPELESS[lineage.cause]
        return Refusal(
            what=what, reason=f"{reason}: {lineage.last_words}", lifted_by=mend.format(name=rule.server_name)
        )
    return None


def _no_lineage(diagnosis: CertificateDiagnosis, rule: EndpointRule) -> Proposal:
    return Proposal(
        title=f"Issue a certificate for {rule.server_name} on the host",
        detail=f"certbot certonly --cert-name {rule.lineage} -d {rule.server_name}",
        reason=f"certbot has no {rule.lineage} there: {diagnosis.lineage.complaint}",
    )


def _other_names(diagnosis: CertificateDiagnosis, rule: EndpointRule) -> Proposal:
    names = ", ".join(printable(name) for name in (diagnosis.lineage.certificate or diagnosis.served.certificate).names)
    return Proposal(
        title=f"Issue {rule.lineage} for the right name, or name the right lineage in the catalogue",
        detail=f"certbot certonly --cert-name {rule.lineage} -d {rule.server_name}",
        reason=f"it is good for {names or 'no name'}, not for {rule.server_name}; renewing it would not help",
    )


def _proposals(lineage: Lineage) -> tuple[Proposal, ...]:
    if lineage.timer_active is not False:
        return ()
    return (
        Proposal(
            title="Let the host renew its certificates by itself again",
            detail="systemctl enable --now certbot.timer",
            reason="the timer that renews them does not run: the next one will end, too",
        ),
    )


def _expected(policy: HostCertificatePolicy) -> str:
    enough = format_duration(policy.expires_within)
    return f"The endpoint serves another certificate, trusted, and valid for more than {enough}."


def moment(seconds: float) -> str:
    """A time as people and logs write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _rounded(seconds: float) -> float:
    """To the days where there are several, else to the hours or minutes: nobody needs the seconds of a certificate."""
    unit = 86400 if seconds >= 2 * 86400 else 3600 if seconds >= 2 * 3600 else 60
    return float(seconds // unit * unit)
