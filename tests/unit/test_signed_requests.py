"""Why signed requests are refused, and who has to do what about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.inbound_abuse.objects import AbuseDiagnosis, HostNetwork
from nightshift.remediation.inbound_abuse.request_log import traffic_in
from nightshift.remediation.models import Plan, Target, Verdict
from nightshift.remediation.signed_requests.facts import (
    Deliveries,
    KeyTimes,
    Registered,
    SignedDiagnosis,
    StripeEndpoint,
)
from nightshift.remediation.signed_requests.findings import findings_of
from nightshift.remediation.signed_requests.planner import plan_signed
from nightshift.remediation.signed_requests.policy import SignedRequestPolicy
from nightshift.remediation.signed_requests.signed_log import signed_traffic
from nightshift.remediation.signed_requests.verification import judge_signed

TARGET = Target(system="shop", path=("compose", "main", "service", "backend"))
MEASURE = {"prometheus": "prometheus", "expression": "x", "at_most": 0.1, "unit": "/s"}
AT = datetime(2026, 11, 22, 3, 0, 0, tzinfo=UTC)
GOOD = KeyTimes(keys=500, complete=True, sampled=500, longest=299.0)
POLICY: dict[str, Any] = {
    "kind": "devices",
    "measures": {"errors": MEASURE},
    "log": {
        "request": "ea_poll",
        "invalid": "HMAC invalid",
        "replay": "nonce_replay",
        "timeout": "timeout",
        "device": "device=",
        "sent": "ts=",
    },
    "remembered": {"redis": "redis", "service": "redis", "prefix": "nonce:", "lives": "5m"},
    "secret": {"setting": "HMAC_SECRET", "file": "backend/.env", "fingerprint": "0123456789abcdef"},
    "replays": {
        "kind": "requests",
        "measure": MEASURE,
        "log": {"event": "nonce_replay", "address": "ip="},
        "firewall": {"host": "app1", "ports": [8000]},
    },
    "rejections": {**MEASURE, "at_most": 10},
}


def policy(**changes: Any) -> SignedRequestPolicy:
    return SignedRequestPolicy.model_validate(POLICY | changes)


def line(said: str, device: int, skew: float = 0.0, address: str = "151.101.0.1") -> str:
    sent = AT.timestamp() - skew
    return f"2026-11-22T03:00:00.000000000Z {said} device=d{device} ts={sent:.0f} ip={address}"


def made(lines: list[str], changes: dict[str, Any] | None = None, **seen: Any) -> Plan:
    limits = policy(**(changes or {}))
    facts = {"numbers": {"errors": 5.0}, "keys": GOOD, "fingerprint": "0123456789abcdef"} | seen
    if limits.replays is not None:
        host = HostNetwork(versions=frozenset({4}), ssh_clients=(ip_address("9.9.9.9"),))
        facts["abuse"] = AbuseDiagnosis(traffic=traffic_in(lines, limits.replays.log), rate=5.0, network=host)
    diagnosis = SignedDiagnosis(traffic=signed_traffic(lines, limits.log), **facts)
    assert findings_of(diagnosis, limits)
    return plan_signed(TARGET, diagnosis, limits)


def titles(plan: Plan) -> list[str]:
    return [proposal.title for proposal in plan.proposals]


OK = [line("ea_poll ok", number, address=f"151.101.0.{number}") for number in range(100)]


def test_without_redis_nothing_else_is_said() -> None:
    plan = made([line("HMAC invalid", 1)] * 50, silence="It does not answer.", keys=None)

    assert titles(plan) == ["Bring Redis back first (flow redis-unavailable)"]
    assert "--target shop/compose/main/service/redis" in plan.proposals[0].detail
    assert not plan.actions


@pytest.mark.hazard("trading_signals.PaymentWebhookFailures.r1.2")
@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (KeyTimes(keys=0, complete=True), "there is none although requests come in"),
        (replace(GOOD, endless=3), "3 of 500 sampled never expire"),
        (replace(GOOD, longest=3600.0), "longer than 5m"),
        (replace(GOOD, longest=30.0), "they seem to live too short"),
    ],
)
def test_keys_that_stay_too_long_or_too_short_are_told_and_then_nobody_is_blocked(keys: KeyTimes, why: str) -> None:
    plan = made([*OK, *[line("nonce_replay", 1, address="8.8.8.8")] * 200], keys=keys)

    assert titles(plan) == ["Have nonce:* stay for 5m"]
    assert why in plan.proposals[0].reason
    assert not plan.actions
    assert "may come of the keys themselves" in plan.refusals[0].reason


@pytest.mark.hazard("trading_signals.PaymentWebhookFailures.r2.1", "trading_signals.PaymentWebhookFailures.r2.4")
def test_invalid_signatures_for_all_with_another_secret_are_for_a_person_and_a_new_container() -> None:
    all_invalid = [line("HMAC invalid", number) for number in range(100)]

    (differs,) = made(all_invalid, fingerprint="f" * 16).proposals
    assert differs.title == "Put the right HMAC_SECRET into backend/.env, and have the container made anew"
    assert "a restart does not read the file" in differs.detail
    assert "fingerprint ffffffffffffffff, expected 0123456789abcdef" in differs.reason
    (same,) = made(all_invalid).proposals
    assert "changes requests on their way" in same.title
    unknown = {"secret": {"setting": "HMAC_SECRET", "file": "backend/.env"}}
    assert "not in the policy" in made(all_invalid, unknown).proposals[0].reason
    assert not made(all_invalid).actions


def test_users_of_a_few_devices_are_told_how_to_register_again() -> None:
    known = Registered(active=100, failing_active=1, created={"d1": 1.0})
    plan = made([*OK, line("HMAC invalid", 1), line("HMAC invalid", 2)], registered=known)

    (guide,) = plan.proposals
    assert guide.title == "Ask the users of 2 devices to register again"
    assert "Mini App" in guide.detail
    assert "2 of 100 devices (2%)" in guide.reason
    assert "1 of them are not registered any more" in guide.reason


def test_when_many_devices_fail_no_user_is_sent_anywhere() -> None:
    plan = made([*OK, *[line("HMAC invalid", number) for number in range(30)]])

    assert titles(plan) == ["Look at the last release first: more than 10% of the devices fail, which no user can mend"]


def test_who_replays_from_few_addresses_is_blocked_and_security_is_told() -> None:
    plan = made([*OK, *[line("nonce_replay", 1, address="8.8.8.8")] * 200])

    (action,) = plan.actions
    assert action.items == ("8.8.8.8/32",)
    assert "Tell the security team: requests are replayed on purpose" in titles(plan)
    few = made([*OK, *[line("nonce_replay", 1, address="8.8.8.8")] * 20])
    assert not few.actions
    ourselves = made([*OK, *[line("nonce_replay", 1, address="9.9.9.9")] * 200])
    assert not ourselves.actions
    assert "SSH" in ourselves.refusals[0].reason
    assert not made([*OK, *[line("nonce_replay", 1, address="8.8.8.8")] * 200], {"replays": None}).actions


def test_clocks_are_told_apart() -> None:
    behind = made([line("ea_poll ok", number, skew=-400) for number in range(50)])
    assert titles(behind) == ["Correct the server's clock"]
    assert "6m 40s behind" in behind.proposals[0].reason

    one = made([*OK, *[line("ea_poll ok", 7777, skew=400)] * 3])
    assert titles(one) == ["Tell the users of 1 device to correct their clock"]
    assert "d7777 (+400 s)" in one.proposals[0].detail


def test_time_outs_with_rejections_lead_to_the_limit_and_undelivered_events_to_stripe() -> None:
    slow = made([*OK, line("ea_poll timeout", 1)], rejected=40.0)
    assert titles(slow) == ["Review the limit on the route that devices poll"]

    off = (StripeEndpoint(host="old.example", enabled=False),)
    sent = Deliveries(undelivered=100, more=True, types={"invoice.paid": 100}, endpoints=off)
    plan = made(OK, deliveries=sent, answered="405: the route is there")
    assert titles(plan) == ["Switch the webhook endpoint at Stripe on again: old.example"]
    assert "100+ events" in plan.proposals[0].reason


def test_what_nothing_explains_is_said_and_what_is_over_is_left_alone() -> None:
    assert titles(made(OK)) == ["Look at the log of the service with somebody who knows it"]

    over = made([line("HMAC invalid", 1)] * 50, numbers={"errors": 0.1})
    assert over.goal == "nothing to do"
    assert not over.proposals
    assert made([line("HMAC invalid", 1)] * 50, numbers={"errors": None}).proposals


def test_it_is_over_only_when_every_number_is() -> None:
    good = Verdict(healthy=True, reason="0.0 /s, for 10m.")

    assert judge_signed(good, {"errors": 0.05}, policy()).healthy
    assert not judge_signed(good, {"errors": 3.0}, policy()).healthy
    assert judge_signed(good, {"errors": None}, policy()).inconclusive


@given(st.lists(st.text(max_size=60), max_size=5))
def test_any_log_can_be_read(lines: list[str]) -> None:
    log = policy().log
    traffic = signed_traffic([*lines, *(f"HMAC invalid device={one} ts={one}" for one in lines)], log)

    assert traffic.requests >= len(lines)
    assert made([*lines, *(f"HMAC invalid device={one} ts={one}" for one in lines)])


def test_times_are_read_in_seconds_and_milliseconds_and_nothing_else() -> None:
    log = policy().log
    stamp, sent = "2026-11-22T03:00:00.5Z", AT.timestamp()
    lines = [
        f"{stamp} ea_poll ts={sent:.0f}",
        f"{stamp} ea_poll ts={sent * 1000:.0f}",
        f"{stamp} ea_poll ts=-1",
        f"{stamp} ea_poll ts=1e999",
        f"{stamp} ea_poll ts={sent:.0f} ts=1",
        f"ea_poll ts={sent:.0f}",
    ]

    assert signed_traffic(lines, log).skews == pytest.approx((0.5, 0.5))
