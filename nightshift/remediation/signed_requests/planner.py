"""Why signed requests are refused, and who has to do what about it; the rules of the family, in order.

Pure functions of what was seen. They follow trading_signals.PaymentWebhookFailures.r1.1-r3.1 and
EAPollErrors.r1.1-r4.1 without their hazards: keys are sampled and not listed, a secret is compared by its fingerprint,
and a new one needs a new container. Nothing is rotated by itself; whoever replays is blocked by the rules of the flow
inbound-abuse-mitigation.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inbound_abuse.planner import Pattern, pattern_of, plan_abuse
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Plan, Proposal, Refusal, Target
from nightshift.remediation.signed_requests.facts import SignedDiagnosis, SignedTraffic
from nightshift.remediation.signed_requests.policy import SignedRequestPolicy
from nightshift.remediation.signed_requests.verification import is_over
from nightshift.remediation.text import counted, listed, printable, shell_word

_FRESH_SHARE = 0.5
"""Among many keys the longest-lived has nearly all of its time left; less than this share of it is too little."""
_MANY = 20
_DEVICES = 5


def plan_signed(target: Target, diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> Plan:
    """What is done about signed requests that are refused."""
    expected = policy.symptom(target).solved
    if is_over(diagnosis, policy):
        return Plan(goal="nothing to do", target=target, expected="Every number is within its limit already.")
    goal = f"Have signed requests accepted again at {printable(target.part('service'), 80)}"
    if diagnosis.silence:
        refusal = Refusal(what="Anything about signatures", reason=f"Redis does not answer: {diagnosis.silence}")
        return Plan(goal=goal, target=target, refusals=(refusal,), proposals=(_redis_first(target, policy),))
    proposals = tuple(_proposals(diagnosis, policy))
    replays = _against_replays(target, diagnosis, policy)
    nothing = not (proposals or replays.actions or replays.refusals or replays.proposals)
    return Plan(
        goal=goal,
        target=target,
        actions=replays.actions,
        refusals=replays.refusals,
        proposals=(*proposals, *replays.proposals, *((_unexplained(diagnosis),) if nothing else ())),
        expected=f"{expected}.",
    )


def _redis_first(target: Target, policy: SignedRequestPolicy) -> Proposal:
    """Without Redis every request is a replay, or none is: the flow for Redis comes first."""
    redis = f"{target.system}/compose/{target.part('compose')}/service/{policy.remembered.service}"
    return Proposal(
        title="Bring Redis back first (flow redis-unavailable)",
        detail=f"nightshift run redis-unavailable --system {target.system} --target {shell_word(redis)}",
        reason="What was seen before is remembered there; nothing about signatures can be told without it.",
    )


def _proposals(diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> Iterator[Proposal]:
    if (wrong := keys_trouble(diagnosis, policy)) is not None:
        yield _wrong_keys(wrong, policy)
    if (skewed := _skew(diagnosis.traffic, policy)) is not None:
        yield skewed
    if policy.secret is not None and all_invalid(diagnosis.traffic, policy):
        yield _about_secret(diagnosis, policy)
    elif policy.kind == "devices" and diagnosis.traffic.failing:
        yield _about_devices(diagnosis, policy)
    if diagnosis.deliveries is not None and diagnosis.deliveries.undelivered:
        yield _about_deliveries(diagnosis)
    if _turned_away(diagnosis, policy):
        yield _about_limit(diagnosis)


@serves("trading_signals.PaymentWebhookFailures: r1.2", "trading_signals.EAPollErrors: d6 r3.2")
def keys_trouble(diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> str | None:
    """What is wrong with how long keys stay; None: nothing that a sample shows."""
    keys, lives = diagnosis.keys, policy.remembered.lives
    if keys is None:
        return None
    if not keys.keys:
        many = diagnosis.traffic.requests >= policy.least
        return "there is none although requests come in: nothing remembers what was seen" if many else None
    if keys.endless:
        return f"{keys.endless:,} of {keys.sampled:,} sampled never expire: they fill Redis until nothing fits"
    if keys.longest > lives * 1.01:
        return f"they stay for up to {format_duration(keys.longest)}, longer than {format_duration(lives)}"
    if keys.sampled >= _MANY and keys.longest < lives * _FRESH_SHARE:
        left = format_duration(keys.longest)
        return f"none of {keys.sampled:,} sampled has more than {left} left: they seem to live too short"
    return None


def _wrong_keys(wrong: str, policy: SignedRequestPolicy) -> Proposal:
    return Proposal(
        title=f"Have {policy.remembered.prefix}* stay for {format_duration(policy.remembered.lives)}",
        detail="the program sets it when it writes the key: SET key value NX EX seconds",
        reason=f"Of the keys {policy.remembered.prefix}*: {wrong}.",
    )


def all_invalid(traffic: SignedTraffic, policy: SignedRequestPolicy) -> bool:
    """Whether (nearly) every signature is invalid, of enough requests."""
    return traffic.requests >= policy.least and traffic.invalid >= policy.all_share * traffic.requests


@serves("trading_signals.PaymentWebhookFailures: r2.2")
def secret_differs(diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> bool | None:
    """Whether the service has another secret than the other side; None: that cannot be told."""
    if policy.secret is None or policy.secret.fingerprint is None:
        return None
    return diagnosis.fingerprint != policy.secret.fingerprint


@proposes("trading_signals.PaymentWebhookFailures: r2.3 r2.4")
def _about_secret(diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> Proposal:
    """A new secret is put in place by a person, and takes a new container: a restart keeps the old environment."""
    secret, differs = policy.secret, secret_differs(diagnosis, policy)
    assert secret is not None  # noqa: S101 - asked before
    traffic = diagnosis.traffic
    seen = f"{traffic.invalid:,} of {counted(traffic.requests, 'request')} have an invalid signature"
    shown = diagnosis.fingerprint or "no secret of any length"
    if differs is False:
        return Proposal(
            title="Look for what changes requests on their way, or for a second endpoint with a secret of its own",
            detail="a proxy that rewrites the body, a framework that parses it before it is verified",
            reason=f"{seen}, and the secret in use ({shown}) is the expected one.",
        )
    other = "the expected fingerprint is not in the policy" if differs is None else f"expected {secret.fingerprint}"
    return Proposal(
        title=f"Put the right {secret.setting} into {secret.file}, and have the container made anew",
        detail=f"copy it from the other side's console into {secret.file} by hand, then docker compose up -d --no-deps "
        "of the service: a restart does not read the file. Compare fingerprints only, never the secret.",
        reason=f"{seen}; the secret in use has the fingerprint {shown}, {other}.",
    )


@proposes("trading_signals.EAPollErrors: r1.1")
def _about_devices(diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> Proposal:
    """What to tell the users of devices whose secret does not fit any more."""
    failing, known = diagnosis.traffic.failing, diagnosis.registered
    everybody = max(len(diagnosis.traffic.devices), (known.active or 0) if known is not None else 0)
    share = len(failing) / max(1, everybody)
    unregistered = _unregistered(diagnosis)
    names = listed([printable(device.name, 40) for device in failing], _DEVICES)
    reason = (
        f"{len(failing):,} of {counted(everybody, 'device')} ({share:.0%}) send signatures that do not fit: {names}"
    )
    if unregistered:
        reason += f"; {unregistered:,} of them are not registered any more"
    if share > policy.few_share:
        who = "all devices" if share >= policy.all_share else f"more than {policy.few_share:.0%} of the devices"
        return Proposal(
            title=f"Look at the last release first: {who} fail, which no user can mend",
            detail="how the service computes signatures, and its own clock; call who the escalation rules name for it",
            reason=f"{reason}.",
        )
    return Proposal(
        title=f"Ask the users of {counted(len(failing), 'device')} to register again",
        detail='"Your terminal is refused. Open the Mini App, go to Devices, revoke this one and register it again, '
        'then enter the new key in the terminal."',
        reason=f"{reason}.",
    )


def _unregistered(diagnosis: SignedDiagnosis) -> int:
    known = diagnosis.registered
    if known is None or known.complaint:
        return 0
    return sum(1 for device in diagnosis.traffic.failing if device.name not in known.created)


def _skew(traffic: SignedTraffic, policy: SignedRequestPolicy) -> Proposal | None:
    """Clocks that are apart: the server's when all clients agree, else those of the clients."""
    if len(traffic.skews) < policy.least:
        return None
    off, limit = median(traffic.skews), policy.most_skew
    if abs(off) > limit:
        ahead = "ahead of" if off > 0 else "behind"
        return Proposal(
            title="Correct the server's clock",
            detail="timedatectl on the host; chronyc tracking or systemd-timesyncd",
            reason=f"It is {format_duration(abs(off))} {ahead} the clocks of most clients; {format_duration(limit)} "
            "is the most.",
        )
    apart = [one for one in traffic.devices if one.skew is not None and abs(one.skew) > limit]
    if not apart:
        return None
    named = [f"{printable(one.name, 40)} ({one.skew:+.0f} s)" for one in apart]
    return Proposal(
        title=f"Tell the users of {counted(len(apart), 'device')} to correct their clock",
        detail=listed(named, _DEVICES),
        reason=f"Their clocks and the server's are more than {format_duration(limit)} apart; those of others are not.",
    )


