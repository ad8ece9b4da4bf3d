"""Whether it is abuse, users, or an attack from everywhere; and the narrowest block, with an end.

Pure functions of what was seen and what is allowed. They follow trading_signals.HighRateLimitRejections.r1.1-r3.1 and
bybit_strategy_tester.HighFailedLoginAttempts.r1.1-r2.2 without their hazards: a block goes where packets to ports of
Docker really pass, only drops what goes to these ports, and ends by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inbound_abuse.arguments import BlockSources
from nightshift.remediation.inbound_abuse.guards import around, left_alone, network_of, why_never, why_spared
from nightshift.remediation.inbound_abuse.objects import AbuseDiagnosis, HostNetwork, Source, Traffic
from nightshift.remediation.inbound_abuse.policy import Firewall, InboundAbusePolicy, Network
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import (
    Action,
    Impact,
    Plan,
    Proposal,
    Quantity,
    Refusal,
    Risk,
    Target,
    UndoWhen,
)
from nightshift.remediation.text import counted, listed, printable

_MOST_IN_ACTION = 20


class Pattern(StrEnum):
    """What the requests look like."""

    UNKNOWN = "unknown"
    """The log does not tell."""
    FEW = "few"
    """A few addresses send most of it."""
    USERS = "users"
    """Many addresses, most of which are served too."""
    DISTRIBUTED = "distributed"
    """Many addresses of nobody known."""


def pattern_of(traffic: Traffic, policy: InboundAbusePolicy) -> Pattern:
    """What the requests look like, by the log alone."""
    attributed = traffic.events - traffic.unattributed
    if attributed < policy.least or attributed < traffic.events * policy.most_share:
        return Pattern.UNKNOWN
    if abusers(traffic, policy):
        return Pattern.FEW
    known = sum(1 for one in traffic.senders if one.served)
    many_known = policy.kind == "requests" and known >= policy.known_share * len(traffic.senders)
    return Pattern.USERS if many_known else Pattern.DISTRIBUTED


def abusers(traffic: Traffic, policy: InboundAbusePolicy) -> tuple[Source, ...]:
    """The few addresses that together send most; none when it takes more than a few."""
    total, needed = 0, policy.most_share * traffic.events
    for number, source in enumerate(traffic.senders[: policy.few], start=1):
        total += source.events
        if total >= needed:
            return tuple(traffic.senders[:number])
    return ()


def is_over(diagnosis: AbuseDiagnosis, policy: InboundAbusePolicy) -> bool:
    """Whether the alert's number is within its limit."""
    return diagnosis.rate is not None and diagnosis.rate <= policy.measure.at_most


@dataclass
class _Draft:
    actions: list[Action] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)


def plan_abuse(target: Target, diagnosis: AbuseDiagnosis, policy: InboundAbusePolicy) -> Plan:
    """What is done about somebody who sends too much."""
    if is_over(diagnosis, policy):
        expected = "The number is within its limit already."
        return Plan(goal="nothing to do", target=target, expected=expected)
    draft = _Draft()
    pattern = pattern_of(diagnosis.traffic, policy)
    if policy.kind == "logins":
        draft.proposals.extend(_about_logins(diagnosis, policy, pattern))
    if pattern is Pattern.FEW:
        _block(draft, target, diagnosis, policy)
    elif pattern is Pattern.USERS:
        draft.proposals.append(_higher_limit(diagnosis, policy))
        draft.refusals.append(Refusal(what="Blocking anybody", reason="most of those who are rejected are users"))
    elif pattern is Pattern.DISTRIBUTED:
        draft.proposals.append(_distributed(diagnosis.traffic))
        reason = "no few addresses send most of it; blocking some would shut users out and stop nobody"
        draft.refusals.append(Refusal(what="Blocking addresses", reason=reason))
    else:
        draft.refusals.append(_unknown(diagnosis.traffic, policy))
    return Plan(
        goal=_goal(target, policy),
        target=target,
        actions=tuple(draft.actions),
        refusals=tuple(draft.refusals),
        proposals=tuple(draft.proposals),
        expected=f"At most {policy.measure.at_most:g} {policy.measure.unit}, and everybody else is served.",
        separable=len(draft.actions) > 1,
    )


def _goal(target: Target, policy: InboundAbusePolicy) -> str:
    what = {"requests": "Have fewer requests rejected", "logins": "Have fewer logins fail"}[policy.kind]
    return f"{what} at {printable(target.part('service'), 80)}"


def _unknown(traffic: Traffic, policy: InboundAbusePolicy) -> Refusal:
    attributed = traffic.events - traffic.unattributed
    reason = f"the log tells of {counted(attributed, 'event')} who sent it, of {traffic.events:,} in the window"
    lifted = f"at least {policy.least:,}, and {policy.most_share:.0%} of them; see log and proxies in the policy"
    return Refusal(what="Blocking addresses", reason=reason, lifted_by=lifted)


