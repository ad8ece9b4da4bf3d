"""What rejected signals mean, and who needs to know: a report and proposals, never a change. Pure.

Follows trading_signals.HighApprovalRejectionRate of the inventory: few instruments or one source dominate, a volatile
market is noted and watched, a share that stays severe is for the product and trading team, poor quality that is no
accident for the engineering manager, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nightshift.remediation.inventory import proposes
from nightshift.remediation.models import Plan, Proposal, Target
from nightshift.remediation.signals.facts import SignalDiagnosis, Tally
from nightshift.remediation.signals.policy import SignalQualityPolicy
from nightshift.remediation.text import counted, printable

_MOST = 5


def in_words(diagnosis: SignalDiagnosis) -> str:
    """The last hour as a line for people."""
    hour = diagnosis.last_hour
    said = f"of {counted(hour.decided, 'decided signal')} in the last hour {hour.rejected_percent:.0f} % rejected"
    return f"{said}, {hour.undecided:,} undecided"


def is_high(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> bool | None:
    """Whether too many are rejected, by the signals or by the application's own counter; None: it cannot be told."""
    shares = [diagnosis.counted_percent] if diagnosis.counted_percent is not None else []
    if diagnosis.last_hour.decided >= policy.least:
        shares.append(diagnosis.last_hour.rejected_percent)
    return max(shares) > policy.rejected_percent if shares else None


def is_severe(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> bool:
    """Whether it was above the severe limit in the last hour and in the one before: for more than one hour."""
    last = diagnosis.hours[:2]
    return len(last) == 2 and all(_is_bad(hour, policy.severe_percent, policy) for hour in last)


def is_systematic(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> bool:
    """Whether so many hours of the day were bad that it is no accident."""
    return len(bad_hours(diagnosis, policy)) >= policy.systematic_hours


def bad_hours(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> list[Tally]:
    """Hours of the last day in which too many were rejected."""
    return [hour for hour in diagnosis.hours if _is_bad(hour, policy.rejected_percent, policy)]


def dominant(tallies: Sequence[Tally] | None, policy: SignalQualityPolicy) -> Tally | None:
    """The one that has most of all rejections; None: there is none, or only one to begin with."""
    rejected = sum(one.rejected for one in tallies or ())
    worst = max(tallies or (), key=lambda one: one.rejected, default=None)
    if worst is None or len(tallies or ()) < 2 or worst.rejected < policy.least / 2:
        return None
    return worst if 100 * worst.rejected >= policy.dominant_percent * rejected else None


def is_volatile(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> bool:
    """Whether the market is volatile, as far as that is known."""
    seen = diagnosis.market.volatility if diagnosis.market is not None else None
    return policy.market is not None and seen is not None and seen >= policy.market.volatility.above


def may_be_the_market(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> bool:
    """Whether a volatile market explains it well enough to keep watching before anybody is called."""
    spread = dominant(diagnosis.instruments, policy) is None and dominant(diagnosis.sources, policy) is None
    lasting = is_severe(diagnosis, policy) or is_systematic(diagnosis, policy)
    return bool(is_high(diagnosis, policy)) and is_volatile(diagnosis, policy) and spread and not lasting


def plan_review(target: Target, diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> Plan:
    """Who has to know what; nothing is changed."""
    high = is_high(diagnosis, policy)
    if high is None:
        goal = f"Too few decided signals to tell: {in_words(diagnosis)}; the counter: {diagnosis.counter_complaint}"
        reason = "what cannot be measured does not count as solved"
        looking = Proposal(title="Look at the rejected signals by hand", detail=goal, reason=reason)
        return Plan(goal=goal, target=target, proposals=(looking,))
    if not high:
        return Plan(goal=f"Nothing to do: {in_words(diagnosis)}.", target=target)
    return Plan(
        goal=f"Report to {_whom(diagnosis, policy)}: {_why(diagnosis, policy)}",
        target=target,
        proposals=tuple(_proposals(diagnosis, policy)),
        expected=f"At most {policy.rejected_percent:g} % of the decided signals of the next hour are rejected.",
    )


def _whom(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> str:
    team = "the product and trading team"
    return f"{team}, and the engineering manager" if is_systematic(diagnosis, policy) else team


def _why(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> str:
    words = [in_words(diagnosis)]
    if is_severe(diagnosis, policy):
        words.append(f"above {policy.severe_percent:g} % for more than one hour")
    if is_systematic(diagnosis, policy):
        words.append(f"{len(bad_hours(diagnosis, policy))} of the last {len(diagnosis.hours)} hours were bad")
    if is_volatile(diagnosis, policy):
        words.append("the market is volatile")
    return "; ".join(words)


@proposes("trading_signals.HighApprovalRejectionRate: r1.3 r2.2")
def _proposals(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> Iterator[Proposal]:
    yield Proposal(
        title=f"Have {_whom(diagnosis, policy)} look at the rejected signals",
        detail=_why(diagnosis, policy),
        reason="users say that the signals are poor, or do not understand them",
    )
    yield from _criteria(diagnosis, policy)
    yield from _regime(diagnosis, policy)
    results = diagnosis.results
    if results is not None and results.closed >= policy.least:
        won = 100 * results.won / results.closed
        detail = f"{won:.0f} % of {counted(results.closed, 'approved and closed signal')} of the last day won"
        reason = "users who see how signals end decide by that; what they are told is for people to decide"
        yield Proposal(title="Show users how approved signals ended", detail=detail, reason=reason)


@proposes("trading_signals.HighApprovalRejectionRate: r1.1 r1.2")
def _criteria(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> Iterator[Proposal]:
    for sort, tallies in (("the source", diagnosis.sources), ("", diagnosis.instruments)):
        worst = dominant(tallies, policy)
        if worst is not None:
            name = f"{sort} {printable(worst.name, 80)}".strip()
            yield Proposal(
                title=f"Review the entry criteria of {name}, or hold its signals back before users see them",
                detail=tally_in_words(worst),
                reason=f"most rejections are about {name}; rules of signals are changed by who owns the strategy",
            )


@proposes("trading_signals.HighApprovalRejectionRate: r3.2")
def _regime(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> Iterator[Proposal]:
    if is_volatile(diagnosis, policy):
        yield Proposal(
            title="Decide whether the signals fit this market",
            detail=market_in_words(diagnosis, policy),
            reason="in a volatile market users wait, and rules made for a calm one fail",
        )


def tally_in_words(one: Tally) -> str:
    """Numbers of one sort of signals."""
    divided = f", {one.divided:,} divided" if one.divided else ""
    return (
        f"{one.rejected:,} rejected, {one.approved:,} approved{divided}, {one.undecided:,} undecided "
        f"of {counted(one.signals, 'signal')}"
    )


def market_in_words(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> str:
    """What is known about the market."""
    market, rule = diagnosis.market, policy.market
    if market is None or rule is None:
        return "nothing is declared that tells about the market"
    if market.volatility is None:
        return f"not known: {printable(market.complaint)}"
    state = "volatile" if is_volatile(diagnosis, policy) else "calm"
    words = f"{state}: volatility {market.volatility:.4g}, volatile from {rule.volatility.above:g}"
    if market.trend is None or rule.trend is None:
        return words
    direction = "a trend" if market.trend >= rule.trend.above else "ranging"
    return f"{words}; {direction}: strength {market.trend:.4g}, a trend from {rule.trend.above:g}"


def _is_bad(hour: Tally, limit: float, policy: SignalQualityPolicy) -> bool:
    return hour.decided >= policy.least and hour.rejected_percent > limit
