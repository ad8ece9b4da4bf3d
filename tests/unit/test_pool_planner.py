"""Who is to blame for connections that run out, and what a plan never touches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.compose.objects import Container, ServiceLook
from nightshift.remediation.databases.backends import Backend, ServerLook, why_untouchable
from nightshift.remediation.databases.pool_cause import Need, blockers
from nightshift.remediation.databases.pool_findings import findings_of
from nightshift.remediation.databases.pool_planner import NOTHING_TO_DO, PoolDiagnosis, plan_pool_relief
from nightshift.remediation.databases.pool_policy import (
    ConnectionPoolPolicy,
    PoolerGrowth,
    PoolerRule,
    PoolRule,
    ServiceRestart,
    WorkloadRestart,
)
from nightshift.remediation.databases.pool_use import PoolerLimits, PoolerPool, PoolLook, Use, pool_use
from nightshift.remediation.databases.pool_verification import judge_relief
from nightshift.remediation.databases.pooler_size import size_back
from nightshift.remediation.databases.query_text import shape_of
from nightshift.remediation.models import Plan, Risk, Target, UndoWhen
from tests.unit.kubernetes_values import deployment

TARGET = Target(system="shop", path=("database", "main"))
POLICY = ConnectionPoolPolicy(pools=(PoolRule(application="api", size=4, replicas=2, setting="DB_POOL_SIZE"),))


def backend(pid: int, **fields: object) -> Backend:
    usual = {"database": "shop", "user": "app", "application": "api", "started": f"2026-01-01 00:00:{pid:02}+00"}
    return Backend(pid=pid, **{**usual, **fields})  # type: ignore[arg-type]


def idle_in_transaction(pid: int, age: float = 900, **fields: object) -> Backend:
    lasts = {"transaction_age": age, "state_age": age, "transaction": "2026-01-01 00:00:00+00"}
    return backend(pid, state="idle in transaction", **{**lasts, **fields})


def running(pid: int, age: float = 900, **fields: object) -> Backend:
    lasts = {"query_age": age, "transaction_age": age, "query_began": "2026-01-01 00:00:00+00"}
    return backend(pid, state="active", **{**lasts, **fields})


def waiting(pid: int, *behind: int, seconds: float = 120) -> Backend:
    return running(pid, seconds, blocked_by=behind, waits_for_lock=seconds)


def look(*backends: Backend, most: int = 100, metrics: tuple[Use, ...] = ()) -> PoolLook:
    server = ServerLook(backends=backends, database="shop", account="night", max_connections=most, reserved=3)
    return PoolLook(at=0, server=server, metrics=metrics)


def planned(*backends: Backend, force: bool = True, policy: ConnectionPoolPolicy = POLICY, **more: object) -> Plan:
    diagnosis = PoolDiagnosis(look=look(*backends), **more)  # type: ignore[arg-type]
    return plan_pool_relief(TARGET, diagnosis, policy, force=force)


def touched(plan: Plan) -> set[int]:
    return {int(item.partition("@")[0]) for action in plan.actions for item in action.items}


def test_a_chain_of_three_has_one_root() -> None:
    found = blockers(look(idle_in_transaction(1), waiting(2, 1), waiting(3, 2), backend(4)).server, POLICY)

    assert [(one.backend.pid if one.backend else 0, one.waiting) for one in found] == [(1, 2)]


@pytest.mark.hazard("cryptofunk.DatabaseConnectionPoolCritical.r1.1", "octollm.DatabaseConnectionPoolExhausted.r1.2")
def test_a_running_blocker_is_cancelled_and_ended_only_when_that_was_in_vain() -> None:
    root = running(1, age=120)

    first = planned(root, waiting(2, 1))
    again = planned(root, waiting(2, 1), cancelled={root.statement})
    other_statement = planned(replace(root, query_began="later"), waiting(2, 1), cancelled={root.statement})

    assert [(action.kind, action.asks) for action in first.actions] == [("cancel_queries", "")]
    assert [(action.kind, bool(action.asks)) for action in again.actions] == [("end_sessions", True)]
    assert [action.kind for action in other_statement.actions] == ["cancel_queries"]


def test_a_blocker_that_is_young_and_does_nothing_takes_a_person() -> None:
    (action,) = planned(idle_in_transaction(1, age=100), waiting(2, 1)).actions

    assert (action.kind, action.risk, bool(action.asks)) == ("end_sessions", Risk.HIGH, True)


def test_a_prepared_transaction_is_for_a_person() -> None:
    plan = planned(waiting(2, 0))

    assert plan.actions == ()
    assert "prepared transaction" in plan.proposals[0].title


def test_who_waits_is_not_blamed_for_a_long_statement() -> None:
    assert touched(planned(idle_in_transaction(1), waiting(2, 1, seconds=900))) == {1}


@pytest.mark.hazard(
    "bybit_strategy_tester.ConnectionPoolExhausted.r1.1",
    "cryptofunk.DatabaseConnectionPoolExhausted.d2",
)
def test_open_transactions_end_by_application_and_no_more_than_the_policy_takes() -> None:
    many = [idle_in_transaction(pid) for pid in range(1, 14)]
    other = idle_in_transaction(20, application="web")

    plan = planned(*many, other)

    assert sorted(len(action.items) for action in plan.actions) == [1, 10]
    assert any("3 further sessions" in refusal.what for refusal in plan.refusals)
    assert all(action.bound.amount == len(action.items) for action in plan.actions)


@pytest.mark.hazard("cryptofunk.DatabaseConnectionPoolExhausted.r1.1")
def test_a_leak_ends_idle_sessions_down_to_the_pool_and_no_others() -> None:
    plan = planned(*(backend(pid, state_age=700.0 + pid) for pid in range(1, 12)), backend(20, state_age=5.0))

    (action,) = plan.actions
    assert touched(plan) == {11, 10, 9, 8}
    assert "beyond the pool's size" in action.reason


@pytest.mark.hazard(
    "bybit_strategy_tester.ConnectionPoolExhausted.r1.1",
    "cryptofunk.DatabaseConnectionPoolExhausted.r1.1",
    "octollm.DatabaseConnectionPoolExhausted.d4",
)
def test_idle_sessions_within_their_pool_are_what_a_healthy_pool_looks_like() -> None:
    plan = planned(*(backend(pid, state_age=90_000.0) for pid in range(1, 9)), backend(20, application="web"))

    assert plan.actions == ()


def test_a_pool_that_says_it_is_full_while_its_sessions_do_nothing_leaks() -> None:
    full = PoolDiagnosis(look=look(*(backend(pid) for pid in range(1, 9)), metrics=(Use(name="api", used=8, size=8),)))

    plan = plan_pool_relief(TARGET, full, POLICY)

    assert plan.actions == ()
    assert [proposal.title for proposal in plan.proposals][:1] == ["Find where api does not give its connections back"]


@pytest.mark.hazard(
    "octollm.DatabaseConnectionPoolExhausted.r1.2",
    "trading_signals.DatabaseConnectionPoolExhausted.d3",
)
@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"superuser": True}, "superuser"),
        ({"own": True}, "account that Nightshift uses"),
        ({"kind": "walsender"}, "walsender"),
        ({"kind": "autovacuum worker"}, "autovacuum"),
        ({"kind": "logical replication worker"}, "replication"),
        ({"database": "other"}, "another database"),
        ({"application": "pg_dump"}, "never touches"),
        ({"busy_with": "CREATE INDEX CONCURRENTLY"}, "CREATE INDEX"),
        ({"started": ""}, "may not see"),
    ],
)
def test_some_sessions_are_nobodys_to_end(fields: dict[str, object], why: str) -> None:
    assert why in str(why_untouchable(running(1, **fields), "shop", POLICY.never))
    assert touched(planned(running(1, **fields))) == set()


backends = st.builds(
    backend,
    st.integers(1, 50),
    kind=st.sampled_from(["client backend", "walsender", "autovacuum worker"]),
    state=st.sampled_from(["active", "idle", "idle in transaction", "idle in transaction (aborted)"]),
    superuser=st.booleans(),
    own=st.booleans(),
    database=st.sampled_from(["shop", "other"]),
    application=st.sampled_from(["api", "", "psql", "x'; drop\n"]),
    busy_with=st.sampled_from(["", "VACUUM"]),
    state_age=st.floats(0, 2000),
    query_age=st.floats(0, 2000),
    waits_for_lock=st.floats(0, 2000),
    blocked_by=st.lists(st.integers(0, 50), max_size=2).map(tuple),
)


@given(st.lists(backends, max_size=30, unique_by=lambda one: one.pid), st.booleans())
def test_no_plan_touches_anybody_twice_or_anybody_innocent(found: list[Backend], force: bool) -> None:
    plan = planned(*found, force=force)

    items = [item for action in plan.actions for item in action.items]
    by_identity = {one.identity: one for one in found}
    assert len(items) == len(set(items))
    assert all(why_untouchable(by_identity[item], "shop", POLICY.never) is None for item in items)
    assert all(len(action.items) <= POLICY.most_sessions for action in plan.actions)


SERVICE = ServiceRestart(docker="compose", service="pgbouncer")
POOLER = POLICY.model_copy(update={"pooler": PoolerRule(console="pgbouncer", restart=SERVICE)})
STUCK = PoolerPool(database="shop", user="app", clients_waiting=3, longest_wait=40, servers=1, newest_server="12:00")


def container(service: str) -> ServiceLook:
    one = Container(
        id="c1", name=f"shop-{service}-1", service=service, number=1, image="img:1", image_id="i1", state="running"
    )
    return ServiceLook(service=service, containers=(one,), images=(), tagged="i1")


def with_pooler(pool: PoolerPool | None, silent: str = "", *, most: int = 100, again: bool = False) -> Plan:
    seen = replace(look(backend(1), most=most), pooler=(pool,) if pool else (), pooler_silent=silent)
    diagnosis = PoolDiagnosis(look=seen, services=(container("pgbouncer"),), reconnected=again)
    return plan_pool_relief(TARGET, diagnosis, POOLER)


def test_a_stuck_pooler_connects_anew_and_is_restarted_only_when_that_was_in_vain() -> None:
    assert [(one.kind, one.risk) for one in with_pooler(STUCK).actions] == [("reconnect_pooler", Risk.LOW)]
    assert [one.kind for one in with_pooler(STUCK, again=True).actions] == ["restart_container"]
    assert [one.kind for one in with_pooler(None, "it did not answer").actions] == ["restart_container"]


def test_a_pooler_that_waits_for_the_server_or_for_a_person_is_left_alone() -> None:
    paused = with_pooler(replace(STUCK, paused=True))

    assert with_pooler(STUCK, most=4).actions == ()
    assert paused.actions == ()
    assert paused.proposals[0].detail == "RESUME shop"
    assert with_pooler(replace(STUCK, database="shop; SHUTDOWN")).actions == ()


def test_a_pooler_that_lets_transactions_through_is_slow_and_not_restarted() -> None:
    plan = with_pooler(replace(STUCK, transactions_per_second=5), again=True)

    assert plan.actions == ()
    assert [refusal.what for refusal in plan.refusals] == ["Restarting the pooler"]
    assert "5 transactions/s of shop get through" in plan.refusals[0].reason


BUSY = PoolerPool(
    database="shop",
    user="app",
    clients_waiting=9,
    longest_wait=40,
    servers=10,
    newest_server="12:00",
    active=10,
    size=10,
    transactions_per_second=100,
    seconds_per_transaction=0.1,
)
LIMITS = PoolerLimits(default_size=10, reserve=0, most_per_database=0, pool_mode="transaction")


def grown(
    *more: PoolerPool,
    pool: PoolerPool = BUSY,
    limits: PoolerLimits = LIMITS,
    ceiling: int = 40,
    poolers: int = 1,
    most: int = 100,
    others: int = 0,
    backends: tuple[Backend, ...] = (),
) -> Plan:
    """The server has ``most`` connections, those of the pools and ``others`` are taken."""
    taken = [backend(pid) for pid in range(100, 100 + others + sum(one.servers for one in (pool, *more)))]
    seen = replace(look(*taken, *backends, most=most), pooler=(pool, *more), pooler_limits=limits)
    rule = PoolerRule(console="pgbouncer", restart=SERVICE, growth=PoolerGrowth(ceiling=ceiling, poolers=poolers))
    policy = ConnectionPoolPolicy(pooler=rule)
    return plan_pool_relief(TARGET, PoolDiagnosis(look=seen, services=(container("pgbouncer"),)), policy)


def test_a_pool_of_the_pooler_that_is_too_small_for_its_load_grows_by_a_persons_word() -> None:
    plan = grown()

    (action,) = plan.actions
    assert (action.kind, action.risk, bool(action.asks)) == ("set_pooler_size", Risk.HIGH, True)
    # Fifteen, in steps of a quarter of ten.
    assert (action.arguments["from_size"], action.arguments["to_size"], action.bound.amount) == (10, 16, 6)
    assert action.undo_when is UndoWhen.INEFFECTIVE
    assert "100 transactions/s times 0.1 s times 1.5 = 15 connections" in action.reason
    assert "pgbouncer.ini" in plan.proposals[0].title
    back = size_back(action, None)
    assert (back.arguments["from_size"], back.arguments["to_size"]) == (16, 10)


def test_transactions_that_a_lock_held_up_do_not_count_as_a_load_that_never_was() -> None:
    # Ten that waited for five minutes end in one minute: as many as fifty connections would have borne, and ten did.
    (action,) = grown(pool=replace(BUSY, transactions_per_second=10 / 60, seconds_per_transaction=300)).actions

    assert action.arguments["to_size"] == 16
    assert "of which it can have borne 10 connections, times 1.5 = 15 connections" in action.reason


@pytest.mark.hazard("bybit_strategy_tester.ConnectionPoolExhausted.r2.1")
@pytest.mark.parametrize(
    ("case", "size"),
    [
        ({"ceiling": 12}, 12),
        ({"limits": replace(LIMITS, most_per_database=13)}, 13),
        # 100 - 3 of the superuser = 97, of which 87 count; 61 others leave 26 for two pools.
        ({"more": (replace(BUSY, user="jobs"),), "others": 61}, 13),
        ({"others": 75}, 12),
        ({"limits": replace(LIMITS, reserve=3), "others": 72}, 12),
        ({"poolers": 3, "others": 61, "pool": replace(BUSY, size=6, active=6), "ceiling": 30}, 8),
    ],
)
def test_all_pools_of_all_poolers_leave_a_tenth_of_the_server_free(case: dict[str, Any], size: int) -> None:
    if (pool := case.get("pool")) is not None:
        case = {**case, "limits": replace(LIMITS, default_size=pool.size)}

    (action,) = grown(*case.pop("more", ()), **case).actions

    assert action.arguments["to_size"] == size


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ({"others": 80}, "the server has 97 for all"),
        ({"limits": replace(LIMITS, pool_mode="session")}, "its pool mode is session"),
        ({"limits": replace(LIMITS, default_size=20)}, "a pool_size of its own, 10"),
        ({"ceiling": 10}, "10 is the most"),
    ],
)
def test_where_the_pool_may_not_grow_it_is_said_and_no_size_is_set(case: dict[str, Any], why: str) -> None:
    plan = grown(**case)

    assert "set_pooler_size" not in [one.kind for one in plan.actions]
    assert any(why in refusal.reason for refusal in plan.refusals), plan.refusals


def test_a_pool_grows_only_when_nobody_is_to_blame_and_its_load_takes_it() -> None:
    held = grown(backends=(idle_in_transaction(1), waiting(2, 1)))
    idle = grown(pool=replace(BUSY, transactions_per_second=10))

    assert [one.kind for one in held.actions] == ["end_sessions"]
    assert [one.kind for one in idle.actions] == ["reconnect_pooler"]
    assert "set_pooler_size" not in [one.kind for one in grown(pool=replace(BUSY, paused=True)).actions]


def test_a_leaking_service_of_compose_is_restarted() -> None:
    restartable = POLICY.pools[0].model_copy(update={"restart": ServiceRestart(docker="compose", service="api")})
    policy = POLICY.model_copy(update={"pools": (restartable,)})

    plan = planned(*(backend(pid) for pid in range(1, 12)), policy=policy, services=(container("api"),))

    assert [one.kind for one in plan.actions] == ["restart_container"]


@pytest.mark.hazard("cryptofunk.DatabaseConnectionPoolCritical.r2.1")
@pytest.mark.parametrize(("most", "expected"), [(40, ["rollout_restart"]), (15, ["end_sessions"])])
def test_an_application_is_rolled_out_only_where_its_new_pods_find_connections(most: int, expected: list[str]) -> None:
    rolled = POLICY.pools[0].model_copy(update={"restart": WorkloadRestart(cluster="c", namespace="shop", name="web")})
    policy = POLICY.model_copy(update={"pools": (rolled,)})
    leaked = look(*(backend(pid, state_age=900.0) for pid in range(1, 12)), most=most)

    plan = plan_pool_relief(TARGET, PoolDiagnosis(look=leaked, workloads=(deployment(),)), policy, force=True)

    assert [action.kind for action in plan.actions] == expected
    refused = [refusal.reason for refusal in plan.refusals]
    assert refused == ([] if most == 40 else ["its new pods need 4 connections first"])


@pytest.mark.hazard(
    "cryptofunk.DatabaseConnectionPoolExhausted.d2",
    "trading_signals.DatabaseConnectionPoolExhausted.d1",
    "octollm.DatabaseConnectionPoolExhausted.d4",
)
def test_what_is_in_use_is_counted_from_sessions_and_an_open_transaction_is_in_use() -> None:
    seen = look(backend(1, state="idle"), running(2), idle_in_transaction(3), backend(4, application="web")).server

    use = pool_use(seen, POLICY.pools[0])

    assert (use.name, use.used, use.size) == ("api", 2, 8)
    found = findings_of(look(idle_in_transaction(3)), POLICY)
    assert any(one.title == "Idle in transaction: 1 session" and one.troubling for one in found)


def test_free_connections_need_nothing() -> None:
    plan = planned(backend(1), backend(2), force=False)

    assert (plan.goal, plan.actions) == (NOTHING_TO_DO, ())


@pytest.mark.hazard(
    "trading_signals.DatabaseConnectionPoolExhausted.r1.1",
    "trading_signals.DatabaseConnectionPoolExhausted.r1.2",
    "bybit_strategy_tester.ConnectionPoolExhausted.r2.1",
    "octollm.DatabaseConnectionPoolExhausted.r3.4",
    "trading_signals.HighAPILatency.r2.1",
    "trading_signals.HighAPILatency.r2.2",
    "octollm.HighErrorRate.r2.4",
)
@pytest.mark.parametrize(
    ("rate", "others", "says"),
    [
        (100, 10, "Raise the pool of api from 4 to 8"),
        (100, 80, "Put a pooler in front"),
        (40, 10, "Leave the pool of api at 4"),
    ],
)
def test_a_pool_grows_only_where_the_server_has_room_for_all_replicas(rate: float, others: int, says: str) -> None:
    busy = [running(pid, age=1) for pid in range(1, 9)]
    rest = [backend(pid, application="web") for pid in range(20, 20 + others)]

    plan = planned(*busy, *rest, needs=(Need(POLICY.pools[0], rate, 0.1),))

    assert any(proposal.title.startswith(says) for proposal in plan.proposals), plan.proposals
    assert plan.actions == ()
    raised = [proposal.detail for proposal in plan.proposals if proposal.title.startswith("Raise")]
    assert all("a restart alone does not read the new setting" in detail for detail in raised)


def test_the_documents_example_computes_to_fifteen() -> None:
    assert Need(PoolRule(application="api", size=20), 100, 0.1).connections == 15


@pytest.mark.parametrize(
    ("statement", "shape"),
    [
        ("select * from t where a = 'it''s' and b=42", "select \\x2a from t where a = ? and b=?"),
        ("alter role x password 'hunter2", "alter role x password ?"),
        ("select $q$hunter2$q$, $1, e'a\\'b' -- hunter2\n from t2", "select ?, $1, ? from t2"),
    ],
)
def test_a_statement_is_shown_without_its_values(statement: str, shape: str) -> None:
    assert shape_of(statement) == shape


def test_free_connections_count_only_when_the_restarted_application_has_rolled_out() -> None:
    free = [replace(look(backend(1)), at=float(at)) for at in (0, 700)]
    rolling = [free[0], replace(free[1], rolling="api: 1 of 2 pods are new")]

    assert judge_relief(free[0], free, POLICY, "").healthy
    verdict = judge_relief(free[0], rolling, POLICY, "")
    assert (verdict.healthy, verdict.reason) == (
        False,
        "1 % in use (the server: 1 of 97), and api: 1 of 2 pods are new.",
    )