@proposes("trading_signals.HighRateLimitRejections: r1.1 r1.2")
def _higher_limit(diagnosis: AbuseDiagnosis, policy: InboundAbusePolicy) -> Proposal:
    """A higher limit for a time, with the step back that the document leaves out; restart does not apply it."""
    senders = counted(len(diagnosis.traffic.senders), "address", "addresses")
    reason = f"{senders} are rejected, and most of them are served too: users, not abuse."
    if policy.limit is None:
        return Proposal(title="Raise the service's limit for a time, and take it back", reason=reason)
    limit = policy.limit
    now = f"now {printable(diagnosis.setting, 60)}" if diagnosis.setting else "not set now"
    return Proposal(
        title=f"Raise {limit.setting} to {limit.proposed} for an hour ({now}), then take it back",
        detail=f"{limit.setting}={limit.proposed} in {limit.file}, then docker compose up -d --no-deps of the service: "
        "a restart does not read the file. Set yourself a reminder for the step back.",
        reason=reason,
    )


def _distributed(traffic: Traffic) -> Proposal:
    return Proposal(
        title="Call the security team now: this looks like an attack from many addresses",
        detail=f"{counted(traffic.events, 'event')} from {counted(len(traffic.senders), 'address', 'addresses')}; "
        "protection by a provider (Cloudflare, AWS Shield) is switched on by people.",
        reason="No few addresses send most of it.",
    )


@proposes("bybit_strategy_tester.HighFailedLoginAttempts: r2.1 r2.2")
def _about_logins(diagnosis: AbuseDiagnosis, policy: InboundAbusePolicy, pattern: Pattern) -> Iterator[Proposal]:
    """A stricter limit of logins before any block, and the security team with what it needs."""
    if policy.limit is not None:
        limit = policy.limit
        now = f"now {printable(diagnosis.setting, 60)}" if diagnosis.setting else "not set now"
        yield Proposal(
            title=f"Set {limit.setting} to {limit.proposed} ({now})",
            detail=f"{limit.setting}={limit.proposed} in {limit.file}, then docker compose up -d --no-deps of the "
            "service: a restart does not read the file.",
            reason="It slows guessing from every address, also from those that nobody blocks.",
        )
    hit = diagnosis.traffic.hit
    yield Proposal(
        title="Tell the security team that passwords are being guessed",
        detail=f"{counted(diagnosis.traffic.events, 'failed login')} of {counted(len(hit), 'account')}, pattern: "
        f"{pattern.value}; most hit: {hit_accounts(diagnosis.traffic)}",
        reason="An account whose password was guessed is not seen by counting failures.",
    )


def hit_accounts(traffic: Traffic, most: int = 10) -> str:
    """The accounts that are tried most, masked, with their numbers."""
    worst = sorted(traffic.hit.items(), key=lambda item: (-item[1], item[0]))
    return listed([f"{masked(name)} ({number:,})" for name, number in worst], most) or "not told by the log"


def masked(account: str) -> str:
    """``alice@example.com`` as ``a…@e…``: enough for its owner, too little for anybody else."""
    name, at, domain = account.partition("@")
    shown = f"{name[:1]}…{at}{domain[:1]}{'…' if domain else ''}"
    return printable(shown, 20)


@serves("trading_signals.HighRateLimitRejections: r2.1", "bybit_strategy_tester.HighFailedLoginAttempts: r1.1")
def _block(draft: _Draft, target: Target, diagnosis: AbuseDiagnosis, policy: InboundAbusePolicy) -> None:
    """The few who send most, each held against every reason not to."""
    if (refusal := _why_no_block(diagnosis, policy)) is not None:
        draft.refusals.append(refusal)
        return
    firewall, host = policy.firewall, diagnosis.network
    assert firewall is not None and host is not None  # noqa: S101, PT018 - what _why_no_block has just said
    chosen: list[Source] = []
    for source in abusers(diagnosis.traffic, policy):
        network = network_of(source.address)
        if host.blocks_all(network, firewall.ports):
            left = max(block.left for block in host.blocks if block.source == network)
            reason = (
                f"it is blocked already, for {format_duration(left)} more: what is counted came before, or another way"
            )
            draft.refusals.append(Refusal(what=f"Blocking {source.address}", reason=reason))
            continue
        why = why_spared(source, policy, host) or _too_many_users(source, chosen, diagnosis.traffic, policy)
        if why is None:
            chosen.append(source)
        else:
            draft.refusals.append(Refusal(what=f"Blocking {source.address}", reason=why))
    free = max(0, policy.most_blocks - len(host.blocked))
    alone, more = chosen[:free], chosen[free:]
    if alone:
        draft.actions.append(_action(target, diagnosis, policy, alone))
    if more:
        asks = f"More than {counted(policy.most_blocks, 'address', 'addresses')} would be blocked at one time."
        draft.actions.append(_action(target, diagnosis, policy, more, asks))
    draft.actions.extend(_networks(target, diagnosis, policy, firewall, host, chosen))


