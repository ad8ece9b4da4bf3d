"""Connections that run out on a real server: who is to blame is ended, everybody else stays connected."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lab.database_sessions import DatabaseSessions
from lab.pgbouncer import PgBouncer
from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from lab.waiting import until
from nightshift.catalogue import Catalogue
from nightshift.catalogue.deciding import decide
from nightshift.gateway import approvals
from nightshift.gateway.attempts import Attempts
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.prefect_api import PrefectApi
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.pgbouncer import Console, limits, open_console, pools
from nightshift.remediation.clients.postgres import Session, open_postgres
from nightshift.remediation.connections import PostgresConnection, SecretReference
from nightshift.remediation.databases.backends import ServerLook
from nightshift.remediation.databases.pool_cause import blockers
from nightshift.remediation.databases.pool_planner import PoolDiagnosis, plan_pool_relief
from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy
from nightshift.remediation.databases.pool_use import PoolLook
from nightshift.remediation.databases.pooler_size import larger_pools, size_back
from nightshift.remediation.databases.session_plans import reconnect
from nightshift.remediation.decisions import Decision
from nightshift.remediation.errors import NoConnectionLeftError, TargetChangedError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Action, Plan, Severity, Target
from nightshift.tasks import database_session_actions as actions
from tests.integration.databases.conftest import FlowRuns
from tests.integration.kubernetes.flow_runs import Cluster, Runs

TARGET = Target(system="shop", path=("database", "main"))
HOSTILE = "api'); drop table item; --\n<b>"
POLICY = {
    "pools": [{"application": "api", "size": 4}],
    "blocking_over": "1s",
    "idle_in_transaction_over": "1s",
    "query_over": "1s",
    "idle_over": "1s",
    "wait": "1s",
    "hold": "2s",
    "rounds": 5,
}


@pytest.fixture
def night(sessions: DatabaseSessions, monkeypatch: pytest.MonkeyPatch) -> PostgresConnection:
    """The connection as Nightshift has it: no superuser."""
    monkeypatch.setenv("SHOP_DATABASE", sessions.url_of("night"))
    return PostgresConnection.model_validate({"type": "postgres", "url": {"env": "SHOP_DATABASE"}})


@pytest.fixture
def session(night: PostgresConnection) -> Iterator[Session]:
    with open_postgres("main", night) as opened:
        yield opened


def seen(session: Session) -> ServerLook:
    return look_at_server(session)


def plan(session: Session, **policy: object) -> Plan:
    looked = PoolLook(at=0, server=seen(session))
    return plan_pool_relief(
        TARGET, PoolDiagnosis(look=looked), ConnectionPoolPolicy.model_validate({**POLICY, **policy}), force=True
    )


def pid_of(one: psycopg.Connection[tuple[object, ...]]) -> int:
    return one.info.backend_pid


def pids_in(action: Action) -> set[int]:
    return {int(item.partition("@")[0]) for item in action.items}


@pytest.mark.hazard("cryptofunk.DatabaseConnectionPoolCritical.d2")
def test_only_the_root_of_a_chain_of_locks_is_to_blame(sessions: DatabaseSessions, session: Session) -> None:
    bystander = sessions.session("other")
    bystander.execute("begin")
    bystander.execute("lock table pg_class in access share mode")  # the join of the document names such a session
    root = sessions.in_transaction("api", row=1)
    middle = sessions.runs("web", "lock table item in access exclusive mode", in_block=True)
    sessions.wait_for("select where cardinality(pg_blocking_pids(%s)) > 0", pid_of(middle))
    last = sessions.waits("web", row=2)

    time.sleep(1.1)

    (found,) = blockers(seen(session), ConnectionPoolPolicy.model_validate(POLICY))

    assert found.backend is not None
    assert (found.backend.pid, found.waiting) == (pid_of(root), 2)
    assert pid_of(last) not in {found.backend.pid, pid_of(bystander)}


@pytest.mark.hazard(
    "cryptofunk.DatabaseConnectionPoolExhausted.r1.1",
    "trading_signals.DatabaseConnectionPoolExhausted.d3",
)
def test_the_flow_relieves_a_pool_and_no_innocent_session_is_touched(
    sessions: DatabaseSessions, flow_runs: FlowRuns, ledger: Ledger
) -> None:
    sessions.in_transaction("api", row=1)
    for _ in range(2):
        sessions.waits("api", row=1)
    slow = sessions.runs("report", "select pg_sleep(600)")
    leaked = [sessions.session("api") for _ in range(7)]
    innocent = [
        sessions.session("web"),
        sessions.runs("pg_dump", "select pg_sleep(600)"),
        sessions.runs("admin", "select pg_sleep(600)", user=""),
        sessions.session(HOSTILE),
        sessions.session("night tool", user="night"),
    ]
    time.sleep(1.3)

    policy = {**POLICY, "around": {"waits": True, "statements": True}}
    outcome = flow_runs.run("connection-pool-exhaustion", policy, sessions.url_of("night"))

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert "Timeout PgSleep" in report
    assert {pid_of(one) for one in innocent} <= sessions.pids()
    assert pid_of(slow) in sessions.pids()  # at most cancelled
    assert 0 < sum(pid_of(one) in sessions.pids() for one in leaked) <= 4
    assert "<b>" not in report
    assert sessions.admin.execute("select count(*) from item").fetchone() == (100,)


@pytest.mark.hazard("cryptofunk.DatabaseConnectionPoolCritical.r1.1", "octollm.DatabaseConnectionPoolExhausted.r1.2")
def test_a_pid_that_belongs_to_an_innocent_session_by_now_is_left_alone(
    sessions: DatabaseSessions, session: Session, night: PostgresConnection
) -> None:
    innocent = sessions.in_transaction("api")
    time.sleep(1.1)
    (action,) = plan(session).actions
    arguments = {
        **action.arguments,
        "sessions": [{**action.arguments["sessions"][0], "started": "2020-01-01 00:00+00"}],
    }  # type: ignore[index,call-overload,dict-item]
    stale = action.model_copy(update={"arguments": arguments})

    with pytest.raises(TargetChangedError):
        actions.end_sessions.precondition(stale, {"main": night})
    effect = actions.end_sessions.act.fn(stale, {"main": night})  # type: ignore[attr-defined]

    assert effect.evidence == {"told": 0, "left": 0, "left_alone": 1}
    assert pid_of(innocent) in sessions.pids()


def test_a_long_statement_is_cancelled_and_its_session_stays(
    sessions: DatabaseSessions, session: Session, night: PostgresConnection
) -> None:
    slow = sessions.runs("report", "select pg_sleep(600)")
    time.sleep(1.1)
    (action,) = plan(session).actions

    effect = actions.cancel_queries.act.fn(action, {"main": night})  # type: ignore[attr-defined]

    assert (action.kind, effect.summary) == ("cancel_queries", "1 session cancelled")
    assert actions.cancel_queries.observe(action, {"main": night}) is Observation.DONE
    assert slow.execute("select 1").fetchone() == (1,)


def test_a_session_that_went_on_since_it_was_chosen_is_left_alone(
    sessions: DatabaseSessions, session: Session, night: PostgresConnection
) -> None:
    quick = sessions.in_transaction("api")
    time.sleep(1.1)
    (action,) = plan(session).actions
    quick.execute("commit")

    effect = actions.end_sessions.act.fn(action, {"main": night})  # type: ignore[attr-defined]

    assert effect.amount.amount == 0
    assert pid_of(quick) in sessions.pids()


def test_an_account_without_sight_says_what_to_grant(sessions: DatabaseSessions) -> None:
    sessions.admin.execute("drop role if exists blind")
    sessions.admin.execute("create role blind login")
    sessions.in_transaction("api")
    with psycopg.connect(sessions.url_of("blind"), autocommit=True) as opened:
        looked = seen(opened)

    found = plan_pool_relief(
        TARGET,
        PoolDiagnosis(look=PoolLook(at=0, server=looked)),
        ConnectionPoolPolicy.model_validate(POLICY),
        force=True,
    )

    assert looked.hidden >= 2
    assert not looked.may_signal
    assert found.actions == ()
    assert any(refusal.lifted_by == "grant pg_monitor to blind" for refusal in found.refusals)


def test_a_server_without_any_connection_left_is_told_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"max_connections": "5", "superuser_reserved_connections": "2"}
    with PostgresServer(limits) as server, DatabaseSessions(server.url()) as full:
        taken = [full.session("api") for _ in range(2)]
        monkeypatch.setenv("FULL", full.url_of("night"))
        connection = PostgresConnection.model_validate({"type": "postgres", "url": {"env": "FULL"}})

        with pytest.raises(NoConnectionLeftError) as refused, open_postgres("main", connection):
            pass

        assert "too many clients. Keep some for Nightshift's account" in str(refused.value)
        assert {pid_of(one) for one in taken} <= full.pids()


def test_a_pooler_connects_anew_and_its_clients_stay(
    sessions: DatabaseSessions, patient: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PgBouncer(patient, sessions.admin.info.dbname, size=1) as pooler:
        monkeypatch.setenv("POOLER", pooler.console_url)
        connection = PostgresConnection.model_validate({"type": "postgres", "url": {"env": "POOLER"}})
        with (
            psycopg.connect(pooler.url(), autocommit=True) as client,
            psycopg.connect(pooler.url()) as busy,
            open_console("pooler", {"pooler": connection}) as console,
        ):
            before = client.execute("select pg_backend_pid()").fetchone()
            busy.execute("select 1")  # takes the only connection to the server
            waiting = threading.Thread(target=client.execute, args=("select 1",))
            waiting.start()
            (pool,) = until(lambda: [one for one in pools(console) if one.clients_waiting])
            action = reconnect(TARGET, "pooler", pool)

            actions.reconnect_pooler.precondition(action, {"pooler": connection})
            effect = actions.reconnect_pooler.act.fn(action, {"pooler": connection})  # type: ignore[attr-defined]
            busy.rollback()
            waiting.join(60)

            after = client.execute("select pg_backend_pid()").fetchone()
    assert (pool.database, pool.paused) == (pooler.database, False)
    assert "anew" in effect.summary
    assert before != after


class Load:
    """Clients of a pooler that run one transaction after the other, and how many they ran, for one context."""

    def __init__(self, url: str, clients: int) -> None:
        self._url, self._stop, self.done = url, threading.Event(), 0
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True, prepare_threshold=None) as client:
            while not self._stop.is_set():
                client.execute("select pg_sleep(0.2)")
                self.done += 1


def until_load_is_known(console: Console) -> None:
    """PgBouncer tells averages of the period before this one; one that the load filled in part tells of less load."""

    def shown() -> bool:
        load = (one.transactions_per_second * one.seconds_per_transaction / one.size for one in pools(console))
        return any(busy > 0.8 for busy in load)

    until(shown)


def default_size(console: Console) -> int:
    return limits(console).default_size


def test_a_pool_too_small_for_its_load_grows_when_a_person_says_so(
    sessions: DatabaseSessions,
    patient: PostgresServer,
    flow_runs: FlowRuns,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow, key = "connection-pool-exhaustion", "shop/database/main"
    with PgBouncer(patient, sessions.admin.info.dbname, size=2) as pooler, Load(pooler.url(), 3) as load:
        monkeypatch.setenv("POOLER", pooler.console_url)
        entry = {"type": "postgres", "url": {"env": "POOLER"}}
        policy = {"pooler": {"console": "pooler", "growth": {"ceiling": 8}}, "wait": "60s", "hold": "1s", "rounds": 1}
        environment = flow_runs.declare(flow, policy, sessions.url_of("night"), connections={"pooler": entry})
        trouble = Trouble("shop", "Trouble", flow, TARGET, Severity.CRITICAL, "the pool is full")
        with ledger.engine.begin() as connection:
            incident = ledger.incidents.open(connection, trouble)[0]
        run = flow_runs.schedule(flow, incident, key)
        pooler_connection = PostgresConnection.model_validate(entry)
        with open_console("pooler", {"pooler": pooler_connection}) as console:
            until_load_is_known(console)
            assert flow_runs.work_on(run, flow, environment) == "Suspended", report_of(ledger, incident)
            assert default_size(console) == 2, "nobody has said yes"

            system = Catalogue.load(flow_runs.runbooks).systems["shop"]
            asked = ledger.approvals.open_one(incident)
            assert asked is not None
            yes = Decision("root", "command line, login root", approve=True)
            assert decide(ledger, system, system.runbooks["Trouble"], incident, asked.digest, yes) is None
            with PrefectApi(flow_runs.prefect_url) as api:
                attempts = Attempts(ledger, Catalogue.load(flow_runs.runbooks), Metrics(ledger), 3)
                assert approvals.deliver(ledger, api, attempts) == 1
            outcome = flow_runs.work_on(run, flow, environment)

            report = report_of(ledger, incident)
            assert outcome == "Resolved", report
            assert default_size(console) == 4  # three, in steps of two
            assert load.done > 0
            assert "pgbouncer.ini" in report


def test_a_size_is_set_back_and_not_set_over_somebody_elses(
    sessions: DatabaseSessions, patient: PostgresServer, night: PostgresConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PgBouncer(patient, sessions.admin.info.dbname, size=2) as pooler:
        monkeypatch.setenv("POOLER", pooler.console_url)
        connections = {"main": night, "pooler": PostgresConnection(type="postgres", url=SecretReference(env="POOLER"))}
        with Load(pooler.url(), 4), open_console("pooler", connections) as console:
            until_load_is_known(console)
            looked = PoolLook(at=0, server=seen_by(night), pooler=pools(console), pooler_limits=limits(console))
            rule = ConnectionPoolPolicy.model_validate({"pooler": {"console": "pooler", "growth": {"ceiling": 3}}})
            action = larger_pools(TARGET, looked, rule)
            assert isinstance(action, Action), looked.pooler
            kind = actions.set_pooler_size

            kind.precondition(action, connections)
            kind.act.fn(action, connections)  # type: ignore[attr-defined]

            until(lambda: [(pool.size, pool.active) for pool in pools(console)] == [(3, 3)])
            assert kind.observe(action, connections) is Observation.DONE
            with pytest.raises(TargetChangedError, match="is 3 by now"):
                kind.precondition(action, connections)

            kind.act.fn(size_back(action, None), connections)  # type: ignore[attr-defined]

            assert [pool.size for pool in pools(console)] == [2]
            assert kind.observe(action, connections) is Observation.NOT_DONE


def seen_by(connection: PostgresConnection) -> ServerLook:
    with open_postgres("main", connection) as opened:
        return look_at_server(opened)


def lent(*each: float) -> str:
    """What processes of the API say: so many connections are lent out, of the ten that each has."""
    return "".join(f'lent_connections{{service="api",pod="api-{n}"}} {one}\n' for n, one in enumerate(each))


def lab_cluster() -> Cluster:
    cluster = Cluster()
    cluster.add_node("n1")
    cluster.add_deployment("api", namespace="shop", replicas=2)
    return cluster


OWN_WORD = {
    "pools": [
        {
            "application": "shop-api",
            "size": 10,
            "replicas": 2,
            "restart": {"cluster": "cluster", "namespace": "shop", "name": "api"},
        }
    ],
    "metrics": {"prometheus": "metrics", "in_use": "lent_connections", "fixed_size": 10, "application": "shop-api"},
    "wait": "60s",
    "hold": "2s",
}


def test_connections_lent_to_nobody_who_works_are_given_back_by_a_restart(
    sessions: DatabaseSessions, flow_runs: FlowRuns, prefect: PrefectServer, ledger: Ledger, tmp_path: Path
) -> None:
    held = [sessions.session("shop-api") for _ in range(12)]
    with lab_cluster() as cluster, PrometheusProcess(lent(2, 10)) as prometheus:
        cluster.wait_until(lambda: cluster.available("api") == 2)
        runs = Runs(cluster, prefect, "", tmp_path)
        old = {pod["metadata"]["name"] for pod in cluster.pods("api")}

        def restarted() -> bool:
            return cluster.available("api") == 2 and not old & {pod["metadata"]["name"] for pod in cluster.pods("api")}

        def gives_back() -> None:
            cluster.wait_until(restarted, seconds=100)
            for one in held:
                one.close()
            prometheus.page = lent(0, 0)

        ending = threading.Thread(target=gives_back, daemon=True)
        ending.start()
        outcome = flow_runs.run(
            "connection-pool-exhaustion",
            OWN_WORD,
            sessions.url_of("night"),
            connections={
                "metrics": {"type": "http", "url": prometheus.url},
                "cluster": runs.connection(["connection-pool-exhaustion"]),
            },
        )
        ending.join(timeout=10)
        done = restarted()

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert done
    assert "shop-api, by its own word: 10 of 10 are in use, while 0 of its 12 sessions do anything" in report


def test_free_sessions_are_not_called_free_connections_while_the_applications_count_is_not_known(
    sessions: DatabaseSessions, flow_runs: FlowRuns, ledger: Ledger
) -> None:
    sessions.session("shop-api")
    policy = {**OWN_WORD, "pools": [{"application": "shop-api", "size": 10}]}
    with PrometheusProcess("up_at_all 1\n") as prometheus:
        place = {"metrics": {"type": "http", "url": prometheus.url}}
        prometheus.kill()
        outcome = flow_runs.run("connection-pool-exhaustion", policy, sessions.url_of("night"), connections=place)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert "what the applications say of their pools is not known" in report
