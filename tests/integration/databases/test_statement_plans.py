"""Plans of slow statements, read on a real server without executing them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.database_sessions import DatabaseSessions
from nightshift.remediation.clients.indexes import costly_statements
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.clients.statement_plans import plans_of, tables_read_whole
from nightshift.remediation.connections import PostgresConnection
from nightshift.remediation.databases.statement_plans import WholeRead

CHOSEN = "select id, note from orders where customer = %s"


@pytest.fixture
def orders(sessions: DatabaseSessions, monkeypatch: pytest.MonkeyPatch) -> PostgresConnection:
    """A table without an index on the column that it is asked by."""
    sessions.admin.execute("create extension pg_stat_statements")
    sessions.admin.execute(
        "create table orders as select g as id, g % 500 as customer, 'x' as note from generate_series(1, 20000) g"
    )
    sessions.admin.execute("analyze orders")
    sessions.admin.execute("grant select on orders to app, night")
    monkeypatch.setenv("ORDERS_URL", sessions.url_of("night"))
    return PostgresConnection.model_validate({"type": "postgres", "url": {"env": "ORDERS_URL"}})


@contextmanager
def asked(sessions: DatabaseSessions, statement: str) -> Iterator[None]:
    """An application asks again and again, for the time of the block."""
    ends, session = threading.Event(), sessions.session("backend")

    def ask() -> None:
        while not ends.wait(0.02):
            session.execute(statement, [5]).fetchall()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def test_the_plan_of_a_slow_statement_shows_the_table_that_it_reads_whole(
    sessions: DatabaseSessions, orders: PostgresConnection
) -> None:
    with asked(sessions, CHOSEN), open_postgres("main", orders) as session:
        statements = costly_statements(session)
        (plan, *_) = plans_of(session, statements)

    (read,) = plan.whole_reads
    assert isinstance(read, WholeRead)
    assert (read.table, read.rows, read.columns) == ("public.orders", 20_000, ("customer",))
    assert plan.shape.startswith("select id, note from orders where customer")

    sessions.admin.execute("create index on orders (customer)")
    with asked(sessions, CHOSEN), open_postgres("main", orders) as session:
        indexed = plans_of(session, costly_statements(session))
    assert [one.whole_reads for one in indexed] == [()]


@pytest.mark.hazard("octollm.DatabaseConnectionPoolExhausted.r1.4", "octollm.HighLatency.r1.2")
def test_a_statement_with_a_function_of_others_is_not_even_planned(
    sessions: DatabaseSessions, orders: PostgresConnection
) -> None:
    sessions.admin.execute("create sequence planned; grant usage on planned to public")
    sessions.admin.execute(
        "create function sly(int) returns int immutable language sql as $$ select nextval('planned')::int * 0 + 5 $$"
    )
    sly = "select id from orders where customer = sly(1) and id > %s"
    with asked(sessions, sly), open_postgres("main", orders) as session:
        statements = costly_statements(session)
    before = sessions.admin.execute("select last_value from planned").fetchone()
    with open_postgres("main", orders) as session:
        plans = plans_of(session, statements)

    assert any("sly" in one.shape for one in statements)
    assert not any("sly" in one.shape for one in plans)
    assert sessions.admin.execute("select last_value from planned").fetchone() == before


@pytest.mark.hazard("cryptofunk.VectorSearchSlowWithHighConnections.d4", "bybit_strategy_tester.SlowResponseTime.r1.1")
def test_large_tables_that_are_read_whole_are_listed(sessions: DatabaseSessions, orders: PostgresConnection) -> None:
    with asked(sessions, CHOSEN), open_postgres("main", orders) as session:
        costly_statements(session)
    sessions.admin.execute("select pg_stat_force_next_flush()")

    with open_postgres("main", orders) as session:
        (read,) = tables_read_whole(session)

    assert read.table == "public.orders"
    assert read.whole > read.by_index
