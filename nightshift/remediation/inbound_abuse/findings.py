"""Who sent what, for the report: addresses and numbers; accounts only masked."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inbound_abuse.objects import AbuseDiagnosis
from nightshift.remediation.inbound_abuse.planner import Pattern, hit_accounts, pattern_of
from nightshift.remediation.inbound_abuse.policy import InboundAbusePolicy
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Finding
from nightshift.remediation.text import counted, listed, printable

_MOST = 5
_WORDS = {
    Pattern.UNKNOWN: "The log does not tell who it is",
    Pattern.FEW: "A few addresses send most of it",
    Pattern.USERS: "Many addresses that are served too: users",
    Pattern.DISTRIBUTED: "Many addresses of nobody known: a distributed attack",
}


def in_words(diagnosis: AbuseDiagnosis, policy: InboundAbusePolicy) -> str:
    """The number as a line for people."""
    if diagnosis.rate is None:
        return f"not measured: {diagnosis.unknown}"
    return f"{diagnosis.rate:.1f} {policy.measure.unit} (limit {policy.measure.at_most:g})"


def findings_of(diagnosis: AbuseDiagnosis, policy: InboundAbusePolicy) -> tuple[Finding, ...]:
    """What was seen, the pattern first."""
    return tuple(_findings(diagnosis, policy))


@serves("trading_signals.HighRateLimitRejections: d1 d4")
def _findings(diagnosis: AbuseDiagnosis, policy: InboundAbusePolicy) -> Iterator[Finding]:
    traffic, pattern = diagnosis.traffic, pattern_of(diagnosis.traffic, policy)
    told = f"{counted(traffic.events, 'event')} of {format_duration(policy.window)}"
    if traffic.unattributed:
        told += f", {traffic.unattributed:,} of them without a sender that can be told"
    yield Finding(title=_WORDS[pattern], detail=told, troubling=pattern is not Pattern.USERS)
    for source in traffic.senders[:_MOST]:
        by_proxy = ", named by a trusted proxy" * source.forwarded
        yield Finding(
            title=f"{source.address}: {counted(source.events, 'event')}",
            detail=f"{source.served:,} served, {counted(len(source.accounts), 'account')}{by_proxy}",
        )
    if diagnosis.routes:
        shown = [f"{printable(name, 80) or 'all'}: {value:.1f}" for name, value in diagnosis.routes]
        yield Finding(title="By series", detail=listed(shown, _MOST))
    if policy.limit is not None:
        value = printable(diagnosis.setting, 60) or "not set, or no plain value"
        yield Finding(title=f"{policy.limit.setting} is {value}")
    if policy.kind == "logins" and traffic.hit:
        yield Finding(title=f"{counted(len(traffic.hit), 'account')} hit", detail=hit_accounts(traffic), troubling=True)
    if diagnosis.blind:
        yield Finding(title="The host could not be looked at", detail=printable(diagnosis.blind, 200), troubling=True)
    if diagnosis.network is not None and diagnosis.network.blocks:
        left = {str(one.source): format_duration(one.left) for one in diagnosis.network.blocks}
        yield Finding(title="Blocked by us now", detail=listed([f"{name} ({end})" for name, end in left.items()], 20))
