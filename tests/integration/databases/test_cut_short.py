"""Runs killed at each call that changes a data store, and while it is under way: done once, or a person is called."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import TypeAdapter

from lab.cut_short import CutTrouble, comes_to_a_good_end
from lab.database_sessions import DatabaseSessions
from lab.pgbouncer import PgBouncer
from lab.postgres import PostgresServer
from lab.redis_server import RedisServer
from lab.waiting import until
from nightshift.remediation.caches.arguments import SetRedisMemory
from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.indexes import index_state
from nightshift.remediation.clients.pgbouncer import open_console, pools
from nightshift.remediation.connections import Connection, PostgresConnection
from nightshift.remediation.databases import indexes, session_plans
from nightshift.remediation.databases.backends import Backend
from nightshift.remediation.errors import TargetUnreachableError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Action, Quantity, Risk, Target
from nightshift.remediation.workers.objects import Message
from nightshift.remediation.workers.repairing import set_aside
from nightshift.tasks import database_session_actions as actions

TARGET = Target(system="shop", path=("database", "main"))
MIB = 2**20


def connections(folder: Path, **urls: str) -> dict[str, Any]:
    """As written in the catalogue."""
    for name, url in urls.items():
        (folder / name).write_text(url)
    kinds = {"cache": "redis", "broker": "redis"}
    return {name: {"type": kinds.get(name, "postgres"), "url": {"file": str(folder / name)}} for name in urls}


def seen(sessions: DatabaseSessions, pid: int) -> Backend:
    with psycopg.connect(sessions.url_of("night"), autocommit=True) as opened:
        (found,) = [one for one in look_at_server(opened).backends if one.pid == pid]
    return found


@pytest.mark.parametrize("during", [False, True])
def test_a_session_is_ended_once_and_the_others_stay(
    sessions: DatabaseSessions, ledger: Ledger, database_url: str, tmp_path: Path, during: bool
) -> None:
    innocent = sessions.in_transaction("web", row=2)

    def make() -> CutTrouble:
        guilty = sessions.in_transaction("api", row=1)
        one = seen(sessions, guilty.info.backend_pid)
        ending = session_plans.Ending.OPEN_TRANSACTION
        action = session_plans.end_sessions(TARGET, [one], "it leaks", (), ending)

        def state() -> str:
            if innocent.info.backend_pid not in sessions.pids():
                return "an innocent session has ended"
            return "done" if guilty.info.backend_pid not in sessions.pids() else "as before"

        return CutTrouble(action, state)

    given = connections(tmp_path, main=sessions.url_of("night"))
    comes_to_a_good_end(ledger, database_url, make, given, during=during)


def test_a_statement_is_cancelled_once_and_its_session_stays(
    sessions: DatabaseSessions, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    def make() -> CutTrouble:
        slow = sessions.runs("report", "select pg_sleep(600)")
        action = session_plans.cancel_queries(TARGET, [seen(sessions, slow.info.backend_pid)], "it is slow", ())

        def state() -> str:
            if slow.info.backend_pid not in sessions.pids():
                return "its session has ended"
            return "done" if seen(sessions, slow.info.backend_pid).state == "idle" else "as before"

        return CutTrouble(action, state)

    comes_to_a_good_end(ledger, database_url, make, connections(tmp_path, main=sessions.url_of("night")))


def test_a_connection_that_breaks_while_a_session_is_ended_is_settled_by_looking(
    sessions: DatabaseSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    guilty = sessions.in_transaction("api")
    one = seen(sessions, guilty.info.backend_pid)
    action = session_plans.end_sessions(TARGET, [one], "it leaks", (), session_plans.Ending.OPEN_TRANSACTION)
    monkeypatch.setenv("SHOP_DATABASE", sessions.url_of("night"))
    found = PostgresConnection.model_validate({"type": "postgres", "url": {"env": "SHOP_DATABASE"}})
    wait = actions.backends.wait_until_gone

    def our_session_ends(session: psycopg.Connection[Any], told: Any, seconds: float) -> int:
        sessions.admin.execute("select pg_terminate_backend(%s)", [session.info.backend_pid])
        return wait(session, told, seconds)

    monkeypatch.setattr(actions.backends, "wait_until_gone", our_session_ends)

    with pytest.raises(TargetUnreachableError):
        actions.end_sessions.act.fn(action, {"main": found})  # type: ignore[attr-defined]

    sessions.wait_for("select where not exists (select from pg_stat_activity where pid = %s)", guilty.info.backend_pid)
    assert actions.end_sessions.observe(action, {"main": found}) == "done"


@pytest.fixture
def searched(sessions: DatabaseSessions) -> DatabaseSessions:
    sessions.admin.execute("create extension vector")
    sessions.admin.execute("grant create on schema public to night")
    return sessions


def made_index(searched: DatabaseSessions, *, valid: bool = True, name: str = "found") -> indexes.IndexState:
    """A table of 50 vectors and its index."""
    admin = searched.admin
    admin.execute("drop table if exists decision")
    admin.execute(
        "create table decision as select g as id, '[1,2,3]'::vector(3) as embedding from generate_series(1, 50) g"
    )
    admin.execute("create index found on decision using ivfflat (embedding vector_cosine_ops) with (lists = 2)")
    if name != "found":
        admin.execute(f"create index {name} on decision (id)")
    if not valid:
        admin.execute("update pg_index set indisvalid = false where indexrelid = %s::regclass", [name])
    admin.execute("alter table decision owner to night")
    state = index_state(admin, "public", name)
    assert state is not None
    return state


def index_after(searched: DatabaseSessions, before: indexes.IndexState) -> str:
    """One valid index under the name from before, and no other."""
    rows = searched.admin.execute(
        "select c.relname, i.indexrelid::bigint, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid "
        "where i.indrelid = 'decision'::regclass"
    ).fetchall()
    if len(rows) != 1 or rows[0][0] != before.name:
        return f"left: {rows}"
    return "done" if rows[0][2] and rows[0][1] != before.oid else "as before"


@pytest.mark.parametrize("how", ["rebuilt", "swapped"])
def test_an_index_is_replaced_once_and_nothing_is_left_beside_it(
    searched: DatabaseSessions, ledger: Ledger, database_url: str, tmp_path: Path, how: str
) -> None:
    def make() -> CutTrouble:
        before = made_index(searched)
        reason = "searches are slow"
        action = (
            indexes.reindex(TARGET, before, reason) if how == "rebuilt" else indexes.swap(TARGET, before, 3, reason)
        )
        return CutTrouble(action, lambda: index_after(searched, before))

    comes_to_a_good_end(ledger, database_url, make, connections(tmp_path, main=searched.url_of("night")))


def test_an_invalid_copy_is_dropped_once_and_the_index_stays(
    searched: DatabaseSessions, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    def make() -> CutTrouble:
        left = made_index(searched, valid=False, name="found_ccnew")

        def state() -> str:
            rows = searched.admin.execute("select indexname from pg_indexes where tablename = 'decision'").fetchall()
            return {1: "done", 2: "as before"}[len(rows)] if ("found",) in rows else f"left: {rows}"

        return CutTrouble(indexes.drop_leftover(TARGET, left), state)

    comes_to_a_good_end(ledger, database_url, make, connections(tmp_path, main=searched.url_of("night")))


def test_a_pooler_connects_anew_and_no_client_is_broken_off(
    sessions: DatabaseSessions, patient: PostgresServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:

        def make() -> CutTrouble:
            pooler = stack.enter_context(PgBouncer(patient, sessions.admin.info.dbname, size=1))
            given = connections(tmp_path, pooler=pooler.console_url)
            busy = stack.enter_context(psycopg.connect(pooler.url()))
            client = stack.enter_context(psycopg.connect(pooler.url(), autocommit=True))
            busy.execute("select 1")  # takes the only connection to the server
            waiting = threading.Thread(target=client.execute, args=("select 1",))
            waiting.start()
            with open_console("pooler", TypeAdapter(dict[str, Connection]).validate_python(given)) as console:
                found = until(lambda: [one for one in pools(console) if one.clients_waiting])

            def state() -> str:
                works = busy.execute("select 2").fetchone() == (2,)
                busy.rollback()
                waiting.join(60)
                return "done" if works and not waiting.is_alive() else "a client was broken off"

            return CutTrouble(session_plans.reconnect(TARGET, "pooler", found[0]), state)

        comes_to_a_good_end(ledger, database_url, make, connections(tmp_path, pooler=""))


def test_a_limit_of_memory_is_set_once_and_the_policy_stays(ledger: Ledger, database_url: str, tmp_path: Path) -> None:
    with RedisServer("--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru") as server:
        run_id = str(server.client.info("server")["run_id"])
        arguments = SetRedisMemory(
            redis="cache", run_id=run_id, policy="allkeys-lru", from_maxmemory=8 * MIB, to_maxmemory=9 * MIB
        )

        def make() -> CutTrouble:
            server.client.config_set("maxmemory", 8 * MIB)
            action = Action(
                kind=SetRedisMemory.KIND,
                target=Target(system="shop", path=("redis", "cache")),
                arguments=arguments.to_json(),
                title="more",
                reason="full",
                risk=Risk.HIGH,
                bound=Quantity(amount=MIB, unit="bytes"),
                undo="yes",
            )

            def state() -> str:
                now = server.client.config_get("maxmemory*")
                ends = {str(9 * MIB): "done", str(8 * MIB): "as before"}
                return ends.get(now["maxmemory"], "other") if now["maxmemory-policy"] == "allkeys-lru" else "policy"

            return CutTrouble(action, state)

        comes_to_a_good_end(ledger, database_url, make, connections(tmp_path, cache=server.url))


def test_a_task_is_set_aside_once_and_never_lost(ledger: Ledger, database_url: str, tmp_path: Path) -> None:
    with RedisServer() as server:
        client = server.client

        def make() -> CutTrouble:
            client.flushall()
            texts = [json.dumps({"headers": {"id": f"t{n}", "task": "shop.deadly"}, "body": ""}) for n in range(3)]
            client.rpush("celery", *texts)
            message = Message(queue="celery", task="shop.deadly", id="t2", redelivered=True, size=1, taken=3)
            target = Target(system="shop", path=("compose", "main", "service", "celery"))
            action = set_aside(target, "broker", "celery", [message])

            def state() -> str:
                kept: list[str] = client.lrange("nightshift:set-aside:celery", 0, -1)  # type: ignore[assignment]
                waiting: list[str] = client.lrange("celery", 0, -1)  # type: ignore[assignment]
                ends = {(tuple(texts[:2]), (texts[2],)): "done", (tuple(texts), ()): "as before"}
                return ends.get((tuple(waiting), tuple(kept)), f"waiting {waiting}, kept {kept}")

            return CutTrouble(action, state)

        comes_to_a_good_end(ledger, database_url, make, connections(tmp_path, broker=server.url))
