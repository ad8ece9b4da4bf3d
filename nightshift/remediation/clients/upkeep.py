"""Dead rows, replication slots, vacuums and extensions of a PostgreSQL server (14 or newer): read and changed.

Operations ``postgres.table_bloat``, ``replication_slots``, ``vacuum_progress``, ``vacuum``, ``create_extension``.
Names go into statements as identifiers or parameters only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from nightshift.remediation.clients.postgres import Session, limit_statements
from nightshift.remediation.databases.upkeep import (
    DeadRows,
    DropSlot,
    Slot,
    Upkeep,
    UpkeepLook,
    VacuumRun,
    VacuumTable,
    bloated,
)
from nightshift.remediation.errors import CommandFailedError, TargetChangedError
from nightshift.remediation.text import printable

_TABLES = """
select s.schemaname, s.relname, s.relid::bigint, pg_table_size(s.relid), s.n_live_tup, s.n_dead_tup, s.vacuum_count,
       pg_has_role(c.relowner, 'usage')
         or pg_has_role((select d.datdba from pg_database d where d.datname = current_database()), 'usage')
from pg_stat_user_tables s join pg_class c on c.oid = s.relid
where {} order by s.n_dead_tup desc limit 20
"""
_SLOTS = """
select slot_name, slot_type, coalesce(plugin, ''), coalesce(database, ''), active,
       coalesce(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn()
                                     else pg_current_wal_lsn() end, restart_lsn), 0)::bigint,
       coalesce(restart_lsn::text, ''), coalesce(wal_status, ''), {}
from pg_replication_slots order by slot_name limit 100
"""
_IDLE = "extract(epoch from clock_timestamp() - inactive_since)::float8"
_VACUUMS = """
select p.pid, coalesce(n.nspname || '.' || c.relname, p.relid::text), p.phase,
       coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8,
       p.heap_blks_scanned, p.heap_blks_total,
       a.query like '%(to prevent wraparound)%', a.backend_type = 'autovacuum worker'
from pg_stat_progress_vacuum p join pg_stat_activity a on a.pid = p.pid
left join pg_class c on c.oid = p.relid and p.datname = current_database()
left join pg_namespace n on n.oid = c.relnamespace order by p.pid
"""
_SNAPSHOT = """
select coalesce(nullif(application_name, ''), usename, '') || ' (pid ' || pid || ')',
       extract(epoch from clock_timestamp() - xact_start)::float8
from pg_stat_activity
where backend_xmin is not null and xact_start is not null and pid <> pg_backend_pid()
  and backend_type = 'client backend' and pid not in (select pid from pg_stat_progress_vacuum)
  and (datname = current_database() or datname is null)
order by age(backend_xmin) desc limit 1
"""
_APPROX = (
    "select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where extname = 'pgstattuple'"
)
_EXTENSION = """
select exists (select from pg_extension where extname = %(name)s),
       exists (select from pg_available_extensions where name = %(name)s),
       current_user::text, current_database()::text,
       coalesce((select rolsuper from pg_roles where rolname = current_user), false)
         or (coalesce((select bool_or(v.trusted) from pg_available_extension_versions v where v.name = %(name)s), false)
             and has_database_privilege(current_database(), 'create')),
       position(%(name)s in current_setting('shared_preload_libraries', true)) > 0
