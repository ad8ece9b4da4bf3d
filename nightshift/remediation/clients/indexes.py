"""Indexes and statements of a PostgreSQL server: looked at, rebuilt and swapped while they are in use.

What cannot run inside a transaction runs outside one, statement by statement; an invalid copy that a failure leaves
behind is removed. Names go into statements as identifiers only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NoReturn

import psycopg
from psycopg import sql

from nightshift.remediation.clients.postgres import Session, limit_statements
from nightshift.remediation.databases.indexes import IndexState, OnIndex, SwapIndex
from nightshift.remediation.databases.query_planner import Embedding, Statement
from nightshift.remediation.databases.query_policy import EmbeddingRule
from nightshift.remediation.databases.query_text import shape_of
from nightshift.remediation.errors import CommandFailedError, TargetChangedError

_STATE = """
select n.nspname, c.relname, c.oid::bigint, i.indisvalid and i.indisready and i.indislive, t.relname,
       pg_relation_size(c.oid), coalesce(pg_stat_get_numscans(c.oid), 0), coalesce(pg_stat_get_numscans(t.oid), 0),
       am.amname, pg_has_role(c.relowner, 'usage'),
       exists (select from pg_stat_progress_create_index p where p.relid = t.oid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_index i on i.indexrelid = c.oid
join pg_class t on t.oid = i.indrelid join pg_am am on am.oid = c.relam
"""
_FIELDS = (
    *("schema", "name", "oid", "valid", "table", "bytes", "scans", "table_scans", "method", "mine", "being_built"),
)
_NAMED = f"{_STATE} where n.nspname = %s and c.relname = %s"
_LEFTOVERS = f"""{_STATE}
where not i.indisvalid and c.relname ~ '_cc(new|old)[0-9]*$'
  and t.oid in (select i2.indrelid from pg_index i2 where i2.indexrelid = any (%s::bigint[]))
"""  # noqa: S608 - put together from constants
_STATEMENTS = """
select queryid, left(query, 2000), calls, total_exec_time from {}.pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database())
  and userid <> (select oid from pg_roles where rolname = current_user)
"""
WHERE_STATEMENTS = """
select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace
where e.extname = 'pg_stat_statements'
"""
"""The schema that it was installed in."""
_EMBEDDING = """
select (select extversion from pg_extension where extname = 'vector'),
       (select nullif(a.atttypmod, -1) from pg_attribute a join pg_class c on c.oid = a.attrelid
        join pg_namespace n on n.oid = c.relnamespace join pg_type y on y.oid = a.atttypid
        where n.nspname = %(schema)s and c.relname = %(table)s and a.attname = %(column)s and not a.attisdropped
          and y.typname = 'vector'),
       (select 100 * s.null_frac from pg_stats s
        where s.schemaname = %(schema)s and s.tablename = %(table)s and s.attname = %(column)s)
"""
_IVFFLAT = """
select tn.nspname, t.relname, a.attname, on_.nspname, o.opcname
from pg_class c join pg_index i on i.indexrelid = c.oid join pg_am am on am.oid = c.relam
join pg_class t on t.oid = i.indrelid join pg_namespace tn on tn.oid = t.relnamespace
join pg_attribute a on a.attrelid = t.oid and a.attnum = i.indkey[0]
join pg_opclass o on o.oid = i.indclass[0] join pg_namespace on_ on on_.oid = o.opcnamespace
where c.oid = %s::bigint and am.amname = 'ivfflat' and i.indnatts = 1 and i.indpred is null and i.indkey[0] > 0
  and not i.indisunique
"""
_MAY_CREATE = "select has_schema_privilege(%s, 'create'), current_user::text"
BETWEEN_SECONDS = 2.0
CLEAN_UP_SECONDS = 60.0
_MOST = 5


def index_state(session: Session, schema: str, name: str) -> IndexState | None:
    """One index; None: there is none of that name."""
    row = session.execute(_NAMED, [schema, name]).fetchone()
    return _index(row) if row is not None else None


def leftovers_beside(session: Session, indexes: Sequence[IndexState]) -> tuple[IndexState, ...]:
    """Invalid copies on the tables of these indexes."""
    rows = session.execute(_LEFTOVERS, [[one.oid for one in indexes]]).fetchall()
    return tuple(_index(row) for row in rows)


def costly_statements(session: Session) -> tuple[Statement, ...]:
    """What cost most between two looks at ``pg_stat_statements``; nothing where that is not installed."""
    where = session.execute(WHERE_STATEMENTS).fetchone()
    if where is None:
        return ()
    try:
        before = _counted(session, where[0])
        time.sleep(BETWEEN_SECONDS)
        after = _counted(session, where[0])
    except psycopg.errors.ObjectNotInPrerequisiteState:
        return ()  # installed, and not in shared_preload_libraries
    found = []
    for identity, (shape, calls, spent) in after.items():
        _, calls_before, spent_before = before.get(identity, (shape, 0, 0.0))
        if calls > calls_before:
            milliseconds = spent - spent_before
            found.append(
                Statement(shape=shape, calls=calls - calls_before, milliseconds=milliseconds, identity=identity)
            )
    return tuple(sorted(found, key=lambda one: -one.milliseconds)[:_MOST])


def embedding_of(session: Session, rule: EmbeddingRule) -> Embedding:
    """What vector searches need; null values by the planner's statistics, since the table may be huge."""
    names = {"schema": rule.table_schema, "table": rule.table, "column": rule.column}
    row = session.execute(_EMBEDDING, names).fetchone()
    version, dimensions, nulls = row if row is not None else (None, None, None)
    return Embedding(extension=version or "", dimensions=dimensions, nulls_percent=nulls)