def _about_deliveries(diagnosis: SignedDiagnosis) -> Proposal:
    found = diagnosis.deliveries
    assert found is not None  # noqa: S101 - asked before
    types = listed([f"{printable(name, 60)} ({number:,})" for name, number in found.types.items()], _DEVICES)
    off = [endpoint.host for endpoint in found.endpoints if not endpoint.enabled]
    title = "Have Stripe send again what it could not deliver, once signatures are accepted"
    if off:
        title = f"Switch the webhook endpoint at Stripe on again: {listed(off, _DEVICES)}"
    return Proposal(
        title=title,
        detail=f"Stripe: Developers, Webhooks, Resend; undelivered: {types}",
        reason=f"{found.undelivered:,}{'+' * found.more} events were not delivered in the window"
        + (f"; our endpoint answers us {diagnosis.answered}." if diagnosis.answered else "."),
    )


@serves("trading_signals.EAPollErrors: r4.1")
def _turned_away(diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> bool:
    """Whether the service's own limit turns requests away, so that clients see time-outs."""
    rule, value = policy.rejections, diagnosis.rejected
    return rule is not None and value is not None and value > rule.at_most


def _about_limit(diagnosis: SignedDiagnosis) -> Proposal:
    return Proposal(
        title="Review the limit on the route that devices poll",
        detail="devices that poll too often, or a limit that is too low for their number; see the alert about "
        "rejections by limits",
        reason=f"The limit turns {diagnosis.rejected or 0:.1f} requests a second away; "
        f"{counted(diagnosis.traffic.timeouts, 'time-out')} in the log.",
    )


def _against_replays(target: Target, diagnosis: SignedDiagnosis, policy: SignedRequestPolicy) -> Plan:
    """Who replays on purpose: few addresses, while replay protection itself is in order."""
    empty = Plan(goal="", target=target)
    if policy.replays is None or diagnosis.abuse is None or not diagnosis.traffic.replays:
        return empty
    if diagnosis.traffic.replays < policy.replays.least:
        return empty
    if (wrong := keys_trouble(diagnosis, policy)) is not None:
        reason = f"replays may come of the keys themselves: {wrong}"
        return empty.model_copy(update={"refusals": (Refusal(what="Blocking who replays", reason=reason),)})
    plan = plan_abuse(target, diagnosis.abuse, policy.replays)
    if pattern_of(diagnosis.abuse.traffic, policy.replays) is not Pattern.FEW:
        return plan
    security = Proposal(
        title="Tell the security team: requests are replayed on purpose",
        detail=f"{counted(diagnosis.traffic.replays, 'replay')} in the window; addresses in the evidence",
        reason="A few addresses send most of them, and replay protection is in order.",
    )
    return plan.model_copy(update={"proposals": (*plan.proposals, security)})


def _unexplained(diagnosis: SignedDiagnosis) -> Proposal:
    return Proposal(
        title="Look at the log of the service with somebody who knows it",
        detail=f"{counted(diagnosis.traffic.requests, 'line')} about signed requests in the window",
        reason="Redis answers, keys stay as long as they should, and no signature, replay or clock explains it.",
    )
