"""A provider that refuses calls for their number: call less, within bounds and for a time. Pure.

Follows test_watcher.APIRateLimitExceeded of the inventory. Its document offers changes of the program, which are
proposed; what can be done now is to lower the client's rate. Another open incident may ask for the opposite, as a queue
that grows asks for more work at a time: then both stand in the plan, and a person decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Action, Finding, Plan, Proposal, Refusal, Target
from nightshift.remediation.open_beside import OpenBeside
from nightshift.remediation.program_settings.planning import (
    Change,
    SettingSeen,
    adjusted,
    clock,
    new_number,
    switched,
    way_back,
)
from nightshift.remediation.providers.quota_policy import QuotaPolicy, QuotaRule
from nightshift.remediation.text import listed, printable

NOTHING_TO_DO = "Nothing to do: the rate limit refuses few calls, or none"


@dataclass(frozen=True, kw_only=True)
class QuotaLook:
    """One look at how often a provider is called."""

    provider: str
    now: float
    """Unix time, by the worker's clock."""
    refused: float | None = None
    """Calls refused in a second; None: it cannot be told."""
    unknown: str = ""
    """Why it cannot."""
    calls: float | None = None
    """In a second."""
    used_percent: float | None = None
    rates: tuple[SettingSeen, ...] = ()
    """As in the policy, in its order."""
    pause: SettingSeen | None = None


def is_over(look: QuotaLook, policy: QuotaPolicy) -> bool:
    """Whether it is measured that few calls are refused."""
    return look.refused is not None and look.refused <= policy.refused_per_second


def in_words(look: QuotaLook) -> str:
    """One look as a line for people."""
    if look.refused is None:
        return f"not measured: {printable(look.unknown, 300)}"
    parts = [f"{look.refused:.3g} calls a second refused"]
    if look.calls is not None:
        parts.append(f"of {look.calls:.3g} made")
    used = f", {look.used_percent:.3g} % of the quota used" if look.used_percent is not None else ""
    return " ".join(parts) + used


def findings_of(look: QuotaLook, policy: QuotaPolicy, beside: Sequence[OpenBeside]) -> tuple[Finding, ...]:
    """What was seen, for people. Most telling first."""
    rule = policy.rule(look.provider)
    found = [Finding(title=in_words(look)[:1].upper() + in_words(look)[1:], troubling=not is_over(look, policy))]
    found += [Finding(title=f"{one} asks for the opposite", troubling=True) for one in beside]
    if look.used_percent is not None and look.used_percent > policy.plan_above_percent:
        found.append(Finding(title=f"More than {policy.plan_above_percent:g} % of the quota is used", troubling=True))
    seen = [*zip([rate.setting for rate in rule.rates], look.rates, strict=True)]
    if rule.pause is not None and look.pause is not None:
        seen.append((rule.pause.setting, look.pause))
    for place, setting in seen:
        value = setting.complaint or (printable(setting.value, 64) if setting.value is not None else "not set")
        found.append(Finding(title=f"{printable(place.name)}: {value}"))
    return tuple(found)


def plan_quota(
    target: Target,
    look: QuotaLook,
    policy: QuotaPolicy,
    beside: Sequence[OpenBeside] = (),
    begun: Action | None = None,
) -> Plan:
    """Lower the rate, and pause what can wait while the quota is used up; the program itself is for people.

    Args:
        target: the provider.
        look: how often it is called, and the settings as they are.
        policy: limits and permissions.
        beside: other open incidents that ask for the opposite.
        begun: the change that an earlier attempt began without its end being known.
    """
    if is_over(look, policy) and begun is None:
        return Plan(goal=f"{NOTHING_TO_DO}: {in_words(look)}", target=target)
    fresh = (
        []
        if look.refused is None
        else [*_lowered(target, look, policy, beside), *_paused(target, look, policy, beside)]
    )
    actions = [begun] if begun is not None else []
    actions += [action for action in fresh if begun is None or action.items != begun.items]
    return Plan(
        goal=f"Call {printable(look.provider, 60)} less often: {in_words(look)}",
        target=target,
        actions=tuple(actions),
        refusals=tuple(_refusals(look, policy)),
        proposals=tuple(_proposals(look, policy, beside)),
        expected=f"At most {policy.refused_per_second:g} calls a second are refused; work takes longer meanwhile.",
    )


