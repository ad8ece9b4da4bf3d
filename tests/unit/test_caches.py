"""What may be done about a Redis server, decided by what lives in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.caches.arguments import SetRedisMemory
from nightshift.remediation.caches.content import POLICIES, Content, Kind, why_unsafe
from nightshift.remediation.caches.efficiency import NOTHING_TO_DO, judge_cache, plan_cache
from nightshift.remediation.caches.objects import Counters, Prefix, RedisLook, Silence
from nightshift.remediation.caches.policy import CacheEfficiencyPolicy, RedisUnavailablePolicy
from nightshift.remediation.caches.unavailable import RedisDiagnosis, persists, plan_redis
from nightshift.remediation.compose.objects import Container, ServiceLook
from nightshift.remediation.models import Plan, Risk, Target

MIB = 2**20
TARGET = Target(system="shop", path=("compose", "main", "service", "redis"))
CACHE_TARGET = Target(system="shop", path=("redis", "cache"))
NONE = Counters(at=0, hits=0, misses=0, evicted=0, expired=0)
CACHE = Prefix(name="cache:", keys=10, size=1000, expiring=10)
NONCE = Prefix(name="nonce:", keys=10, size=1000, expiring=10)
SESSION = Prefix(name="session:", keys=10, size=1000, expiring=0)
DECLARED = Content(prefixes={"cache:": Kind.CACHE, "nonce:": Kind.NONCE, "session:": Kind.SESSION})
ONLY_CACHE = Content(prefixes={"cache:": Kind.CACHE})
SERVER = RedisLook(
    run_id="r1",
    version="7.0.15",
    uptime=90_000,
    role="master",
    loading=False,
    used=16 * MIB,
    maxmemory=16 * MIB,
    policy="noeviction",
    persistent=False,
    counters=NONE,
    prefixes=(CACHE, NONCE, SESSION),
)
RUNNING = Container(
    id="c1",
    name="shop-redis-1",
    service="redis",
    number=1,
    image="redis:7",
    image_id="i1",
    state="running",
    command=("redis-server", "--save", ""),
    volumes=("/data",),
)
ENDED = replace(RUNNING, state="exited", exit_code=137)
SILENT = Silence(why="The Redis server main does not answer.")


def policy(**changes: Any) -> RedisUnavailablePolicy:
    declared = {"redis": "cache", "content": DECLARED, "memory": {"ceiling": "64MiB"}}
    return RedisUnavailablePolicy.model_validate(declared | changes)


def plan(container: Container | None, server: RedisLook | None = None, **changes: Any) -> Plan:
    containers = () if container is None else (container,)
    service = ServiceLook(service="redis", containers=containers, tagged="i1")
    silence = SILENT if server is None else None
    diagnosis = RedisDiagnosis(engine="main", service=service, silence=silence, server=server)
    return plan_redis(TARGET, diagnosis, policy(**changes))


@pytest.mark.hazard("trading_signals.RedisDisconnected.r2.1")
@pytest.mark.parametrize("name", [name for name in POLICIES if name != "noeviction"])
def test_no_eviction_policy_is_safe_where_nonces_live(name: str) -> None:
    assert why_unsafe(name, SERVER, DECLARED) is not None
    assert why_unsafe(name, SERVER, Content()) is not None


def test_keys_without_a_time_to_live_are_safe_from_volatile_policies_only() -> None:
    look = replace(SERVER, prefixes=(CACHE, SESSION))

    assert why_unsafe("volatile-lru", look, DECLARED) is None
    assert "throws out any key, also of session: (session)" in (why_unsafe("allkeys-lru", look, DECLARED) or "")


@pytest.mark.parametrize("name", ["_kombu.", "unacked", "celery"])
def test_a_broker_is_known_by_its_keys_whatever_is_declared(name: str) -> None:
    declared = Content(prefixes={"cache:": Kind.CACHE, name: Kind.CACHE})
    look = replace(SERVER, prefixes=(CACHE, Prefix(name=name, keys=1, size=10, expiring=0)))

    assert "(queue)" in (why_unsafe("allkeys-lru", look, declared) or "")


def test_what_is_only_a_cache_may_throw_out_anything() -> None:
    assert why_unsafe("allkeys-lru", replace(SERVER, prefixes=(CACHE,)), ONLY_CACHE) is None


@pytest.mark.hazard("trading_signals.RedisDisconnected.r2.1", "octollm.LowCacheHitRate.r1.1")
@given(
    st.lists(st.sampled_from([CACHE, NONCE, SESSION]), unique=True),
    st.sampled_from(POLICIES),
    st.integers(1, 128),
    st.integers(1, 128),
    st.integers(0, 256),
)
def test_a_plan_never_changes_the_policy_and_never_passes_a_ceiling(
    prefixes: list[Prefix], name: str, used: int, limit: int, container: int
) -> None:
    look = replace(SERVER, prefixes=prefixes, policy=name, used=used * MIB, maxmemory=limit * MIB)
    found = plan(replace(RUNNING, memory_limit=container * MIB), look)

    assert {action.kind for action in found.actions} <= {"set_redis_memory"}
    for action in found.actions:
        arguments = SetRedisMemory.from_json(action.arguments)
        assert arguments.policy == name
        assert max(limit, used) * MIB < arguments.to_maxmemory <= 64 * MIB
        assert not container or arguments.to_maxmemory <= container * MIB * 3 // 4
        assert action.risk is Risk.HIGH


@pytest.mark.hazard("trading_signals.RedisDisconnected.r1.1", "trading_signals.HighAPILatency.r3.1")
@pytest.mark.parametrize(
    ("container", "changes", "asks"),
    [
        (ENDED, {}, True),
        (ENDED, {"persistent": True}, False),
        (replace(ENDED, command=("redis-server", "--appendonly", "yes")), {}, False),
        (replace(ENDED, command=("redis-server", "--appendonly", "yes"), volumes=()), {}, True),
        (ENDED, {"content": ONLY_CACHE}, False),
        (ENDED, {"content": {}}, True),
        (RUNNING, {}, True),
    ],
)
def test_what_comes_back_empty_is_started_by_a_person_only(
    container: Container, changes: dict[str, Any], asks: bool
) -> None:
    (action,) = plan(container, **changes).actions

    assert action.kind == "restart_container"
    assert bool(action.asks) is asks
    assert (action.risk is Risk.HIGH) is asks


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (("redis-server",), True),
        (("redis-server", "--save", ""), False),
        (("redis-server", "--save", "60 1"), True),
        (("redis-server", "/etc/redis.conf"), None),
    ],
)
def test_whether_data_is_kept_is_read_from_the_command_line(command: tuple[str, ...], kept: bool | None) -> None:
    assert persists(replace(RUNNING, command=command)) is kept


@pytest.mark.parametrize(
    ("container", "server", "why"),
    [
        (None, None, "Compose has no container"),
        (replace(RUNNING, health="healthy"), None, "its own check finds it healthy"),
        (RUNNING, replace(SERVER, loading=True, loaded_percent=40), "reads its data from disk (40 %)"),
        (RUNNING, replace(SERVER, persistence_trouble="the last snapshot failed"), "takes no writes because"),
        (RUNNING, replace(SERVER, maxmemory=64 * MIB, used=64 * MIB), "64.0 MiB is the most"),
    ],
)
def test_where_a_restart_would_harm_or_not_help_nothing_is_done(
    container: Container | None, server: RedisLook | None, why: str
) -> None:
    found = plan(container, server)

    assert found.actions == ()
    assert any(why in refusal.reason for refusal in found.refusals)


def test_a_server_that_works_leads_to_its_network() -> None:
    found = plan(RUNNING, replace(SERVER, used=MIB))

    assert found.actions == ()
    assert "network" in found.proposals[0].title


def measured(hits: int, misses: int, evicted: int = 0, expired: int = 0, **changes: Any) -> RedisLook:
    now = Counters(at=60, hits=hits, misses=misses, evicted=evicted, expired=expired)
    return replace(SERVER, prefixes=(CACHE,), policy="allkeys-lru", earlier=NONE, counters=now, **changes)


EFFICIENCY = CacheEfficiencyPolicy.model_validate({"content": ONLY_CACHE, "memory": {"ceiling": "64MiB"}})


@pytest.mark.hazard("octollm.LowCacheHitRate.condition", "octollm.LowCacheHitRate.d3")
@pytest.mark.parametrize(
    ("look", "goal", "actions", "said"),
    [
        (measured(900, 100), NOTHING_TO_DO, 0, "90% of the lookups find their key now"),
        (measured(900, 100, evicted=5), NOTHING_TO_DO, 0, "5 keys were thrown out meanwhile, and are not missed"),
        (measured(100, 900, uptime=60), NOTHING_TO_DO, 0, "fills itself"),
        (measured(1, 9), "Have at least 50%", 0, "10 lookups within 1m say nothing"),
        (measured(100, 900, evicted=500), "Have at least 50%", 1, "Keys stay"),
        (measured(100, 900, expired=800, used=MIB), "Have at least 50%", 0, "CACHE_TTL"),
        (measured(100, 900, used=MIB), "Have at least 50%", 0, "Warm the cache"),
    ],
)
def test_a_cache_gets_memory_only_where_that_is_what_it_lacks(
    look: RedisLook, goal: str, actions: int, said: str
) -> None:
    found = plan_cache(CACHE_TARGET, look, EFFICIENCY)

    assert found.goal.startswith(goal)
    assert len(found.actions) == actions
    told = [found.expected, *(p.title for p in found.proposals), *(r.reason for r in found.refusals)]
    assert any(said in text for text in told)


@pytest.mark.hazard("octollm.LowCacheHitRate.r1.1")
@pytest.mark.parametrize(
    ("limit", "to"), [(64 * MIB, 24 * MIB), (24 * MIB, 18 * MIB), (20 * MIB, None), (None, None), (0, 24 * MIB)]
)
def test_a_cache_in_a_cluster_never_gets_more_than_its_container_bears(limit: int | None, to: int | None) -> None:
    place = {"prometheus": "metrics", "namespace": "shop", "container": "redis"}
    policy = EFFICIENCY.model_validate(EFFICIENCY.model_dump() | {"container": place})

    found = plan_cache(CACHE_TARGET, measured(100, 900, evicted=500), policy, limit)

    assert [SetRedisMemory.from_json(action.arguments).to_maxmemory for action in found.actions] == ([to] if to else [])
    assert to or found.proposals[0].title == "Give the container redis in shop more memory first"


def test_where_entries_end_too_soon_it_is_said_what_to_set_and_where() -> None:
    rule = {"configmap": "api-config", "key": "CACHE_TTL", "raise_to": "1800s"}
    policy = EFFICIENCY.model_validate(EFFICIENCY.model_dump() | {"time_to_live": rule})

    (proposal,) = plan_cache(CACHE_TARGET, measured(100, 900, expired=800, used=MIB), policy).proposals

    assert proposal.title.startswith("Let entries live longer: CACHE_TTL 1800s")
    assert "api-config" in proposal.detail


@pytest.mark.hazard("octollm.LowCacheHitRate.condition", "octollm.LowCacheHitRate.d3", "octollm.HighLatency.d10")
def test_what_was_missed_and_thrown_out_before_the_look_does_not_count() -> None:
    long_ago = Counters(at=0, hits=0, misses=90_000, evicted=5000, expired=0)
    look = replace(measured(900, 90_100, evicted=5000), earlier=long_ago)

    assert plan_cache(CACHE_TARGET, look, EFFICIENCY).goal == NOTHING_TO_DO
    assert judge_cache(look, look, EFFICIENCY).healthy


@pytest.mark.parametrize(
    ("after", "healthy", "inconclusive"),
    [
        (measured(900, 100), True, False),
        (measured(900, 100, evicted=1), False, False),
        (measured(100, 900), False, False),
        (measured(9, 1), False, True),
    ],
)
def test_the_repair_helped_when_lookups_find_their_key(after: RedisLook, healthy: bool, inconclusive: bool) -> None:
    verdict = judge_cache(measured(100, 900, evicted=500), after, EFFICIENCY)

    assert (verdict.healthy, verdict.inconclusive) == (healthy, inconclusive)