"""
PAUSE_SECONDS = 1.0
_COST_DELAY = "2ms"
"""As autovacuum works; a VACUUM by hand would take the whole disk."""


def look_at_upkeep(session: Session, rule: Upkeep, *, closely: bool) -> UpkeepLook:
    """Everything at once.

    Args:
        session: on the database.
        rule: which tables are looked into.
        closely: with the pace of vacuums, and the room inside the worst tables where ``pgstattuple`` is there.
    """
    vacuums = _vacuums(session)
    tables = _tables(session, sql.SQL("s.n_dead_tup > 0"), [])
    slots = _slots(session)
    holder = session.execute(_SNAPSHOT).fetchone()
    if closely:
        if vacuums:
            time.sleep(PAUSE_SECONDS)
            vacuums = _with_pace(vacuums, _vacuums(session))
        tables = _looked_into(session, tables, rule)
    return UpkeepLook(
        tables=tables,
        slots=slots,
        vacuums=vacuums,
        snapshot=holder[0] if holder else "",
        snapshot_age=holder[1] if holder else 0,
    )


def _tables(session: Session, where: sql.SQL, values: Sequence[object]) -> tuple[DeadRows, ...]:
    fields = ("schema_name", "table", "oid", "bytes", "live", "dead", "vacuums", "mine")
    rows = session.execute(sql.SQL(_TABLES).format(where), values).fetchall()
    return tuple(DeadRows(**dict(zip(fields, row, strict=True))) for row in rows)


def table_now(session: Session, schema: str, table: str) -> DeadRows | None:
    """One table; None: there is none of that name."""
    found = _tables(session, sql.SQL("s.schemaname = %s and s.relname = %s"), [schema, table])
    return found[0] if found else None


def _looked_into(session: Session, tables: Sequence[DeadRows], rule: Upkeep) -> tuple[DeadRows, ...]:
    """With the room inside those that are too full of dead rows, and small enough to be read."""
    where = session.execute(_APPROX).fetchone()
    if where is None:
        return tuple(tables)
    worst = {one.oid for one in bloated(UpkeepLook(tables=tuple(tables)), rule)[: rule.most_tables]}
    query = sql.SQL("select approx_free_percent + dead_tuple_percent from {}(%s::oid::regclass)").format(
        sql.Identifier(where[0], "pgstattuple_approx")
    )

    def inside(one: DeadRows) -> DeadRows:
        if one.oid not in worst or one.bytes > rule.largest:
            return one
        try:
            row = session.execute(query, [one.oid]).fetchone()
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.QueryCanceled):
            return one
        return one.model_copy(update={"free_percent": row[0] if row else None})

    return tuple(map(inside, tables))


def _slots(session: Session) -> tuple[Slot, ...]:
    # The column came with PostgreSQL 17.
    idle = _IDLE if session.info.server_version >= 170000 else "null::float8"
    fields = ("name", "kind", "plugin", "database", "active", "holds", "at", "status", "idle")
    rows = session.execute(sql.SQL(_SLOTS).format(sql.SQL(idle))).fetchall()
    return tuple(Slot(**dict(zip(fields, row, strict=True))) for row in rows)


def _vacuums(session: Session) -> tuple[VacuumRun, ...]:
    fields = ("pid", "table", "phase", "age", "done", "total", "wraparound", "auto")
    rows = session.execute(_VACUUMS).fetchall()
    return tuple(VacuumRun(**dict(zip(fields, row, strict=True))) for row in rows)


def _with_pace(before: Sequence[VacuumRun], now: Sequence[VacuumRun]) -> tuple[VacuumRun, ...]:
    """What is still under way, with how fast it went; only scanning can be told in blocks."""
    earlier = {(one.pid, one.table): one for one in before}

    def paced(one: VacuumRun) -> VacuumRun:
        was = earlier.get((one.pid, one.table))
        if was is None or was.phase != one.phase or one.phase != "scanning heap" or one.age <= was.age:
            return one
        return one.model_copy(update={"per_second": (one.done - was.done) / (one.age - was.age)})

    return tuple(map(paced, now))


def check_table(session: Session, arguments: VacuumTable) -> DeadRows:
    """The table as it was seen.

    Raises:
        TargetChangedError: it is gone, was made anew, or is vacuumed already.
    """
    now = table_now(session, arguments.table_schema, arguments.table)
    if now is None or now.oid != arguments.oid:
        raise TargetChangedError("The table was made anew or dropped by somebody else meanwhile.")
    if any(run.table == f"{now.schema_name}.{now.table}" for run in _vacuums(session)):
        raise TargetChangedError("It is being vacuumed already.")
    return now


def vacuum(session: Session, arguments: VacuumTable, seconds: float) -> tuple[DeadRows, DeadRows]:
    """``VACUUM (ANALYZE)`` at autovacuum's pace; the table before and after.

    Raises:
        CommandFailedError: the server skipped it.
        TargetChangedError: as :func:`check_table`.
    """
    before, warnings = check_table(session, arguments), list[str]()

    def listen(notice: psycopg.errors.Diagnostic) -> None:
        # What the account may not vacuum is skipped with no more than a warning.
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(printable(notice.message_primary or "", 300))

    session.add_notice_handler(listen)
    try:
        session.execute(sql.SQL("set vacuum_cost_delay = {}").format(sql.Literal(_COST_DELAY)))
        limit_statements(session, seconds)
        session.execute(sql.SQL("vacuum (analyze) {}").format(sql.Identifier(arguments.table_schema, arguments.table)))
    finally:
        session.remove_notice_handler(listen)
    if warnings:
        raise CommandFailedError(f"The table was not vacuumed: {' '.join(warnings)}")
    after = table_now(session, arguments.table_schema, arguments.table)
    return before, after or before


def slot_now(session: Session, name: str) -> Slot | None:
    """One slot; None: there is none of that name."""
    return next((one for one in _slots(session) if one.name == name), None)


def check_slot(session: Session, arguments: DropSlot) -> Slot:
    """The slot as it was seen.

    Raises:
        TargetChangedError: it is gone, is another one, or somebody reads from it or has read since.
    """
    now = slot_now(session, arguments.slot)
    if now is None or now.kind != arguments.kind:
        raise TargetChangedError("There is no such slot any more.")
    if now.active:
        raise TargetChangedError("Somebody reads from the slot by now.")
    if now.at != arguments.at:
        raise TargetChangedError("Somebody has read from the slot since it was looked at.")
    return now


def drop_slot(session: Session, arguments: DropSlot) -> Slot:
    """Drop it; what it held.

    Raises:
        TargetChangedError: as :func:`check_slot`; the server itself refuses one that is in use.
    """
    was = check_slot(session, arguments)
    try:
        session.execute("select pg_drop_replication_slot(%s)", [arguments.slot])
    except psycopg.errors.ObjectInUse:
        raise TargetChangedError("Somebody reads from the slot by now.") from None
    return was


@dataclass(frozen=True)
class ExtensionLook:
    """An extension in this database."""

    there: bool
    available: bool
    """Whether the server's machine has it."""
    account: str
    database: str
    may: bool
    """Whether the account may make it."""
    preloaded: bool | None
    """Whether the server has loaded its library at its start."""


def extension_now(session: Session, name: str) -> ExtensionLook:
    """How it stands with one."""
    row = session.execute(_EXTENSION, {"name": name}).fetchone()
    return ExtensionLook(*row) if row is not None else ExtensionLook(False, False, "", "", False, None)


def make_extension(session: Session, name: str) -> None:
    """Make it where it is not."""
    session.execute(sql.SQL("create extension if not exists {}").format(sql.Identifier(name)))


def remove_extension(session: Session, name: str) -> None:
    """Drop it; never what depends on it.

    Raises:
        TargetChangedError: something uses it.
    """
    try:
        session.execute(sql.SQL("drop extension if exists {} restrict").format(sql.Identifier(name)))
    except psycopg.errors.DependentObjectsStillExist:
        raise TargetChangedError("Something in the database uses the extension by now.") from None
