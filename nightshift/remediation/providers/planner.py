"""What may be done when calls to a provider fail: at most its fallback, for a time; the rest is for people. Pure.

Follows cryptofunk.CircuitBreakerOpen, test_watcher.DeepSeekAPIDown and test_watcher.APIHighErrorRate of the inventory.
A breaker is never forced closed: it tries again by itself. A key is never changed: who has an account there makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Action, Plan, Proposal, Refusal, Target
from nightshift.remediation.program_settings.planning import Change, clock, switched, way_back
from nightshift.remediation.providers.endpoints import Endpoint
from nightshift.remediation.providers.facts import Reached
from nightshift.remediation.providers.look import Cause, Measured, ProviderLook, cause_of, confirmed_outage
from nightshift.remediation.providers.policy import ProviderFailurePolicy, ProviderRule
from nightshift.remediation.text import printable

NOTHING_TO_DO = "Nothing to do: calls succeed"
_MOST_LINES = 3


def plan_provider(
    target: Target, look: ProviderLook, policy: ProviderFailurePolicy, begun: Action | None = None
) -> Plan:
    """The fallback where an outage is measured and confirmed; what people have to do about any other cause.

    Args:
        target: the provider.
        look: everything that was seen.
        policy: limits and permissions.
        begun: the change that an earlier attempt began without its end being known.
    """
    name, rule, cause = printable(look.provider, 60), policy.rule(look.provider), cause_of(look)
    if look.measured.healthy(policy) and begun is None:
        return Plan(goal=f"{NOTHING_TO_DO}: {in_words(look.measured)}", target=target)
    action = begun if begun is not None else _fallback(target, look, policy)
    return Plan(
        goal=f"Have the system do without {name} until it is back: {in_words(look.measured)}; {cause}",
        target=target,
        actions=(action,) if action is not None else (),
        refusals=tuple(_refusals(look, policy, planned=action is not None)),
        proposals=tuple(_PROPOSALS[cause](look, rule)),
        expected=f"Calls to {name} are not needed meanwhile; its breaker closes by itself when they succeed again."
        if action is not None
        else f"Nothing is changed; the breaker of {name} closes by itself when calls succeed again.",
    )


def in_words(measured: Measured) -> str:
    """Calls and breaker as a line for people."""
    if measured.unknown:
        return f"not measured: {printable(measured.unknown, 300)}"
    parts = []
    if measured.breaker is not None:
        counted = measured.breaker_failures
        failures = f" and counted {counted:.3g} failures a second" if counted else ""
        parts.append(f"its breaker is {'closed' if measured.breaker == 0 else 'not closed'}{failures}")
    if measured.failing_percent is not None:
        parts.append(f"{measured.failing_percent:.3g} % of {measured.per_second or 0:.3g} calls a second fail")
    elif measured.per_second is not None:
        parts.append("no calls are made")
    return ", ".join(parts)


@serves("test_watcher.DeepSeekAPIDown: r3.1")
def _fallback(target: Target, look: ProviderLook, policy: ProviderFailurePolicy) -> Action | None:
    """The flag of the fallback, when the outage is measured by us and confirmed by the provider."""
    flag, seen = policy.rule(look.provider).fallback, look.fallback
    if flag is None or seen is None or _why_no_fallback(look, policy):
        return None
    back_at = way_back(look.now, flag.back_after)
    said = look.status.description if look.status is not None and look.status.is_out else "it answers with 5xx"
    change = Change(
        value=flag.to,
        title=f"Switch the fallback for {printable(look.provider, 60)} on until {clock(back_at)}",
        reason=f"The provider does not work: {said}. {in_words(look.measured).capitalize()}",
        back_at=back_at,
    )
    return switched(target, flag, seen, change)


def _why_no_fallback(look: ProviderLook, policy: ProviderFailurePolicy) -> str:
    """Why the fallback is not switched on; empty: it is."""
    flag, seen = policy.rule(look.provider).fallback, look.fallback
    if flag is None or seen is None:
        return "none is declared"
    if cause_of(look) is not Cause.OUTAGE or not confirmed_outage(look):
        return "the provider neither reports an outage nor answers that it does not work"
    if not look.measured.trouble(policy):
        return f"that calls fail was not measured: {in_words(look.measured)}"
    if seen.complaint:
        return f"its flag cannot be read: {seen.complaint}"
    if seen.value == flag.to:
        return "it is switched on already"
    if seen.value not in (None, flag.usually):
        return f"its flag is {printable(seen.value or '', 64)}, which is neither {flag.to} nor {flag.usually}"
    return ""


def _refusals(look: ProviderLook, policy: ProviderFailurePolicy, *, planned: bool) -> Iterator[Refusal]:
    why = _why_no_fallback(look, policy)
    if policy.rule(look.provider).fallback is not None and why and not planned:
        yield Refusal(what="The fallback", reason=why)
    if look.measured.breaker:
        yield Refusal(what="Forcing the breaker closed", reason="calls would go on failing; it tries again by itself")


def _outage(look: ProviderLook, rule: ProviderRule) -> Iterator[Proposal]:
    said = f"its status page says: {look.status.description}" if look.status and look.status.is_out else ""
    yield Proposal(
        title="Open a case with the provider's support, and consider another provider",
        detail="; ".join(part for part in (printable(rule.support), said, tried(look.reached)) if part),
        reason="it is theirs to repair",
    )


def _credentials(look: ProviderLook, rule: ProviderRule) -> Iterator[Proposal]:
    works = look.credential is not None and look.credential.failure is None
    if works:
        yield Proposal(
            title="See which key the program really uses",
            detail=_place_of_key(rule.endpoint),
            reason="our test call was taken with the key that is kept, while calls of the program are refused",
        )
        return
    yield Proposal(
        title="Look at the account, and put a new key in place",
        detail=f"{_place_of_key(rule.endpoint)} {look.no_credential or tried(look.credential)}".strip(),
        reason="a key is made, and the old one revoked, by who has an account there; Nightshift changes none",
    )


def _quota(look: ProviderLook, _rule: ProviderRule) -> Iterator[Proposal]:
    after = look.credential.retry_after if look.credential is not None else None
    yield Proposal(
        title="Call less often: lower the client's rate, or wait for the quota to be reset",
        detail=f"it asks to wait for {after:g} s" if after is not None else "",
        reason="the provider answers 429; where it fires, the runbook for the rate limit does this within its bounds",
    )


@proposes("test_watcher.APIHighErrorRate: r1.1")
def _request(look: ProviderLook, _rule: ProviderRule) -> Iterator[Proposal]:
    yield Proposal(
        title="Open a ticket: the provider does not take what the program sends",
        detail=" · ".join(look.log[-_MOST_LINES:]),
        reason="the answers are 4xx, so that sending the same again cannot help; the format may have changed",
    )


def _network(look: ProviderLook, rule: ProviderRule) -> Iterator[Proposal]:
    seen = next((one for one in (look.reached, look.credential) if one is not None and one.stage), None)
    yield Proposal(
        title="See to the network between us and the provider",
        detail=tried(seen) or (printable(rule.endpoint.address) if rule.endpoint else ""),
        reason="calls end before an answer, and the provider reports no outage",
    )


def _database(look: ProviderLook, rule: ProviderRule) -> Iterator[Proposal]:
    seen, own = look.database, rule.own_database
    assert seen is not None and own is not None  # noqa: PT018, S101 - what makes it this cause
    parts = [f"it {seen.answering}" + (f": {seen.says}" if seen.says else "")]
    if seen.used is not None and seen.room:
        parts.append(f"{seen.used} of {seen.room} connections in use")
    if seen.volume_percent is not None:
        parts.append(f"its volume is {seen.volume_percent:.3g} % full")
    where = f"the runbooks {', '.join(own.runbooks)}" if own.runbooks else "the runbooks of the database"
    yield Proposal(
        title=f"See to the database with {printable(where, 200)}",
        detail="; ".join(parts),
        reason="its breaker only shows that it failed, and closes by itself when it answers",
    )


def _passing(look: ProviderLook, _rule: ProviderRule) -> Iterator[Proposal]:
    if look.measured.unknown:
        yield Proposal(
            title="See why calls are not measured",
            detail=printable(look.measured.unknown, 300),
            reason="what cannot be measured is neither healthy nor in trouble",
        )


def tried(reached: Reached | None) -> str:
    """How far one got on the way to a provider, for people."""
    if reached is None:
        return ""
    if reached.stage:
        words = {"dns": "its name", "tcp": "the connection", "tls": "TLS", "http": "its answer"}
        return f"from {printable(reached.place, 60)} the way ends at {words[reached.stage]}: {reached.why}"
    if reached.status is None:
        return f"from {printable(reached.place, 60)} it takes connections"
    return f"from {printable(reached.place, 60)} it answers with status {reached.status}"


def _place_of_key(endpoint: Endpoint | None) -> str:
    credential = endpoint.credential if endpoint is not None else None
    if credential is None:
        return ""
    if credential.on_host is not None:
        return f"The key is {credential.on_host.key} in {printable(credential.on_host.file)}."
    return f"The key is kept in {credential.secret}."


_PROPOSALS: Mapping[Cause, Callable[[ProviderLook, ProviderRule], Iterator[Proposal]]] = {
    Cause.OUTAGE: _outage,
    Cause.CREDENTIALS: _credentials,
    Cause.QUOTA: _quota,
    Cause.REQUEST: _request,
    Cause.NETWORK: _network,
    Cause.DATABASE: _database,
    Cause.PASSING: _passing,
}
