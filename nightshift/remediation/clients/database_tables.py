"""A table whose old rows may be archived: what it is, what deleting from it would reach, and how many rows are old.

Follows cryptofunk.DiskSpaceWarning.r2.1 and r2.2. Names go into statements as identifiers only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import errors, sql

from nightshift.remediation.clients.postgres import Session
from nightshift.remediation.models import Value

_TIME_TYPES = ("timestamp with time zone", "timestamp without time zone", "date")

_TABLE = """
select c.oid, c.relkind::text, c.relhasrules, c.relpersistence::text,
       greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::bigint,
       pg_total_relation_size(c.oid),
       has_table_privilege(c.oid, 'select'), has_table_privilege(c.oid, 'update'), has_table_privilege(c.oid, 'delete'),
       exists (select from pg_inherits where inhparent = c.oid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s
"""
_COLUMNS = """
select attname, format_type(atttypid, atttypmod), format_type(atttypid, null), attgenerated <> ''
from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped order by attnum
"""
_KEY = """
select a.attname from pg_index i
cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, position)
join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
where i.indrelid = %s and i.indisprimary order by k.position
"""
_REFERENCES = """
select n.nspname || '.' || c.relname from pg_constraint f
join pg_class c on c.oid = f.conrelid join pg_namespace n on n.oid = c.relnamespace
where f.contype = 'f' and f.confrelid = %s order by 1
"""
_DELETE_TRIGGERS = """
select tgname from pg_trigger
where tgrelid = %s and not tgisinternal and tgenabled <> 'D' and (tgtype & 8) <> 0 order by 1
"""
_INSERT_TRIGGERS = """
select tgname from pg_trigger
where tgrelid = %s and not tgisinternal and tgenabled <> 'D' and (tgtype & 4) <> 0 order by 1
"""
_INDEXED = """
select exists (
  select from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
  where i.indrelid = %s and a.attname = %s and m.amname = 'btree' and i.indpred is null and i.indisvalid)
