"""Who sends too much, who is never blocked, and what is left to people."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.remediation.inbound_abuse.arguments import BlockSources
from nightshift.remediation.inbound_abuse.findings import findings_of
from nightshift.remediation.inbound_abuse.guards import network_of, why_never
from nightshift.remediation.inbound_abuse.objects import AbuseDiagnosis, Block, HostNetwork, Traffic
from nightshift.remediation.inbound_abuse.planner import Pattern, masked, pattern_of, plan_abuse
from nightshift.remediation.inbound_abuse.policy import InboundAbusePolicy
from nightshift.remediation.inbound_abuse.request_log import parse_address, traffic_in
from nightshift.remediation.inbound_abuse.verification import judge_abuse
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.remediation.models import Action, Plan, Risk, Target

TARGET = Target(system="shop", path=("compose", "main", "service", "backend"))
POLICY: dict[str, Any] = {
    "kind": "requests",
    "measure": {"prometheus": "prometheus", "expression": "x", "at_most": 10, "unit": "/s"},
    "log": {"event": "rate_limit", "address": "ip=", "forwarded": "xff=", "account": "user="},
    "firewall": {"host": "app1", "ports": [8000]},
    "limit": {"setting": "RATE_LIMIT_PER_MINUTE", "file": "backend/.env", "proposed": "120"},
    "proxies": ["10.0.0.0/8", "5.9.0.1/32"],
    "never": {"the uptime check": "8.8.4.0/24"},
}
LOGINS = {
    "kind": "logins",
    "log": {"event": "Failed login", "address": "from ", "account": "user ", "served": "Login of"},
    "limit": {"setting": "RATE_LIMIT_LOGIN", "file": "backend/.env", "proposed": "5 per minute"},
}
HOST = HostNetwork(
    networks=(ip_network("172.17.0.0/16"), ip_network("5.9.10.0/24")),
    gateways=(ip_address("5.9.10.1"), ip_address("4.4.4.4")),
    ssh_clients=(ip_address("9.9.9.9"),),
    versions=frozenset({4}),
)
USERS = [f"ip=151.101.{number // 250}.{number % 250} user=u{number} ok" for number in range(100)]


def policy(**changes: Any) -> InboundAbusePolicy:
    return InboundAbusePolicy.model_validate(POLICY | changes)


def flood(address: str, times: int = 500, more: str = "") -> list[str]:
    return [f"rate_limit ip={address}{more}"] * times


def plan(lines: list[str], host: HostNetwork | None = HOST, rate: float | None = 40.0, **changes: Any) -> Plan:
    limits = policy(**changes)
    traffic = traffic_in([*lines, *USERS], limits.log, limits.proxies)
    seen = AbuseDiagnosis(traffic=traffic, rate=rate, setting="60", network=host, unknown="away" * (rate is None))
    assert findings_of(seen, limits)
    return plan_abuse(TARGET, seen, limits)


def sources(action: Action) -> tuple[str, ...]:
    return BlockSources.from_json(action.arguments).sources


def test_the_few_who_send_most_are_blocked_for_a_time_from_these_ports_only() -> None:
    made = plan([*flood("8.8.8.8"), *flood("1.1.1.1", 300), *flood("151.101.0.1", 5)])

    (action,) = made.actions
    given = BlockSources.from_json(action.arguments)
    assert given.sources == ("8.8.8.8/32", "1.1.1.1/32")
    assert (given.chain, given.ports, given.seconds, given.most) == ("DOCKER-USER", (8000,), 3600, 3)
    assert (action.risk, action.asks) == (Risk.MEDIUM, "")
    assert "800 of 805 events" in action.reason


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("192.168.1.100", "no public address"),
        ("127.0.0.1", "no public address"),
        ("169.254.169.254", "no public address"),
        ("224.0.0.1", "no public address"),
        ("0.0.0.0", "no public address"),  # noqa: S104 - it is not bound to
        ("8.8.4.4", "the uptime check, which is never blocked"),
        ("5.9.10.77", "network of the host itself"),
        ("4.4.4.4", "a gateway"),
        ("9.9.9.9", "logged in from there over SSH"),
        ("2606:4700::1111", "packets of IPv6 to these ports do not pass"),
    ],
)
def test_some_are_never_blocked(address: str, why: str) -> None:
    made = plan(flood(address))

    assert not made.actions
    assert any(why in refusal.reason for refusal in made.refusals), made.refusals


@given(st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 32))
def test_whatever_may_be_blocked_is_public_narrow_and_of_nobody_we_need(address: IPv4Address, prefix: int) -> None:
    network = ip_network((address, prefix), strict=False)
    never = {"x": ip_network("8.8.0.0/16")}

    if why_never(network, never, HOST) is None:
        assert network.prefixlen >= 24
        for one in (network.network_address, network.broadcast_address):
            assert one.is_global
            assert not one.is_multicast
        others = [*HOST.networks, *never.values(), *map(network_of, (*HOST.gateways, *HOST.ssh_clients))]
        assert not any(one.version == 4 and network.overlaps(one) for one in others)  # type: ignore[arg-type]


@pytest.mark.hazard("trading_signals.HighRateLimitRejections.d3", "bybit_strategy_tester.HighFailedLoginAttempts.d2")
def test_a_proxy_is_believed_only_where_the_policy_names_it_and_its_client_is_blocked_there() -> None:
    limits = policy()

    def senders(line: str) -> list[str]:
        return [str(one.address) for one in traffic_in([line], limits.log, limits.proxies).senders]

    assert senders("rate_limit ip=10.0.0.2 xff=1.2.3.4, 8.8.8.8, 5.9.0.1") == ["8.8.8.8"]
    assert senders("rate_limit ip=10.0.0.2:443 xff=8.8.8.8, user=bob") == ["8.8.8.8"]
    assert senders("rate_limit ip=8.8.8.8 xff=1.2.3.4") == ["8.8.8.8"]
    assert senders("rate_limit ip=10.0.0.2") == []
    assert senders("rate_limit ip=10.0.0.2 xff=evil, unknown") == []
    made = plan(flood("10.0.0.2", more=" xff=8.8.8.8"))
    assert not made.actions
    assert any("block it there" in refusal.reason for refusal in made.refusals)


def test_a_line_that_a_client_can_write_into_is_not_believed() -> None:
    limits = policy()
    for line in (
        "rate_limit path=/?ip=1.2.3.4 ip=8.8.8.8",
        "rate_limit ip=1.2.3.4.5",
        "rate_limit ip=$(reboot)",
        "rate_limit ip=010.1.1.1",
        "rate_limit ip=fe80::1%eth0",
        "rate_limit ip=",
        "rate_limit",
    ):
        traffic = traffic_in([line], limits.log, limits.proxies)
        assert (traffic.events, traffic.unattributed, traffic.senders) == (1, 1, ()), line
    assert not plan(["rate_limit ip=8.8.8.8 ip=1.1.1.1"] * 500).actions


@given(st.text(max_size=80), st.text(max_size=40))
def test_any_line_can_be_read(line: str, address: str) -> None:
    limits = policy()
    traffic = traffic_in([line, f"rate_limit ip={address}"], limits.log, limits.proxies)

    assert traffic.events >= 1
    assert all(str(one.address) == str(ip_address(str(one.address))) for one in traffic.sources)
    assert findings_of(AbuseDiagnosis(traffic=traffic, rate=None), limits)


@pytest.mark.hazard("bybit_strategy_tester.HighFailedLoginAttempts.d2")
def test_addresses_are_read_as_they_are_written() -> None:
    for text in ("8.8.8.8", "8.8.8.8:5", "[::ffff:8.8.8.8]:5", "::ffff:8.8.8.8", " 8.8.8.8 "):
        assert parse_address(text) == ip_address("8.8.8.8"), text
    assert parse_address("[2606:4700::1]:443") == ip_address("2606:4700::1")
    assert parse_address("8.8.8") is None


def test_a_shared_address_and_too_large_a_share_of_users_are_spared() -> None:
    office = [f"ip=8.8.8.8 user=o{number}" for number in range(3)]
    made = plan([*flood("8.8.8.8"), *office])
    assert not made.actions
    assert any("3 accounts were served from it" in refusal.reason for refusal in made.refusals)

    shared = [f"ip={one} user=x{one}{n}" for one in ("8.8.8.8", "1.1.1.1", "1.0.0.1", "2.2.2.2") for n in (1, 2)]
    flooded = [line for one in ("8.8.8.8", "1.1.1.1", "1.0.0.1", "2.2.2.2") for line in flood(one)]
    made = plan([*flooded, *shared], most_blocks=10)
    (action,) = made.actions
    assert len(sources(action)) == 2, "4 of 108 accounts"
    assert any("6 of 108 accounts would be shut out" in refusal.reason for refusal in made.refusals)


@pytest.mark.hazard("trading_signals.HighRateLimitRejections.r2.1")
def test_more_than_the_cap_and_networks_need_a_person_in_any_mode() -> None:
    addresses = ["8.8.8.1", "8.8.8.2", "8.8.8.3", "1.1.1.1", "2.2.2.2"]
    made = plan([line for one in addresses for line in flood(one, 100)], most_share=0.9)

    alone, more, network = made.actions
    assert (len(sources(alone)), alone.asks) == (3, "")
    assert (len(sources(more)), more.risk) == (2, Risk.HIGH)
    assert "More than 3 addresses" in more.asks
    assert sources(network) == ("8.8.8.0/24",)
    assert "whole network" in network.asks

    flooded = [line for one in addresses for line in flood(one, 100)]
    inhabited = plan([*flooded, "ip=8.8.8.200 user=bob"], most_share=0.9)
    assert [sources(one) for one in inhabited.actions] == [sources(alone), sources(more)]


def test_blocks_from_before_count_and_are_not_made_again() -> None:
    there = [Block(source=ip_network(one), port=8000, left=60.0) for one in ("8.8.8.8/32", "3.3.3.3/32", "3.3.3.4/32")]
    made = plan([*flood("8.8.8.8"), *flood("1.1.1.1")], host=replace(HOST, blocks=tuple(there)))

    (action,) = made.actions
    assert sources(action) == ("1.1.1.1/32",)
    assert action.asks
    assert "blocked already, for 1m more" in made.refusals[0].reason


@pytest.mark.hazard("trading_signals.HighRateLimitRejections.r1.1", "trading_signals.HighRateLimitRejections.r1.2")
def test_many_users_get_a_higher_limit_proposed_and_nobody_is_blocked() -> None:
    made = plan([f"rate_limit ip=151.101.{n // 250}.{n % 250} user=u{n}" for n in range(100) for _ in range(5)])

    assert not made.actions
    (proposal,) = made.proposals
    assert "Raise RATE_LIMIT_PER_MINUTE to 120 for an hour (now 60), then take it back" in proposal.title
    assert "up -d" in proposal.detail


def test_an_attack_from_everywhere_is_for_the_security_team() -> None:
    made = plan([f"rate_limit ip=8.{n // 200}.{n % 200}.9" for n in range(1000)])

    assert not made.actions
    assert "security team" in made.proposals[0].title


def test_guessed_passwords_get_a_stricter_limit_first_and_masked_accounts() -> None:
    lines = [f"Failed login for user alice{n % 3}@example.com from 8.8.8.8" for n in range(300)]
    served = [f"Login of user u{n} from 151.101.1.{n}" for n in range(50)]
    made = plan([*lines, *served], **LOGINS)

    assert [sources(one) for one in made.actions] == [("8.8.8.8/32",)]
    limit, team = made.proposals
    assert "Set RATE_LIMIT_LOGIN to 5 per minute" in limit.title
    assert "a…@e… (100)" in team.detail
    assert "alice" not in made.model_dump_json()
    assert masked("bob") == "b…"

    spread = [f"Failed login for user root from 8.{n // 200}.{n % 200}.9" for n in range(1000)]
    limits = policy(**LOGINS)
    assert pattern_of(traffic_in([*spread, *served], limits.log), limits) is Pattern.DISTRIBUTED


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rate": None}, "could not be measured"),
        ({"host": None}, "not looked at"),
        ({"host": replace(HOST, versions=frozenset())}, "do not pass DOCKER-USER"),
        ({"firewall": None}, "blocks nobody"),
        ({"least": 1000}, "tells of 500 events"),
    ],
)
def test_without_proof_nobody_is_blocked(changes: dict[str, Any], why: str) -> None:
    made = plan(flood("8.8.8.8"), **changes)

    assert not made.actions
    assert any(why in refusal.reason for refusal in made.refusals), made.refusals


def test_a_number_within_its_limit_leaves_nothing_to_do() -> None:
    made = plan(flood("8.8.8.8"), rate=9.0)

    assert made.goal == "nothing to do"
    assert not made.actions


def test_a_block_that_ends_before_the_look_is_a_mistake_of_the_policy() -> None:
    with pytest.raises(ValidationError, match="block_for must be longer than hold"):
        policy(block_for="5m")


def test_it_helped_when_the_number_stays_low_and_others_are_served() -> None:
    limits = policy(hold="2s")
    served = traffic_in(USERS, limits.log)
    before = AbuseDiagnosis(traffic=served, rate=40.0, network=HOST)
    low = [LevelSample(at=float(at), value=1.0) for at in range(4)]

    assert judge_abuse(before, low, before, limits).healthy
    alone = judge_abuse(before, low, replace(before, traffic=Traffic()), limits)
    assert not alone.healthy
    assert "Nobody at all is served" in alone.reason
    assert not judge_abuse(before, [replace(low[-1], value=40.0)], before, limits).healthy
    assert judge_abuse(before, [replace(low[-1], value=None)], before, limits).inconclusive
