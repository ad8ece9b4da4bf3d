"""Who is to blame for connections that run out, and what a plan never touches."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.compose.objects import Container, ServiceLook
from nightshift.remediation.databases.backends import Backend, ServerLook, why_untouchable
from nightshift.remediation.databases.pool_cause import Need, blockers
from nightshift.remediation.databases.pool_planner import NOTHING_TO_DO, PoolDiagnosis, plan_pool_relief
from nightshift.remediation.databases.pool_policy import (
    ConnectionPoolPolicy,
    PoolerRule,
    PoolRule,
    ServiceRestart,
)
from nightshift.remediation.databases.pool_use import PoolerPool, PoolLook, Use
from nightshift.remediation.databases.query_text import shape_of
from nightshift.remediation.models import Plan, Risk, Target

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


def test_open_transactions_end_by_application_and_no_more_than_the_policy_takes() -> None:
    many = [idle_in_transaction(pid) for pid in range(1, 14)]
    other = idle_in_transaction(20, application="web")

    plan = planned(*many, other)

    assert sorted(len(action.items) for action in plan.actions) == [1, 10]
    assert any("3 further sessions" in refusal.what for refusal in plan.refusals)
    assert all(action.bound.amount == len(action.items) for action in plan.actions)


def test_a_leak_ends_idle_sessions_down_to_the_pool_and_no_others() -> None:
    plan = planned(*(backend(pid, state_age=700.0 + pid) for pid in range(1, 12)), backend(20, state_age=5.0))

    (action,) = plan.actions
    assert touched(plan) == {11, 10, 9, 8}
    assert "beyond the pool's size" in action.reason


def test_idle_sessions_within_their_pool_are_what_a_healthy_pool_looks_like() -> None:
    plan = planned(*(backend(pid, state_age=90_000.0) for pid in range(1, 9)), backend(20, application="web"))

    assert plan.actions == ()


def test_a_pool_that_says_it_is_full_while_its_sessions_do_nothing_leaks() -> None:
    full = PoolDiagnosis(look=look(*(backend(pid) for pid in range(1, 9)), metrics=(Use(name="api", used=8, size=8),)))

    plan = plan_pool_relief(TARGET, full, POLICY)

    assert plan.actions == ()
    assert [proposal.title for proposal in plan.proposals][:1] == ["Find where api does not give its connections back"]


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


def test_a_leaking_service_of_compose_is_restarted() -> None:
    restartable = POLICY.pools[0].model_copy(update={"restart": ServiceRestart(docker="compose", service="api")})
    policy = POLICY.model_copy(update={"pools": (restartable,)})

    plan = planned(*(backend(pid) for pid in range(1, 12)), policy=policy, services=(container("api"),))

    assert [one.kind for one in plan.actions] == ["restart_container"]


def test_free_connections_need_nothing() -> None:
    plan = planned(backend(1), backend(2), force=False)

    assert (plan.goal, plan.actions) == (NOTHING_TO_DO, ())


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