"""
_HYPERTABLE = """
select exists (select from timescaledb_information.hypertables where hypertable_schema = %s and hypertable_name = %s)
"""


class Column(Value):
    """A column that holds a value of its own; generated ones are computed again."""

    name: str
    type: str


@dataclass(frozen=True)
class RowTable:
    """A table as it is now."""

    oid: int
    schema: str
    name: str
    time_column: str
    time_type: str
    """Empty when there is no such column or it holds no time."""
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    bytes: int
    rows: int
    """The statistics' estimate."""
    readable: bool
    hypertable: bool
    indexed: bool
    referenced_by: tuple[str, ...]
    delete_triggers: tuple[str, ...]
    insert_triggers: tuple[str, ...]
    unfit: tuple[str, ...]

    @property
    def identifier(self) -> sql.Identifier:
        """Its quoted name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def reach(self) -> tuple[str, ...]:
        """Tables and triggers that deleting its rows would reach."""
        return (*self.referenced_by, *self.delete_triggers)

    def older(self, before: str) -> sql.Composed:
        """The condition for rows older than a time (RFC 3339); rows without a finite time are never old."""
        column, kind = sql.Identifier(self.time_column), sql.SQL(self.time_type)
        condition = sql.SQL("{0} < {1}::{2} and {0} > '-infinity'::{2}")
        return condition.format(column, sql.Literal(before), kind)


def read_table(session: Session, schema: str, name: str, time_column: str) -> RowTable | None:
    """The table, None when the database has none of that name.

    Raises:
        psycopg.Error: the server did not answer.
    """
    row = session.execute(_TABLE, [schema, name]).fetchone()
    if row is None:
        return None
    oid, kind, rules, persistence, rows, size, readable, lockable, deletable, children = row
    columns = session.execute(_COLUMNS, [oid]).fetchall()
    time_type = next((kind for column, _, kind, _ in columns if column == time_column), "")
    key = _names(session, _KEY, oid)
    hypertable = timescale_version(session) is not None and bool(_scalar(session, _HYPERTABLE, [schema, name]))
    facts = _Facts(kind, rules, persistence, readable, lockable, deletable, children and not hypertable, bool(key))
    return RowTable(
        oid=oid,
        schema=schema,
        name=name,
        time_column=time_column,
        time_type=time_type if time_type in _TIME_TYPES else "",
        columns=tuple(Column(name=column, type=kind) for column, kind, _, generated in columns if not generated),
        key=key,
        bytes=size,
        rows=rows,
        readable=readable,
        hypertable=hypertable,
        indexed=bool(_scalar(session, _INDEXED, [oid, time_column])),
        referenced_by=_names(session, _REFERENCES, oid),
        delete_triggers=_names(session, _DELETE_TRIGGERS, oid),
        insert_triggers=_names(session, _INSERT_TRIGGERS, oid),
        unfit=tuple(_unfit(facts)),
    )


@dataclass(frozen=True)
class _Facts:
    kind: str
    rules: bool
    persistence: str
    readable: bool
    lockable: bool
    deletable: bool
    children: bool
    key: bool


def _unfit(facts: _Facts) -> Iterator[str]:
    if facts.kind == "p":
        yield "it is partitioned: its rows go by whole partitions"
    elif facts.kind != "r":
        yield "it is no ordinary table"
    if facts.children:
        yield "other tables inherit from it"
    if facts.rules:
        yield "it has rewrite rules"
    if facts.persistence != "p":
        yield "it is unlogged or temporary"
    if not facts.key:
        yield "it has no primary key, so its rows could not be restored without doubling them"
    missing = [name for name, has in (("select", facts.readable), ("update", facts.lockable)) if not has]
    if missing := [*missing, *([] if facts.deletable else ["delete"])]:
        yield f"the account lacks the privilege to {', '.join(missing)}"


@dataclass(frozen=True)
class OldRowCount:
    """How many rows are old, at most so many as were asked for."""

    rows: int
    oldest: float | None = None
    newest: float | None = None
    estimated: bool = False


def count_old_rows(session: Session, table: RowTable, before: str, most: int) -> OldRowCount:
    """Count the oldest rows before a time, at most ``most``; the query planner's estimate where that takes too long.

    Raises:
        psycopg.Error: neither could be had.
    """
    query = sql.SQL(
        "select count(*), extract(epoch from min(t))::float8, extract(epoch from max(t))::float8 "
        "from (select {time} as t from {table} where {older} order by {time} limit {most}) as old"
    ).format(
        time=sql.Identifier(table.time_column),
        table=table.identifier,
        older=table.older(before),
        most=sql.Literal(most),
    )
    try:
        rows, oldest, newest = session.execute(query).fetchone() or (0, None, None)
    except errors.QueryCanceled:
        return OldRowCount(min(most, _estimate(session, table, before)), estimated=True)
    return OldRowCount(rows, oldest, newest)


def _estimate(session: Session, table: RowTable, before: str) -> int:
    query = sql.SQL("explain (format json) select from {} where {}").format(table.identifier, table.older(before))
    plan = _scalar(session, query)
    return int(plan[0]["Plan"]["Plan Rows"])


def count_sessions(session: Session, table: RowTable) -> int:
    """How many other sessions hold a lock on the table: each one that reads or writes it in an open transaction.

    Raises:
        psycopg.Error: the server did not answer.
    """
    query = (
        "select count(distinct pid) from pg_locks where granted and relation = %s and pid <> pg_backend_pid() "
        "and database = (select oid from pg_database where datname = current_database())"
    )
    return int(_scalar(session, query, [table.oid]) or 0)


def old_rows_left(session: Session, table: RowTable, before: str) -> bool:
    """Whether any row before a time is left."""
    query = sql.SQL("select exists (select from {} where {})").format(table.identifier, table.older(before))
    return bool(_scalar(session, query))


def timescale_version(session: Session) -> str | None:
    """The version of TimescaleDB, where it is installed in this database."""
    version = _scalar(session, "select extversion from pg_extension where extname = 'timescaledb'")
    return None if version is None else str(version)


def _names(session: Session, query: str, oid: int) -> tuple[str, ...]:
    return tuple(str(name) for (name,) in session.execute(query, [oid]))


def _scalar(session: Session, query: str | sql.Composed, parameters: Sequence[Any] | None = None) -> Any:
    # Without parameters a % in a name is no placeholder.
    row = session.execute(query, parameters).fetchone()
    return row[0] if row else None
