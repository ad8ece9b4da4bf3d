"""Whole flow runs against real Redis servers: one that ended, one without room, one that throws its keys out."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import nightshift.tasks.registered  # noqa: F401 - the kinds of action
from lab import preloaded
from lab.compose_project import ComposeProject
from lab.docker_engine import DockerEngine
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from lab.redis_server import RedisServer, commands_of, redis_image, wait_for
from nightshift.remediation.actions import ACTION_KINDS, Connections, Observation
from nightshift.remediation.caches.arguments import SetRedisMemory
from nightshift.remediation.clients import redis_server
from nightshift.remediation.connections import RedisConnection, SecretReference
from nightshift.remediation.errors import AuthenticationError, NightshiftError, TargetChangedError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Action, Quantity, Risk, Target

MIB = 2**20
NEVER = {"flushdb", "flushall", "keys", "del", "unlink", "monitor", "shutdown", "config|rewrite", "script|flush"}
CONTENT = {"prefixes": {"cache:": "cache", "nonce:": "nonce"}}
_RUN = """
import importlib, sys
module, target = sys.argv[1:]
flow = getattr(importlib.import_module("nightshift.flows." + module), module)
state = flow("shop", target, return_state=True)
print("outcome:", state.name)
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[ComposeProject]:
    with DockerEngine() as engine:
        project = ComposeProject(engine, "shop")
        redis_image(project, "shop/redis:7")
        yield project


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer("--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru") as running:
        yield running


def run(
    flow: str, target: str, policy: dict[str, Any], connections: dict[str, Any], place: tuple[PrefectServer, str, Path]
) -> str:
    """Run the flow; the name of the state it ends in."""
    prefect, ledger_url, folder = place
    kinds = target.split("/")[1::2]
    names = target.split("/")[2::2]
    parts: dict[str, Any] = {kind: {"default": name} for kind, name in zip(kinds, names, strict=True)}
    if "service" in parts:
        parts["service"]["among"] = [names[-1]]
    system = {
        "id": "shop",
        "display": "Shop",
        "title": "A shop",
        "mode": "auto",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": connections,
        "runbooks": {
            "Trouble": {"summary": "x", "severity": "warning", "flow": flow, "target": parts, "policy": policy}
        },
    }
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "shop.yaml").write_text(json.dumps(system))
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))},
        "NIGHTSHIFT_DATABASE_URL": ledger_url,
        "NIGHTSHIFT_HOME": str(folder),
        "NIGHTSHIFT_RUNBOOKS": str(folder / "runbooks"),
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(folder / "prefect"),
    }
    code, said = preloaded.run(_RUN, flow.replace("-", "_"), target, environment=environment, seconds=300)
    assert code == 0, said
    return said.rpartition("outcome: ")[2].strip()


def in_compose(shop: ComposeProject, folder: Path, *options: str) -> tuple[redis.Redis, dict[str, Any]]:
    """A Redis service on a socket, since the engine has no network; its client, and the catalogue's connections."""
    folder.mkdir()
    folder.chmod(0o777)
    shared = ("--volume", f"{folder}:/run/redis")
    listening = ("--port", "0", "--unixsocket", "/run/redis/socket", "--unixsocketperm", "777", "--dir", "/data")
    shop.up("redis", "shop/redis:7", "/usr/bin/redis-server", *listening, *options, options=shared)
    client = redis.Redis(unix_socket_path=str(folder / "socket"), decode_responses=True)
    wait_for(client)
    (folder / "url").write_text(f"unix://{folder}/socket?db=0")
    url = {"file": str(folder / "url")}
    return client, {"main": shop.connection(), "cache": {"type": "redis", "url": url, "timeout": 2}}


def fill(client: redis.Redis) -> None:
    """Until it has no room for another key."""
    for number in range(100_000):
        try:
            client.set(f"nonce:{number}" if number % 2 else f"cache:{number}", "x" * 1000, ex=3600)
        except redis.exceptions.OutOfMemoryError:
            return
    pytest.fail("it took everything")