def may_create_in(session: Session, schema: str) -> tuple[bool, str]:
    """Whether the account may make an index there, and how it is called."""
    row = session.execute(_MAY_CREATE, [schema]).fetchone()
    return (bool(row[0]), str(row[1])) if row is not None else (False, "")


def check(session: Session, arguments: OnIndex) -> IndexState:
    """The index as it was seen.

    Raises:
        TargetChangedError: it is gone, was made anew, or is being built.
    """
    now = index_state(session, arguments.index_schema, arguments.index)
    if now is None or now.oid != arguments.oid:
        raise TargetChangedError("The index was made anew or dropped by somebody else meanwhile.")
    if now.being_built:
        raise TargetChangedError("An index of its table is being built by somebody else.")
    return now


def reindex(session: Session, arguments: OnIndex, seconds: float) -> None:
    """Rebuild it concurrently; a copy that a failure leaves behind is removed."""
    index = check(session, arguments)
    there = {one.oid for one in leftovers_beside(session, [index])}
    _give_time(session, seconds)
    try:
        session.execute(sql.SQL("reindex index concurrently {}").format(_name(arguments)))
    except psycopg.Error as error:
        if session.closed:
            raise
        new = [one for one in leftovers_beside(session, [index]) if one.oid not in there]
        _clean_up(session, new, error)


def _clean_up(session: Session, left: Sequence[IndexState], error: psycopg.Error) -> NoReturn:
    """Drop what a failure left behind, which waits for those who use the table, too; then say what failed."""
    _give_time(session, CLEAN_UP_SECONDS)
    for one in left:
        try:
            drop(session, OnIndex(index_schema=one.schema, index=one.name, oid=one.oid))
        except psycopg.Error:
            words = f"The build failed, and its invalid copy {one.label} is left: the table is in use."
            raise CommandFailedError(words) from error
    raise error


def _give_time(session: Session, seconds: float) -> None:
    """A build waits for every transaction that is older; meanwhile it locks out neither readers nor writers."""
    limit_statements(session, seconds)
    session.execute("select set_config('lock_timeout', %s, false)", [f"{seconds:.0f}s"])


def drop(session: Session, arguments: OnIndex) -> None:
    """Drop an invalid index concurrently.

    Raises:
        TargetChangedError: it is valid by now, or another one.
    """
    now = index_state(session, arguments.index_schema, arguments.index)
    if now is None or now.oid != arguments.oid or now.valid:
        raise TargetChangedError("It is no invalid index any more.")
    session.execute(sql.SQL("drop index concurrently {}").format(_name(arguments)))


def swap(session: Session, arguments: SwapIndex, seconds: float) -> None:
    """Build the other index first, change names in one transaction, drop the old one last.

    After an attempt that was cut off it goes on with what is left: the old one under its other name, or all of it.
    """
    if (parked := parked_beside(session, arguments)) is not None:
        session.execute(sql.SQL("drop index concurrently {}").format(sql.Identifier(parked.schema, parked.name)))
        return
    check(session, arguments)
    row = session.execute(_IVFFLAT, [arguments.oid]).fetchone()
    if row is None:
        raise CommandFailedError("It is no plain IVFFlat index of one column: a person has to write its successor.")
    schema, table, column, operators_schema, operators = row
    new, old = _names(arguments)
    _drop_left(session, schema, new)
    _give_time(session, seconds)
    build = sql.SQL("create index concurrently {} on {} using ivfflat ({} {}) with (lists = {})").format(
        sql.Identifier(new),
        sql.Identifier(schema, table),
        sql.Identifier(column),
        sql.Identifier(operators_schema, operators),
        sql.Literal(arguments.lists),
    )
    try:
        session.execute(build)
    except psycopg.Error as error:
        if session.closed:
            raise
        left = index_state(session, schema, new)
        _clean_up(session, [left] if left is not None and not left.valid else [], error)
    built = index_state(session, schema, new)
    if built is None or not built.valid:
        raise CommandFailedError("The new index is not valid; the old one is as it was.")
    with session.transaction():
        rename = sql.SQL("alter index {} rename to {}")
        session.execute(rename.format(sql.Identifier(schema, arguments.index), sql.Identifier(old)))
        session.execute(rename.format(sql.Identifier(schema, new), sql.Identifier(arguments.index)))
    session.execute(sql.SQL("drop index concurrently {}").format(sql.Identifier(schema, old)))


def parked_beside(session: Session, arguments: SwapIndex) -> IndexState | None:
    """The index that was to go, while its successor has its name already; None: it is not so far, or has gone."""
    parked = index_state(session, arguments.index_schema, _names(arguments)[1])
    return parked if parked is not None and parked.oid == arguments.oid else None


def _names(arguments: SwapIndex) -> tuple[str, str]:
    """Of the new index until it takes the place, and of the old one once it gave it up."""
    return f"{arguments.index[:50]}_night_new", f"{arguments.index[:50]}_night_old"


def _drop_left(session: Session, schema: str, name: str) -> None:
    """What an earlier try of ours left, valid or not: nobody but us gives an index that name."""
    found = index_state(session, schema, name)
    if found is not None and not found.being_built:
        session.execute(sql.SQL("drop index concurrently {}").format(sql.Identifier(schema, name)))


def _counted(session: Session, schema: str) -> dict[int, tuple[str, int, float]]:
    rows = session.execute(sql.SQL(_STATEMENTS).format(sql.Identifier(schema)))
    return {identity: (shape_of(text), calls, spent) for identity, text, calls, spent in rows}


def _index(row: Sequence[Any]) -> IndexState:
    return IndexState(**dict(zip(_FIELDS, row, strict=True)))


def _name(arguments: OnIndex) -> sql.Identifier:
    return sql.Identifier(arguments.index_schema, arguments.index)