@serves("test_watcher.APIRateLimitExceeded: r1.2")
def _lowered(target: Target, look: QuotaLook, policy: QuotaPolicy, beside: Sequence[OpenBeside]) -> Iterator[Action]:
    for rate, seen in zip(policy.rule(look.provider).rates, look.rates, strict=True):
        value = None if seen.complaint else new_number(rate, seen)
        if value is None:
            continue
        back_at = way_back(look.now, rate.back_after)
        change = Change(
            value=value,
            title=f"Lower {printable(rate.setting.key)} from {printable(seen.value or '', 64)} to {value}, "
            f"until {clock(back_at)}",
            reason=in_words(look),
            back_at=back_at,
            asks=_asks(beside),
        )
        yield adjusted(target, rate, seen, change)


def _paused(target: Target, look: QuotaLook, policy: QuotaPolicy, beside: Sequence[OpenBeside]) -> Iterator[Action]:
    """Jobs that can wait, until the quota is reset; only when nothing is left of it."""
    rule, seen = policy.rule(look.provider), look.pause
    if rule.pause is None or seen is None or not _used_up(look, policy) or seen.complaint:
        return
    if seen.value not in (None, rule.pause.usually):
        return
    back_at = _reset(rule, look.now) or way_back(look.now, rule.pause.back_after)
    change = Change(
        value=rule.pause.to,
        title=f"Pause jobs that can wait ({printable(rule.pause.setting.key)}) until {clock(back_at)}",
        reason=f"the quota is used up; {in_words(look)}",
        back_at=back_at,
        asks=_asks(beside),
    )
    yield switched(target, rule.pause, seen, change)


def _asks(beside: Sequence[OpenBeside]) -> str:
    if not beside:
        return ""
    names = listed([str(one) for one in beside])
    return f"Opposite to {names}, which asks for more calls or more work at a time: a person decides which counts."


def _used_up(look: QuotaLook, policy: QuotaPolicy) -> bool:
    return look.used_percent is not None and look.used_percent >= policy.used_up_percent


def _reset(rule: QuotaRule, now: float) -> float | None:
    """The next moment at which the quota is full again."""
    every = rule.resets_every
    return None if every is None else (math.floor(now / every) + 1) * every


def _refusals(look: QuotaLook, policy: QuotaPolicy) -> Iterator[Refusal]:
    rule = policy.rule(look.provider)
    if look.refused is None:
        yield Refusal(what="Lowering the rate", reason=f"how many calls are refused is {in_words(look)}")
        return
    if not rule.rates:
        yield Refusal(what="Lowering the rate", reason="no setting for it is declared", lifted_by="rates in the policy")
    for rate, seen in zip(rule.rates, look.rates, strict=True):
        if seen.complaint or new_number(rate, seen) is None:
            between = f"no number above {rate.floor:g} and up to {rate.ceiling:g} that could be lowered"
            reason = seen.complaint or f"it is {printable(seen.value or 'not set', 64)}, {between}"
            yield Refusal(what=f"Lowering {printable(rate.setting.key)}", reason=reason)
    if rule.pause is None or look.pause is None or not _used_up(look, policy):
        return
    if look.pause.complaint or look.pause.value not in (None, rule.pause.usually):
        reason = look.pause.complaint or f"it is {printable(look.pause.value or '', 64)} already"
        yield Refusal(what=f"Pausing jobs by {printable(rule.pause.setting.key)}", reason=reason)


@proposes("test_watcher.APIRateLimitExceeded: r1.1 r1.3 r1.4")
def _proposals(look: QuotaLook, policy: QuotaPolicy, beside: Sequence[OpenBeside]) -> Iterator[Proposal]:
    rule, name = policy.rule(look.provider), printable(look.provider, 60)
    if beside:
        yield Proposal(
            title=f"Decide which counts more: fewer calls to {name}, or {listed([str(one) for one in beside])}",
            detail="fewer calls at a time make a queue longer and answers slower",
            reason="two alerts ask for opposite changes, and each repair would undo the other",
        )
    if look.used_percent is not None and look.used_percent > policy.plan_above_percent:
        yield Proposal(
            title=f"Ask for a larger plan with {name}",
            detail=f"{look.used_percent:.3g} % of the quota is used {printable(rule.support)}".strip(),
            reason="it is a contract and costs money; a lower rate only spreads the same calls",
        )
    yield Proposal(
        title="Open a ticket: wait longer after each refused call, and keep answers that are asked for again",
        detail=f"calls to {name}: exponential waits with a limit, honouring Retry-After; a cache of answers",
        reason="how the program calls the provider is part of the program",
    )