@pytest.mark.hazard("trading_signals.RedisDisconnected.r1.1")
def test_a_server_that_ended_comes_back_with_its_data(
    shop: ComposeProject, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    client, connections = in_compose(shop, tmp_path / "socket", "--appendonly", "yes")
    try:
        client.set("nonce:1", "used")
        shop.engine.docker("kill", "shop-redis-1")
        policy = {"redis": "cache", "content": CONTENT, "watch": "2s"}

        outcome = run(
            "redis-unavailable",
            "shop/compose/main/service/redis",
            policy,
            connections,
            (prefect, database_url, tmp_path),
        )

        report = report_of(ledger, 1)
        assert outcome == "Resolved", report
        assert client.get("nonce:1") == "used"
        assert "Start the container shop-redis-1" in report
        assert not commands_of(client) & NEVER
    finally:
        shop.down()


@pytest.mark.hazard(
    "trading_signals.RedisDisconnected.r2.1",
    "trading_signals.RedisDisconnected.r2.2",
    "trading_signals.general.redis_keys",
    "trading_signals.general.redis_del",
)
def test_a_server_without_room_gets_more_and_nothing_in_it_is_deleted(
    shop: ComposeProject, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    client, connections = in_compose(shop, tmp_path / "socket", "--maxmemory", "8mb", "--save", "")
    try:
        fill(client)
        before = client.dbsize()
        policy = {"redis": "cache", "content": CONTENT, "watch": "2s", "memory": {"factor": 1.5, "ceiling": "16MiB"}}

        outcome = run(
            "redis-unavailable",
            "shop/compose/main/service/redis",
            policy,
            connections,
            (prefect, database_url, tmp_path),
        )

        report = report_of(ledger, 1)
        assert outcome == "Resolved", report
        assert client.set("nonce:new", "x")
        assert client.dbsize() == before + 1
        assert client.config_get("maxmemory*")["maxmemory"] == str(12 * MIB)
        assert client.config_get("maxmemory*")["maxmemory-policy"] == "noeviction"
        assert "nonce:" in report
        assert "it would be lost, and requests replayed" in report
        assert not commands_of(client) & NEVER
    finally:
        shop.down()


@pytest.mark.hazard("octollm.LowCacheHitRate.r1.1", "octollm.LowCacheHitRate.r1.2", "octollm.HighLatency.r2.3")
def test_a_cache_that_throws_its_keys_out_gets_more_memory(
    server: RedisServer, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text(server.url)
    connections = {"cache": {"type": "redis", "url": {"file": str(tmp_path / "url")}}}
    ended, chance = threading.Event(), random.Random(1)  # noqa: S311 - which thing is looked for is no secret

    def shopping() -> None:
        """A thousand things of 10 KiB are looked for; those that are missing are put there."""
        client = server.client
        while not ended.is_set():
            for _ in range(50):
                key = f"cache:{chance.randrange(1000)}"
                if client.get(key) is None:
                    client.set(key, "x" * 10_000)

    before = str(server.client.info("server")["run_id"])
    customer = threading.Thread(target=shopping)
    customer.start()
    policy = {
        "content": {"prefixes": {"cache:": "cache"}},
        "hit_ratio": 0.9,
        "measure": "1s",
        "warm_up": 0,
        "watch": "8s",
        "memory": {"factor": 4, "ceiling": "32MiB"},
        "container": {"prometheus": "metrics", "namespace": "shop", "container": "redis"},
    }
    labels = 'namespace="shop",pod="redis-0",container="redis",resource="memory"'
    try:
        with PrometheusProcess(f"kube_pod_container_resource_limits{{{labels}}} {40 * MIB}\n") as prometheus:
            connections["metrics"] = {"type": "http", "url": prometheus.url}
            place = (prefect, database_url, tmp_path)
            outcome = run("cache-efficiency", "shop/redis/cache", policy, connections, place)
    finally:
        ended.set()
        customer.join()

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert server.client.config_get("maxmemory")["maxmemory"] == str(30 * MIB), "three quarters"
    assert "0 keys thrown out" in report
    assert server.client.info("server")["run_id"] == before, "never restarted, so never empty"
    assert not commands_of(server.client) & NEVER


def connected(url: str, folder: Path) -> Connections:
    (folder / "url").write_text(url)
    reference = SecretReference(file=folder / "url")
    return {"cache": RedisConnection(type="redis", url=reference, timeout=2)}


def test_a_limit_is_set_for_the_run_that_was_diagnosed_only(server: RedisServer, tmp_path: Path) -> None:
    connections = connected(server.url, tmp_path)
    with redis_server.open_redis("cache", connections) as client:
        seen = redis_server.look(client)
    arguments = SetRedisMemory(
        redis="cache", run_id=seen.run_id, policy=seen.policy, from_maxmemory=8 * MIB, to_maxmemory=9 * MIB
    )
    action = Action(
        kind=SetRedisMemory.KIND,
        target=Target(system="shop", path=("redis", "cache")),
        arguments=arguments.to_json(),
        title="more",
        reason="less",
        risk=Risk.HIGH,
        bound=Quantity(amount=MIB, unit="bytes"),
        undo="yes",
    )
    kind = ACTION_KINDS[action.kind]
    another = action.model_copy(update={"arguments": {**action.arguments, "run_id": "other"}})

    assert kind.observe(action, connections) is Observation.NOT_DONE
    with pytest.raises(TargetChangedError, match="started anew"):
        kind.precondition(another, connections)
    kind.precondition(action, connections)
    kind.act.fn(action, connections)  # type: ignore[attr-defined]
    assert kind.observe(action, connections) is Observation.DONE
    with pytest.raises(TargetChangedError, match="changed by something else"):
        kind.precondition(action, connections)
    assert kind.undo is not None
    back = kind.undo.action(action, None)
    kind.precondition(back, connections)
    kind.act.fn(back, connections)  # type: ignore[attr-defined]
    assert server.client.config_get("maxmemory")["maxmemory"] == str(8 * MIB)


def test_the_smallest_account_is_enough_and_a_password_is_never_told(server: RedisServer, tmp_path: Path) -> None:
    granted = redis_server.GRANT.split()[3:]
    server.client.execute_command("ACL", "SETUSER", "nightshift", *[g if g != ">…" else ">hunter2" for g in granted])
    server.client.execute_command(
        "ACL", "SETUSER", "reader", "on", ">hunter2", "allkeys", "+@read", "+info", "+config|get"
    )
    place = server.url.removeprefix("redis://")

    with redis_server.open_redis("cache", connected(f"redis://nightshift:hunter2@{place}", tmp_path)) as client:
        assert redis_server.look(client).role == "master"
        assert redis_server.may_set_memory(client)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.flushdb()
    told = []
    for url in (f"redis://nightshift:hunter3@{place}", f"redis://reader:hunter2@{place}", "redis://:hunter2@@@:x"):
        with (
            pytest.raises(NightshiftError) as wrong,
            redis_server.open_redis("cache", connected(url, tmp_path)) as client,
        ):
            redis_server.look(client)
        told.append(str(wrong.value))
    assert not any("hunter" in text for text in told)
    assert told[0] == "cache refused the account."
    with pytest.raises(AuthenticationError):
        redis_server.silence("cache", connected(f"redis://nightshift:hunter3@{place}", tmp_path))


def test_too_many_clients_and_a_closed_port_are_told_apart(server: RedisServer, tmp_path: Path) -> None:
    connections = connected(server.url, tmp_path)
    assert redis_server.silence("cache", connections) is None
    holder = server.client
    holder.config_set("maxclients", 1)

    full = redis_server.silence("cache", connections)
    away = redis_server.silence("cache", connected("redis://127.0.0.1:1/0", tmp_path))

    assert full is not None
    assert full.too_many_clients
    assert away is not None
    assert not away.too_many_clients


def test_the_doctor_tells_what_our_account_lacks(
    nightshift: Callable[..., Any], runbooks: Path, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = ("on", ">hunter2", "allkeys", "+@read", "+ping", "+info", "+config|get", "+slowlog|get", "+acl|whoami")
    server.client.execute_command("ACL", "SETUSER", "reader", *reads, "+acl|dryrun", "+client|setname")
    monkeypatch.setenv("CACHE", server.url)
    monkeypatch.setenv("POOR", server.url.replace("redis://", "redis://reader:hunter2@"))
    monkeypatch.setenv("AWAY", "redis://:hunter2@127.0.0.1:1/0")
    entries = {name.lower(): {"type": "redis", "url": {"env": name}} for name in ("CACHE", "POOR", "AWAY")}
    lines = "".join(f"  {name}: {json.dumps(entry)}\n" for name, entry in entries.items())
    text = (runbooks / "shop.yaml").read_text()
    (runbooks / "shop.yaml").write_text(text.replace("connections:\n", f"connections:\n{lines}"))

    said = nightshift("doctor", "--system", "shop", "--json").out

    assert "works as master, with allkeys-lru." in said
    assert "works, but we may not set its memory." in said
    assert "The Redis server away does not answer." in said
    assert "hunter2" not in said