def _why_no_block(diagnosis: AbuseDiagnosis, policy: InboundAbusePolicy) -> Refusal | None:
    what = "Blocking who sends most of it"
    if policy.firewall is None:
        return Refusal(what=what, reason="this runbook blocks nobody", lifted_by="firewall in its policy")
    if diagnosis.network is None:
        return Refusal(what=what, reason=diagnosis.blind or "the host was not looked at")
    if diagnosis.rate is None:
        return Refusal(what=what, reason=f"whether it helps could not be measured: {diagnosis.unknown}")
    if not diagnosis.network.versions:
        lifted = f"a chain {policy.firewall.chain} that packets to the ports pass; or chain INPUT for a host's program"
        reason = f"packets to these ports do not pass {policy.firewall.chain} on this host: it would stop nobody"
        return Refusal(what=what, reason=reason, lifted_by=lifted)
    return None


def _too_many_users(
    source: Source, chosen: Sequence[Source], traffic: Traffic, policy: InboundAbusePolicy
) -> str | None:
    """Why blocking one more would shut out too many; None: it would not."""
    together = (*chosen, source)
    if traffic.accounts:
        out = len(frozenset().union(*(one.accounts for one in together)))
        everybody, what = len(traffic.accounts), "accounts"
    else:
        out, everybody, what = len(together), len(traffic.sources), "addresses"
    if out <= policy.users_share * everybody:
        return None
    return f"{out:,} of {everybody:,} {what} would be shut out; {policy.users_share:.0%} is the most"


def _action(
    target: Target, diagnosis: AbuseDiagnosis, policy: InboundAbusePolicy, sources: Sequence[Source], asks: str = ""
) -> Action:
    networks = tuple(network_of(source.address) for source in sources)
    events = sum(source.events for source in sources)
    share = events / max(1, diagnosis.traffic.events)
    reason = f"they send {events:,} of {diagnosis.traffic.events:,} events ({share:.0%}) of the last "
    reason += format_duration(policy.window)
    accounts = len(frozenset().union(*(source.accounts for source in sources)))
    return _blocking(target, diagnosis, policy, networks, reason, accounts, asks)


def _blocking(
    target: Target,
    diagnosis: AbuseDiagnosis,
    policy: InboundAbusePolicy,
    networks: Sequence[Network],
    reason: str,
    accounts: int,
    asks: str,
) -> Action:
    firewall, host = policy.firewall, diagnosis.network
    assert firewall is not None and host is not None  # noqa: S101, PT018 - asked before
    arguments = BlockSources(
        host=firewall.host,
        chain=firewall.chain,
        ports=firewall.ports,
        sources=tuple(str(network) for network in networks[:_MOST_IN_ACTION]),
        seconds=policy.block_for,
        most=min(40, len(host.blocked) + 2 * _MOST_IN_ACTION) if asks else policy.most_blocks,
        never=tuple(str(network) for network in left_alone(policy).values()),
    )
    ports = listed([str(port) for port in firewall.ports], 8)
    names = listed([str(network).removesuffix("/32").removesuffix("/128") for network in networks], 20)
    return Action(
        kind=BlockSources.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=arguments.sources,
        title=f"Block {names} from port {ports} of {printable(firewall.host, 60)} for "
        f"{format_duration(policy.block_for)}",
        reason=reason,
        risk=Risk.HIGH if asks else Risk.MEDIUM,
        asks=asks,
        bound=Quantity(amount=len(arguments.sources), unit="addresses"),
        undo=f"they are let in again by hand, and by the kernel after {format_duration(policy.block_for)}",
        undo_when=UndoWhen.BY_HAND,
        impact=Impact(
            what="what they send to these ports is dropped",
            how_much=counted(len(arguments.sources), "address", "addresses"),
            users=f"{counted(accounts, 'account')} served from there in the window",
        ),
    )


def _networks(
    target: Target,
    diagnosis: AbuseDiagnosis,
    policy: InboundAbusePolicy,
    firewall: Firewall,
    host: HostNetwork,
    chosen: Sequence[Source],
) -> Iterator[Action]:
    """Neighbours that abuse together, as a network: by approval only."""
    neighbourhoods: dict[Network, list[Source]] = {}
    for source in chosen:
        neighbourhoods.setdefault(around(source.address), []).append(source)
    for network, sources in neighbourhoods.items():
        if len(sources) < policy.network_from or host.blocks_all(network, firewall.ports):
            continue
        inside = [one for one in diagnosis.traffic.sources if network_of(one.address).subnet_of(network)]  # type: ignore[arg-type]
        others = [one for one in inside if one.served and one not in sources]
        if others or why_never(network, left_alone(policy), host) is not None:
            continue
        reason = f"{counted(len(sources), 'address', 'addresses')} in it send too much, and nobody else in it is served"
        asks = "A whole network would be blocked, with everybody in it who did not send anything yet."
        accounts = len(frozenset().union(*(source.accounts for source in sources)))
        yield _blocking(target, diagnosis, policy, (network,), reason, accounts, asks)
