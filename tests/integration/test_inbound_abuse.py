"""Blocking who sends too much, at a real Docker with a published port: over a real sshd, seen by real clients."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nightshift.tasks.registered  # noqa: F401 - the kinds of action
from lab import preloaded
from lab.compose_project import ComposeProject
from lab.measured import connection_to, until_measured
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from lab.published_port import PublishedPort
from lab.redis_server import RedisServer
from nightshift.remediation.actions import ACTION_KINDS, Connections, Observation
from nightshift.remediation.clients.prometheus import query
from nightshift.remediation.errors import NightshiftError, TargetChangedError
from nightshift.remediation.inbound_abuse.arguments import BlockSources
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Action, Quantity, Risk, Target

ABUSER, NEIGHBOUR, USER = "93.184.216.11", "93.184.216.12", "151.101.1.7"
_BACKEND = r"""
mkdir -p /tmp/www/cgi-bin
printf '#!/bin/sh\necho "$QUERY_STRING ip=$REMOTE_ADDR" >/proc/1/fd/2\necho\necho ok\n' >/tmp/www/cgi-bin/x
chmod 755 /tmp/www/cgi-bin/x
exec httpd -f -p 8000 -h /tmp/www
"""
_RUN = """
import importlib, sys
module, target = sys.argv[1:]
flow = getattr(importlib.import_module("nightshift.flows." + module), module)
state = flow("shop", target, return_state=True)
print("outcome:", state.name)
"""
REJECTIONS = {
    "kind": "requests",
    "measure": {
        "prometheus": "prometheus",
        "expression": "sum by (service, route) (rate(ratelimit_block_total[4s]))",
        "at_most": 1,
        "unit": "/s",
    },
    "log": {"event": "rate_limit", "address": "ip=", "account": "user="},
    "window": "30s",
    "least": 30,
    "firewall": {"host": "app1", "ports": [8000]},
    "block_for": "5m",
    "limit": {"setting": "RATE_LIMIT_PER_MINUTE", "file": "backend/.env", "proposed": "120"},
    "wait": "60s",
    "hold": "3s",
}
REPLAYS = {**REJECTIONS["measure"], "expression": "sum(rate(billing_webhook_replay_block_total[4s]))"}  # type: ignore[dict-item]
SIGNED = {
    "kind": "webhooks",
    "measures": {"replays": REPLAYS},
    "log": {"request": "webhook", "invalid": "invalid_signature", "replay": "replay_attack"},
    "remembered": {"redis": "redis", "service": "redis", "prefix": "idempotent:", "lives": "24h"},
    "replays": {
        **REJECTIONS,
        "measure": REPLAYS,
        "log": {"event": "replay_attack", "address": "ip=", "account": "user="},
    },
}


def _page(rejected: int, replayed: int) -> str:
    limits = f'ratelimit_block_total{{service="backend",route="/api"}} {rejected}'
    return f'{limits}\nbilling_webhook_replay_block_total{{service="backend"}} {replayed}\n'


@pytest.fixture(scope="module")
def place() -> Iterator[PublishedPort]:
    with PublishedPort([ABUSER, NEIGHBOUR, USER]) as running:
        yield running


@pytest.fixture(scope="module")
def backend(place: PublishedPort) -> Iterator[str]:
    """A service that writes who asks it for what; the id of its container."""
    shop = ComposeProject(place.engine, "shop")
    shop.image("shop/backend:1")
    published = ("--network", "bridge", "--publish", "8000:8000", "--env", "RATE_LIMIT_PER_MINUTE=60")
    identity = shop.up("backend", "shop/backend:1", "sh", "-c", _BACKEND, options=published)
    until = time.monotonic() + 10
    while not place.is_let_in(USER):
        assert time.monotonic() < until
    yield identity
    shop.down()


@pytest.fixture(scope="module")
def prometheus(place: PublishedPort, backend: str) -> Iterator[PrometheusProcess]:
    """Counts what the service rejected, by its log."""
    ended = threading.Event()

    def count() -> None:
        command = ["docker", "--host", place.engine.address, "logs", backend]
        while not ended.wait(0.2):
            said = subprocess.run(command, capture_output=True, text=True)
            running.page = _page(said.stderr.count("rate_limit ip="), said.stderr.count("replay_attack ip="))

    with PrometheusProcess(_page(0, 0), every_ms=500) as running:
        counting = threading.Thread(target=count)
        counting.start()
        yield running
        ended.set()
        counting.join()


def arguments(*sources: str, **changes: Any) -> BlockSources:
    given = {"host": "app1", "chain": "DOCKER-USER", "ports": (8000,), "sources": sources, "seconds": 600, "most": 3}
    return BlockSources(**(given | changes))


def action(given: BlockSources) -> Action:
    return Action(
        kind=given.KIND,
        target=Target(system="shop", path=("compose", "main", "service", "backend")),
        arguments=given.to_json(),
        items=given.sources,
        title="block",
        reason="too much",
        risk=Risk.MEDIUM,
        bound=Quantity(amount=len(given.sources), unit="addresses"),
        undo="yes",
    )


def do(asked: Action, connections: Connections) -> None:
    """As the gate does it."""
    kind = ACTION_KINDS[asked.kind]
    assert not kind.permitted(asked, connections)  # type: ignore[operator]
    assert kind.observe(asked, connections) is Observation.NOT_DONE
    kind.precondition(asked, connections)
    kind.act.fn(asked, connections)  # type: ignore[attr-defined]
    assert kind.observe(asked, connections) is Observation.DONE


@pytest.mark.hazard(
    "trading_signals.HighRateLimitRejections.r2.1",
    "bybit_strategy_tester.HighFailedLoginAttempts.r1.1",
)
@pytest.mark.usefixtures("backend")
def test_a_block_keeps_one_address_away_until_the_kernel_ends_it(place: PublishedPort) -> None:
    connections = {"app1": place.connection()}
    asked = action(arguments(f"{ABUSER}/32", seconds=15))
    rules = place.on_host("iptables", "-S", "DOCKER-USER")

    do(asked, connections)

    assert [place.is_let_in(one) for one in (ABUSER, NEIGHBOUR, USER)] == [False, True, True]
    give_up_at = time.monotonic() + 30
    while not place.is_let_in(ABUSER):
        assert time.monotonic() < give_up_at
    assert f"-s {ABUSER}/32" in place.on_host("iptables", "-S", "DOCKER-USER"), "nobody removed the rule"
    assert ACTION_KINDS[asked.kind].observe(asked, connections) is Observation.NOT_DONE

    do(action(arguments(f"{NEIGHBOUR}/32", seconds=600)), connections)
    assert f"-s {ABUSER}/32" not in place.on_host("iptables", "-S", "DOCKER-USER"), "what has ended is removed"
    assert not place.is_let_in(NEIGHBOUR)
    undo = ACTION_KINDS[asked.kind].undo
    assert undo is not None
    do(undo.action(action(arguments(f"{NEIGHBOUR}/32")), None), connections)

    assert place.is_let_in(NEIGHBOUR)
    assert place.on_host("iptables", "-S", "DOCKER-USER") == rules


def test_a_program_of_the_host_and_ipv6_are_blocked_in_their_own_chains(place: PublishedPort, tmp_path: Path) -> None:
    connections = {"app1": place.connection()}
    program = subprocess.Popen(
        ["nsenter", "-t", str(place.engine.pid), "--net", "busybox", "httpd", "-f", "-p", "9000", "-h", str(tmp_path)]
    )
    try:
        asked = action(arguments(f"{ABUSER}/32", chain="INPUT", ports=(9000,), seconds=600))
        do(asked, connections)
        let_in = [place.is_let_in(one, port=9000) for one in (ABUSER, USER)]
        undo = ACTION_KINDS[asked.kind].undo
        assert undo is not None
        do(undo.action(asked, None), connections)
    finally:
        program.terminate()
        program.wait()
    assert let_in == [False, True]

    for words in ("-N DOCKER-USER", "-A FORWARD -j DOCKER-USER"):
        place.on_host("ip6tables", *words.split())
    do(action(arguments("2606:4700::/64", seconds=600)), connections)
    assert "-s 2606:4700::/64" in place.on_host("ip6tables", "-S", "DOCKER-USER")
    place.on_host("ip6tables", "-I", "FORWARD", "1", "-j", "ACCEPT")
    with pytest.raises(TargetChangedError, match="do not pass"):
        ACTION_KINDS[BlockSources.KIND].precondition(action(arguments("2606:4700:1::/64")), connections)
    for words in ("-F FORWARD", "-F DOCKER-USER", "-X DOCKER-USER"):
        place.on_host("ip6tables", *words.split())


@pytest.mark.hazard(
    "trading_signals.HighRateLimitRejections.r2.1",
    "bybit_strategy_tester.HighFailedLoginAttempts.r1.1",
)
def test_what_must_stay_reachable_is_refused_in_the_moment_it_would_be_blocked(place: PublishedPort) -> None:
    connections = {"app1": place.connection()}
    kind = ACTION_KINDS[BlockSources.KIND]
    rules = place.on_host("iptables", "-S")

    for source, why in {
        "10.9.0.2/32": "no public address",
        "127.0.0.1/32": "no public address",
        "224.0.0.5/32": "no public address",
        "93.184.0.0/16": "wider than /24",
        "151.101.1.0/24": "never blocked",
        "2606:4700::1/128": "do not pass the chain",
    }.items():
        with pytest.raises(TargetChangedError, match=why):
            kind.precondition(action(arguments(source, never=(f"{USER}/32",))), connections)
    for hostile in (
        arguments("10.9.0.2/32"),
        arguments("0.0.0.0/0"),
        arguments("1.1.1.1; reboot"),
        arguments(*(f"93.184.216.{number}/32" for number in range(4))),
    ):
        with pytest.raises(NightshiftError):
            kind.act.fn(action(hostile), connections)  # type: ignore[attr-defined]

    assert place.on_host("iptables", "-S") == rules


@pytest.fixture
def remembering() -> Iterator[RedisServer]:
    """Redis with the keys of webhooks that were seen, each for a day."""
    with RedisServer() as running:
        for number in range(30):
            running.client.set(f"idempotent:{number}", "x", ex=86400)
        yield running


@pytest.mark.parametrize(
    ("flow", "policy", "sent"),
    [("inbound-abuse-mitigation", REJECTIONS, "rate_limit"), ("signed-request-failures", SIGNED, "replay_attack")],
)
def test_who_sends_most_is_blocked_and_all_others_are_served(
    flow: str,
    policy: dict[str, Any],
    sent: str,
    place: PublishedPort,
    prometheus: PrometheusProcess,
    prefect: PrefectServer,
    remembering: RedisServer,
    ledger: Ledger,
    database_url: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "redis").write_text(remembering.url)
    ssh = place.connection().model_dump(mode="json", exclude_none=True)
    parts = {"compose": {"default": "main"}, "service": {"default": "backend", "among": ["backend"]}}
    system = {
        "id": "shop",
        "display": "Shop",
        "title": "A shop",
        "mode": "auto",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {
            "app1": ssh,
            "main": ComposeProject(place.engine, "shop").connection(),
            "prometheus": {"type": "http", "url": prometheus.url},
            "redis": {"type": "redis", "url": {"file": str(tmp_path / "redis")}},
        },
        "runbooks": {
            "TooMany": {"summary": "x", "severity": "warning", "flow": flow, "target": parts, "policy": policy}
        },
    }
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "shop.yaml").write_text(json.dumps(system))
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))},
        "NIGHTSHIFT_DATABASE_URL": database_url,
        "NIGHTSHIFT_HOME": str(tmp_path),
        "NIGHTSHIFT_RUNBOOKS": str(tmp_path / "runbooks"),
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    abuse = place.requests(ABUSER, f"/cgi-bin/x?{sent}", times=10_000, pause=0.08)
    use = place.requests(USER, "/cgi-bin/x?user=alice", times=10_000, pause=0.5)
    module, target = flow.replace("-", "_"), "shop/compose/main/service/backend"
    try:
        _wait_for_trouble(prometheus, policy)
        code, said = preloaded.run(_RUN, module, target, environment=environment, seconds=100)
        let_in = [place.is_let_in(one) for one in (ABUSER, NEIGHBOUR, USER)]
        still_served = use.poll() is None
    finally:
        for running in (abuse, use):
            running.kill()
            running.wait()
        for name in ("-F", "-A"):
            place.on_host("iptables", name, "DOCKER-USER", *(("-j", "RETURN") if name == "-A" else ()))

    assert code == 0, said
    report = report_of(ledger, 1)
    assert said.rpartition("outcome: ")[2].strip() == "Resolved", report
    assert let_in == [False, True, True]
    assert still_served
    assert f"Block {ABUSER} from port 8000 of app1" in report
    assert "others are served" in report


def _wait_for_trouble(prometheus: PrometheusProcess, policy: dict[str, Any]) -> None:
    """Until the alert would fire, and the log has more lines about it than the runbook needs."""
    rule = policy.get("measure") or policy["measures"]["replays"]
    counter = "ratelimit_block_total" if "measure" in policy else "billing_webhook_replay_block_total"
    enough = f"sum(increase({counter}[20s])) > {2 * REJECTIONS['least']}"  # type: ignore[operator]
    for asked in (f"{rule['expression']} > {2 * rule['at_most']}", enough):
        until_measured(lambda asked=asked: query("prometheus", connection_to(prometheus.url), asked), bool, asked)  # type: ignore[misc]
