"""Dead rows, replication slots, vacuums and extensions of a real server: what is done, and what is left alone."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from lab.database_sessions import DatabaseSessions
from lab.postgres import PostgresServer, binaries
from nightshift.remediation.clients import upkeep
from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.connections import PostgresConnection
from nightshift.remediation.databases.query_planner import QueryLook, plan_queries
from nightshift.remediation.databases.query_policy import QueryPolicy
from nightshift.remediation.databases.upkeep import DropSlot, Upkeep, create_extension, extension_dropped
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Action, Quantity, Risk, Target
from nightshift.tasks import upkeep_actions as actions
from tests.integration.databases.conftest import FlowRuns

TARGET = Target(system="shop", path=("database", "main"))
RULE = Upkeep(dead_over_rows=1000)


@pytest.fixture
def dead(sessions: DatabaseSessions) -> DatabaseSessions:
    """A table, most of whose rows are dead, and which nothing vacuums."""
    sessions.admin.execute("create table trade (id int, note text) with (autovacuum_enabled = false)")
    sessions.admin.execute("insert into trade select g, repeat('x', 100) from generate_series(1, 20000) g")
    sessions.admin.execute("delete from trade where id > 5000")
    sessions.admin.execute("alter table trade owner to night")
    sessions.wait_for("select from pg_stat_user_tables where relname = 'trade' and n_dead_tup = 15000")
    return sessions


def connection(sessions: DatabaseSessions, monkeypatch: pytest.MonkeyPatch, user: str = "night") -> PostgresConnection:
    monkeypatch.setenv("SHOP_DATABASE", sessions.url_of(user))
    return PostgresConnection.model_validate({"type": "postgres", "url": {"env": "SHOP_DATABASE"}})


def act(action: Action, main: PostgresConnection) -> Any:
    """Through its precondition, as the gate does."""
    kind = next(one for one in vars(actions).values() if getattr(one, "name", "") == action.kind)
    assert list(kind.permitted(action, {"main": main})) == []
    kind.precondition(action, {"main": main})
    return kind.act.fn(action, {"main": main})


def look(main: PostgresConnection, *, closely: bool = False, rule: Upkeep = RULE) -> QueryLook:
    with open_postgres("main", main) as session:
        kept = upkeep.look_at_upkeep(session, rule, closely=closely)
        return QueryLook(at=0, server=look_at_server(session), upkeep=kept)


def test_dead_rows_are_vacuumed_and_the_table_is_never_written_anew(
    dead: DatabaseSessions, flow_runs: FlowRuns, ledger: Ledger
) -> None:
    node = "select pg_relation_filenode('trade')"
    before = dead.admin.execute(node).fetchone()
    dead.admin.execute("create extension pgstattuple")
    policy = {"upkeep": {"dead_over_rows": 1000}, "wait": "5s", "hold": "1s"}

    outcome = flow_runs.run("database-query-performance", policy, dead.url_of("night"), mode="assist")

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    left = dead.admin.execute("select n_dead_tup, vacuum_count from pg_stat_user_tables where relname = 'trade'")
    assert left.fetchone() == (0, 1)
    assert dead.admin.execute(node).fetchone() == before, "FULL would have made another file"
    assert "0 dead rows, 15,000 before" in report
    assert dead.admin.execute("select count(*) from trade").fetchone() == (5000,)


def test_a_vacuum_under_way_is_told_with_its_progress_and_not_begun_twice(
    dead: DatabaseSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = connection(dead, monkeypatch)
    (planned,) = plan_queries(TARGET, look(main), QueryPolicy(upkeep=RULE)).actions
    slow = dead.session("by hand", user="night")
    for setting in ("vacuum_cost_delay = '100ms'", "vacuum_cost_limit = 5", "vacuum_cost_page_miss = 10"):
        slow.execute(f"set {setting}")
    with running(slow, "vacuum trade"):
        dead.wait_for("select from pg_stat_progress_vacuum where phase = 'scanning heap' and heap_blks_scanned > 0")
        seen = look(main, closely=True)
        plan = plan_queries(TARGET, seen, QueryPolicy(upkeep=RULE, query_over=1))
        with pytest.raises(TargetChangedError, match="being vacuumed"):
            actions.vacuum_table.precondition(planned, {"main": main})

    assert plan.actions == (), "neither a second vacuum, nor an end of the first"
    assert "it is being vacuumed at this moment: scanning heap" in plan.refusals[0].reason
    assert "more at this pace" in plan.refusals[0].reason


@contextmanager
def running(session: psycopg.Connection[Any], statement: str) -> Iterator[None]:
    """While a session runs a statement; then it is cancelled."""

    def run() -> None:
        try:
            session.execute(statement)
        except psycopg.errors.QueryCanceled:
            return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        session.cancel()
        thread.join(10)


def test_old_snapshots_are_named_instead_of_a_vacuum_that_would_bring_nothing(
    dead: DatabaseSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = dead.session("report")
    holder.execute("begin isolation level repeatable read")
    holder.execute("select 1")
    time.sleep(1.1)
    rule = RULE.model_copy(update={"snapshot_over": 1})

    plan = plan_queries(TARGET, look(connection(dead, monkeypatch), rule=rule), QueryPolicy(upkeep=rule))

    assert plan.actions == ()
    assert "report (pid" in plan.refusals[0].reason


def slot_action(at: str) -> Action:
    arguments = DropSlot(slot="old_standbys", kind="physical", at=at)
    return Action(
        kind=arguments.KIND,
        target=TARGET,
        arguments=arguments.to_json(),
        items=(f"slot {arguments.slot}",),
        title="Drop it",
        reason="",
        risk=Risk.HIGH,
        bound=Quantity(amount=1, unit="slots"),
        undo="cannot be undone",
    )


def test_exactly_the_slot_that_was_seen_is_dropped_and_never_one_that_is_read_from(
    patient: PostgresServer, sessions: DatabaseSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = connection(sessions, monkeypatch, user="")
    sessions.admin.execute("select pg_create_physical_replication_slot('old_standbys', true)")
    sessions.admin.execute("create table filler as select g from generate_series(1, 20000) g")
    rule = RULE.model_copy(update={"slot_holds_over": 1})
    (slot,) = [one for one in look(main).upkeep.slots if one.name == "old_standbys"]  # type: ignore[union-attr]
    plan = plan_queries(TARGET, look(main, rule=rule), QueryPolicy(upkeep=rule))

    assert plan.actions == (), "a standby was seen a moment ago"
    assert "a standby read from it" in plan.refusals[0].reason
    with pytest.raises(TargetChangedError, match="read from the slot since"):
        actions.drop_replication_slot.precondition(slot_action("0/1"), {"main": main})
    with reader(patient):
        sessions.wait_for("select from pg_replication_slots where active")
        with pytest.raises(TargetChangedError, match="reads from the slot by now"):
            actions.drop_replication_slot.precondition(slot_action(slot.at), {"main": main})
    sessions.wait_for("select from pg_replication_slots where not active")
    (now,) = [one for one in look(main).upkeep.slots if one.name == "old_standbys"]  # type: ignore[union-attr]
    done = act(slot_action(now.at), main)

    assert "the slot old_standbys is gone" in done.summary
    assert sessions.admin.execute("select count(*) from pg_replication_slots").fetchone() == (0,)


@contextmanager
def reader(patient: PostgresServer) -> Iterator[None]:
    """A standby's stand-in that reads from the slot."""
    place = patient.cluster.parent / "received"
    place.mkdir(exist_ok=True)
    command = [str(binaries() / "pg_receivewal"), "-d", patient.url(), "-S", "old_standbys", "-D", str(place)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def test_an_extension_is_made_by_who_may_and_dropped_only_while_nothing_uses_it(
    sessions: DatabaseSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = create_extension(TARGET, "vector", "", "")
    night = connection(sessions, monkeypatch)
    (lack,) = actions.create_extension.permitted(make, {"main": night})  # type: ignore[operator]
    assert "grant create on database" in lack.grant
    main = connection(sessions, monkeypatch, user="")

    act(make, main)
    assert actions.create_extension.observe(make, {"main": main}) == "done"
    sessions.admin.execute("create table decision (embedding vector(3))")
    with pytest.raises(TargetChangedError, match="uses the extension"):
        act(extension_dropped(make, None), main)
    sessions.admin.execute("drop table decision")
    act(extension_dropped(make, None), main)

    assert sessions.admin.execute("select from pg_extension where extname = 'vector'").fetchone() is None
