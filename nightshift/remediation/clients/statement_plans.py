"""Plans of statements that were slow, without executing them, and tables that are read from end to end.

Operations ``postgres.explain_query`` and ``table_scan_stats``: octollm.HighLatency.r1.2, whose EXPLAIN ANALYZE would
execute the statement, and bybit_strategy_tester.SlowResponseTime.r1.1, whose correlation shows no missing index.
Reading a plan evaluates what is constant in it, so only statements without functions of others are planned, in a
transaction that may not write, for a moment. The account needs to be allowed to read (``pg_read_all_data``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg import sql

from nightshift.remediation.clients.indexes import WHERE_STATEMENTS
from nightshift.remediation.clients.postgres import Session, connection_is_gone
from nightshift.remediation.databases.query_planner import Statement
from nightshift.remediation.databases.statement_plans import (
    StatementPlan,
    TableReads,
    may_be_explained,
    plan_in,
    tables_in,
)
from nightshift.remediation.inventory import serves
from nightshift.remediation.text import printable

_TEXT = """
select query from {}.pg_stat_statements
where queryid = %s and dbid = (select oid from pg_database where datname = current_database()) limit 1
"""
_ROWS = """
select greatest(c.reltuples, 0)::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s
"""
_READ_WHOLE = """
select format('%%I.%%I', schemaname, relname), n_live_tup, seq_scan, coalesce(idx_scan, 0)
from pg_stat_user_tables
where n_live_tup >= %s and seq_scan > coalesce(idx_scan, 0)
order by seq_tup_read desc limit 5
"""
_MOST_LETTERS = 10_000
LARGE_ROWS = 10_000
"""A smaller table is best read whole."""


@serves("octollm.HighLatency: r1.2")
def plans_of(
    session: Session, statements: Iterable[Statement], at_least: int = LARGE_ROWS
) -> tuple[StatementPlan, ...]:
    """The plans of these statements that can be read; those before PostgreSQL 16 know no plan without values."""
    if session.info.server_version < 160_000:
        return ()
    where = session.execute(WHERE_STATEMENTS).fetchone()
    if where is None:
        return ()
    found = (_plan(session, where[0], one.identity, at_least) for one in statements)
    return tuple(plan for plan in found if plan is not None)


@serves("bybit_strategy_tester.SlowResponseTime: r1.1")
def tables_read_whole(session: Session, at_least: int = LARGE_ROWS) -> tuple[TableReads, ...]:
    """Large tables that are read from end to end more often than through an index."""
    rows = session.execute(_READ_WHOLE, [at_least]).fetchall()
    return tuple(
        TableReads(table=printable(name, 130), rows=live, whole=whole, by_index=by_index)
        for name, live, whole, by_index in rows
    )


def _plan(session: Session, schema: str, identity: int, at_least: int) -> StatementPlan | None:
    row = session.execute(sql.SQL(_TEXT).format(sql.Identifier(schema)), [identity]).fetchone()
    if row is None or row[0] is None or len(row[0]) > _MOST_LETTERS or not may_be_explained(row[0]):
        return None
    try:
        explained = _explained(session, row[0])
    except psycopg.Error as error:
        if connection_is_gone(error):
            raise
        return None  # a table of a schema that is not looked in, or one that is locked: it stays unexplained
    rows = {f"{schema}.{table}": _rows_of(session, schema, table) for schema, table in tables_in(explained)}
    return plan_in(explained, row[0], rows, at_least)


def _explained(session: Session, statement: str) -> Mapping[str, Any]:
    """Planned, not executed; as a prepared statement, which holds one statement only."""
    with session.transaction(force_rollback=True):
        session.execute("set transaction read only")
        session.execute("set local search_path = pg_catalog, public")
        session.execute("set local statement_timeout = '2s'")
        session.execute("set local lock_timeout = '200ms'")
        asked = f"explain (generic_plan, verbose, format json) {statement}"
        row = session.execute(asked.encode(), prepare=True).fetchone()
    return row[0][0] if row is not None else {}


def _rows_of(session: Session, schema: str, table: str) -> int:
    row = session.execute(_ROWS, [schema, table]).fetchone()
    return int(row[0]) if row is not None else 0
