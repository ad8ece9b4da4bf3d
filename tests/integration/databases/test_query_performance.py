"""Slow and failing searches on a real server with pgvector: an index is rebuilt beside itself, never dropped first."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from lab.database_sessions import DatabaseSessions
from lab.postgres import PostgresServer
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients import indexes
from nightshift.remediation.clients.backends import look_at_server
from nightshift.remediation.clients.postgres import Session, open_postgres
from nightshift.remediation.connections import PostgresConnection
from nightshift.remediation.databases.indexes import IndexState, drop_leftover, reindex, swap
from nightshift.remediation.databases.query_planner import QueryLook, plan_queries
from nightshift.remediation.databases.query_policy import EmbeddingRule, QueryPolicy
from nightshift.remediation.errors import NightshiftError, TargetChangedError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Target
from nightshift.tasks import database_session_actions as sessions_actions
from nightshift.tasks import index_actions as actions
from tests.integration.databases.conftest import FlowRuns

TARGET = Target(system="shop", path=("database", "main"))
INDEX = "decision embedding's idx"
EMBEDDING = EmbeddingRule(table="decision", column="embedding", dimensions=3)


@pytest.fixture
def searches(sessions: DatabaseSessions) -> DatabaseSessions:
    """A table of vectors with an index that only its quotes tell from a statement."""
    admin = sessions.admin
    admin.execute("create extension vector")
    admin.execute("create table decision (id int, embedding vector(3))")
    admin.execute(
        "insert into decision select g, array[random(), random(), random()]::vector from generate_series(1, 500) g"
    )
    admin.execute("insert into decision values (0, null)")
    name = INDEX.replace("'", "'")
    admin.execute(f'create index "{name}" on decision using ivfflat (embedding vector_cosine_ops) with (lists = 5)')
    admin.execute("alter table decision owner to night")
    admin.execute("grant create on schema public to night")
    admin.execute("analyze decision")
    return sessions


@pytest.fixture
def night(searches: DatabaseSessions, monkeypatch: pytest.MonkeyPatch) -> PostgresConnection:
    monkeypatch.setenv("SHOP_DATABASE", searches.url_of("night"))
    return PostgresConnection.model_validate({"type": "postgres", "url": {"env": "SHOP_DATABASE"}})


def state(session: Session) -> IndexState:
    found = indexes.index_state(session, "public", INDEX)
    assert found is not None
    return found


def invalidate(searches: DatabaseSessions) -> None:
    """What a failed CREATE INDEX CONCURRENTLY leaves."""
    searches.admin.execute(
        "update pg_index set indisvalid = false where indexrelid = (select oid from pg_class where relname = %s)",
        [INDEX],
    )


@pytest.mark.hazard("cryptofunk.VectorSearchHighLatency.r2.1", "cryptofunk.VectorSearchCriticalErrorRate.d3")
def test_the_flow_rebuilds_an_invalid_index_and_removes_what_an_earlier_try_left(
    searches: DatabaseSessions, flow_runs: FlowRuns, ledger: Ledger
) -> None:
    invalidate(searches)
    searches.admin.execute('create index "decision_ccnew" on decision (id)')
    searches.admin.execute("update pg_index set indisvalid = false where indexrelid = 'decision_ccnew'::regclass")
    policy = {
        "indexes": [{"index": INDEX}],
        "embedding": {"table": "decision", "column": "embedding", "dimensions": 3},
        "wait": "2s",
        "hold": "1s",
    }

    outcome = flow_runs.run("vector-search-errors", policy, searches.url_of("night"))

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    rows = searches.admin.execute(
        "select c.relname, i.indisvalid from pg_index i join pg_class c on c.oid = i.indexrelid "
        "where i.indrelid = 'decision'::regclass"
    )
    assert rows.fetchall() == [(INDEX, True)]
    assert searches.admin.execute("select count(*) from decision").fetchone() == (501,)


@pytest.mark.hazard("cryptofunk.VectorSearchHighLatency.r2.1")
def test_a_rebuild_that_fails_leaves_nothing_behind(
    searches: DatabaseSessions, night: PostgresConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_postgres("main", night) as session:
        before = state(session)
    holder = searches.session("report", user="")
    holder.execute("begin")
    holder.execute("update decision set id = id where id = 1")  # a build waits for every writer
    monkeypatch.setattr(actions, "BUILD_SECONDS", 3.0)

    def let_go() -> None:
        building = "select from pg_stat_progress_create_index"
        searches.wait_for(building)
        searches.wait_for(f"select where not exists ({building})")
        holder.execute("rollback")

    ends = threading.Thread(target=let_go)
    ends.start()

    with pytest.raises(NightshiftError):
        actions.reindex_index.act.fn(reindex(TARGET, before, ""), {"main": night})  # type: ignore[attr-defined]

    ends.join()
    with open_postgres("main", night) as session:
        assert (state(session).oid, state(session).valid) == (before.oid, True)
        assert indexes.leftovers_beside(session, [before]) == ()


def test_another_index_takes_the_place_of_the_old_one(searches: DatabaseSessions, night: PostgresConnection) -> None:
    with open_postgres("main", night) as session:
        before = state(session)
    action = swap(TARGET, before, 20, "")

    actions.swap_vector_index.act.fn(action, {"main": night})  # type: ignore[attr-defined]

    assert actions.swap_vector_index.observe(action, {"main": night}) is Observation.DONE
    (definition,) = searches.admin.execute(
        "select indexdef from pg_indexes where indexname = %s", [INDEX]
    ).fetchone() or ("",)
    assert "lists='20'" in definition
    assert searches.admin.execute("select count(*) from pg_indexes where tablename = 'decision'").fetchone() == (1,)


@pytest.mark.hazard("cryptofunk.VectorSearchHighLatency.r4.1")
def test_while_the_other_index_is_built_searches_have_the_old_one_and_writes_go_on(
    searches: DatabaseSessions, night: PostgresConnection
) -> None:
    with open_postgres("main", night) as session:
        before = state(session)
    writer = searches.session("report", user="")
    writer.execute("begin")
    writer.execute("insert into decision values (-1, null)")  # a build waits for every writer
    act = threading.Thread(
        target=actions.swap_vector_index.act.fn,  # type: ignore[attr-defined]
        args=(swap(TARGET, before, 20, ""), {"main": night}),
    )
    act.start()
    searches.wait_for("select from pg_stat_progress_create_index")

    searches.admin.execute("set lock_timeout = '2s'")
    searches.admin.execute("insert into decision values (-2, null)")
    with open_postgres("main", night) as session:
        assert (state(session).oid, state(session).valid) == (before.oid, True)
    writer.execute("commit")
    act.join(120)

    with open_postgres("main", night) as session:
        assert state(session).valid
        assert state(session).oid != before.oid
    assert searches.admin.execute("select count(*) from decision where id < 0").fetchone() == (2,)


@pytest.mark.hazard("cryptofunk.VectorSearchCriticalLatency.d2", "cryptofunk.VectorSearchCriticalLatency.r1.1")
def test_of_sessions_that_speak_of_vectors_only_those_that_search_are_cancelled(
    searches: DatabaseSessions, night: PostgresConnection, patient: PostgresServer
) -> None:
    search = "select embedding <=> '[1,2,3]' as vector from decision order by 1 limit 1"
    searches.admin.execute("grant select on decision to app")
    idle = searches.session("api")
    idle.execute(search)
    slow = searches.runs("api", f"select pg_sleep(60), ({search})")
    names = searches.runs("report", "select pg_sleep(60) as vector")
    with (
        psycopg.connect(patient.url(), application_name="api", autocommit=True) as elsewhere,
        open_postgres("main", night) as session,
    ):
        elsewhere.execute("select 'a <=> b'")
        session.execute("select 'ours: <=>'")
        time.sleep(1.1)
        looked = QueryLook(at=0, server=look_at_server(session), value=9)
    policy = QueryPolicy.model_validate(
        {
            "measure": {"prometheus": "prometheus", "expression": "x", "at_most": 2, "unit": "s"},
            "vector_statements": True,
            "query_over": "1s",
        }
    )

    plan = plan_queries(TARGET, looked, policy)

    (action,) = plan.actions
    assert action.kind == "cancel_queries"
    assert [item.partition("@")[0] for item in action.items] == [str(slow.info.backend_pid)]
    sessions_actions.cancel_queries.act.fn(action, {"main": night})  # type: ignore[attr-defined]
    left = {one.info.backend_pid for one in (idle, slow, names)}
    assert left <= searches.pids(), "cancelled, not ended"
    searches.wait_for("select from pg_stat_activity where pid = %s and state = 'idle'", slow.info.backend_pid)


@pytest.mark.hazard("cryptofunk.VectorSearchHighLatency.d3", "cryptofunk.VectorSearchCriticalErrorRate.d3")
def test_size_and_use_of_an_index_are_read_and_one_that_is_not_there_is_no_error(
    searches: DatabaseSessions, night: PostgresConnection
) -> None:
    searches.admin.execute("set enable_seqscan = off")
    searches.admin.execute("select id from decision order by embedding <=> '[1,2,3]' limit 1")
    searches.admin.execute("select pg_stat_force_next_flush()")

    with open_postgres("main", night) as session:
        seen = state(session)
        gone = indexes.index_state(session, "public", "never_made")

    size = searches.admin.execute("select pg_relation_size(%s)", [seen.oid]).fetchone()
    assert (seen.bytes,) == size
    assert (seen.scans, seen.valid, gone) == (1, True, None)


@pytest.mark.usefixtures("searches")
def test_a_valid_index_is_never_dropped_as_a_leftover(night: PostgresConnection) -> None:
    with open_postgres("main", night) as session:
        valid = state(session)
    action = drop_leftover(TARGET, valid)

    with pytest.raises(TargetChangedError):
        actions.drop_invalid_index.precondition(action, {"main": night})
    with pytest.raises(TargetChangedError):
        actions.drop_invalid_index.act.fn(action, {"main": night})  # type: ignore[attr-defined]


def test_what_searches_need_is_read_without_counting_the_table(
    searches: DatabaseSessions, night: PostgresConnection
) -> None:
    with open_postgres("main", night) as session:
        whole = indexes.embedding_of(session, EMBEDDING)
    searches.admin.execute("drop extension vector cascade")
    with open_postgres("main", night) as session:
        gone = indexes.embedding_of(session, EMBEDDING)

    assert (bool(whole.extension), whole.dimensions) == (True, 3)
    assert whole.nulls_percent == pytest.approx(0.2, abs=0.01)
    assert (gone.extension, gone.dimensions) == ("", None)


@pytest.mark.hazard("octollm.DatabaseConnectionPoolExhausted.r4.2", "cryptofunk.AgentHighLatency.d7")
def test_what_cost_most_while_it_was_looked_at_is_shown_without_values(
    searches: DatabaseSessions, night: PostgresConnection
) -> None:
    searches.admin.execute("create extension pg_stat_statements")
    searches.runs("report", "select pg_sleep(0.7), 'hunter2'")

    with open_postgres("main", night) as session:
        found = indexes.costly_statements(session)

    assert any("pg_sleep" in one.shape for one in found), found
    assert "hunter2" not in str(found)
