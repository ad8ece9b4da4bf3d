"""What fills the volume of a PostgreSQL server, asked with as few privileges as possible.

Follows cryptofunk.DiskSpaceWarning.d1 and d2. Nothing here writes; what the account may not see is a blindness.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg

from nightshift.remediation.allowances import Reading
from nightshift.remediation.clients import prometheus as prometheus_client
from nightshift.remediation.clients.database_tables import (
    RowTable,
    count_old_rows,
    count_sessions,
    read_table,
    timescale_version,
)
from nightshift.remediation.clients.postgres import Session, connection_is_gone, translated
from nightshift.remediation.clients.prometheus import selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.disk_space.database_diagnosis import (
    ChunkFact,
    DatabaseVolumeDiagnosis,
    LogKeeper,
    LongTransaction,
    OldChunks,
    OldRows,
    TableFact,
    VolumeUsage,
    cut_off,
)
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy, RowArchiveRule, VolumeSize
from nightshift.remediation.disk_space.diagnosis import Blindness
from nightshift.remediation.errors import CommandFailedError

T = TypeVar("T")

LONG_SECONDS = 900.0
"""Transactions open longer than this are reported."""
MOST_HOLDERS = 10
"""So many long transactions and replication slots are reported."""

_DATABASES = """
select datname, case when has_database_privilege(oid, 'connect') or pg_has_role('pg_read_all_stats', 'member')
                     then pg_database_size(oid) end
from pg_database order by datname
"""
_TABLESPACES = "select count(*) from pg_tablespace where spcname not in ('pg_default', 'pg_global')"
_SERVER = """
select extract(epoch from clock_timestamp())::float8, pg_is_in_recovery(),
       current_setting('default_transaction_read_only') = 'on', current_database()
"""
# A partition counts for its root, a chunk for its hypertable.
_LARGEST_TABLES = """
with every_table as (
  select coalesce(pg_partition_root(c.oid)::oid, c.oid) as root, pg_total_relation_size(c.oid) as bytes,
         s.n_live_tup as live, s.n_dead_tup as dead
  from pg_class c left join pg_stat_all_tables s on s.relid = c.oid
  where c.relkind in ('r', 'm') and c.relpersistence <> 't'
), named as (
  select {schema} as schema_name, {name} as table_name, e.bytes, e.live, e.dead
  from every_table e join pg_class c on c.oid = e.root join pg_namespace n on n.oid = c.relnamespace {chunks}
  where n.nspname not in ('pg_catalog', 'information_schema') or c.relname = 'pg_largeobject'
)
select schema_name, table_name, sum(bytes)::bigint, coalesce(sum(live), 0)::bigint, coalesce(sum(dead), 0)::bigint
from named group by 1, 2 order by 3 desc, 1, 2 limit %s
"""
_PLAIN = {"schema": "n.nspname::text", "name": "c.relname::text", "chunks": ""}
_BY_HYPERTABLE = {
    "schema": "coalesce(k.hypertable_schema, n.nspname)::text",
    "name": "coalesce(k.hypertable_name, c.relname)::text",
    "chunks": "left join timescaledb_information.chunks k on k.chunk_schema = n.nspname and k.chunk_name = c.relname",
}
_COMPRESSION = """
select compression_enabled from timescaledb_information.hypertables
where hypertable_schema = %s and hypertable_name = %s
"""
_CHUNKS = """
select k.chunk_schema::text, k.chunk_name::text, pg_total_relation_size(c.oid),
       extract(epoch from k.range_end)::float8
from timescaledb_information.chunks k
join pg_namespace n on n.nspname = k.chunk_schema join pg_class c on c.relnamespace = n.oid and c.relname = k.chunk_name
where k.hypertable_schema = %s and k.hypertable_name = %s and not k.is_compressed
  and k.range_end <= to_timestamp(%s) order by k.range_end
"""
_TRANSACTIONS = """
select * from (
  select format('session %%s of %%s, %%s', pid, usename, application_name),
         extract(epoch from clock_timestamp() - xact_start)::float8 as seconds, coalesce(state, '')
  from pg_stat_activity where xact_start is not null and backend_type = 'client backend' and pid <> pg_backend_pid()
  union all
  select format('prepared transaction %%s of %%s', gid, owner),
         extract(epoch from clock_timestamp() - prepared)::float8, 'prepared'
  from pg_prepared_xacts
) as open where seconds > %s order by seconds desc limit %s
"""
_SEES_SESSIONS = "select pg_has_role('pg_read_all_stats', 'member')"
_SLOTS = """
select slot_name, active, greatest(0, pg_wal_lsn_diff(
  case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
  restart_lsn))::bigint as kept
from pg_replication_slots where restart_lsn is not null order by kept desc limit %s
"""


def measure_volume(
    session: Session, database: str, claim: str, size: VolumeSize, prometheus: HttpConnection | None
) -> VolumeUsage:
    """How full the volume is, by the kubelet's word where a Prometheus has it, else by the server's own sizes.

    Raises:
        TargetUnreachableError: Prometheus did not answer; as NotMeasuredError, it cannot tell how full the volume is.
        CommandFailedError: it knows several.
        psycopg.Error: the server did not answer.
    """
    if size.prometheus is not None and prometheus is not None:
        return _by_kubelet(size.prometheus, prometheus, claim, size.namespace)
    if size.capacity is None:
        raise CommandFailedError(f"The size of the volume of {database} is not known.")
    databases = session.execute(_DATABASES).fetchall()
    try:
        wal = _write_ahead_log(session)
    except psycopg.errors.InsufficientPrivilege:
        wal = 0  # the diagnosis says that it is blind here
    used = wal + sum(taken or 0 for _, taken in databases)
    return VolumeUsage(total_bytes=size.capacity, used_bytes=used, at=time.time())


def _by_kubelet(name: str, prometheus: HttpConnection, claim: str, namespace: str | None) -> VolumeUsage:
    labels = {"persistentvolumeclaim": claim} | ({"namespace": namespace} if namespace else {})

    def newest(metric: str) -> tuple[Reading, float]:
        known = prometheus_client.read(name, prometheus, selector(metric, labels))
        # Two kubelets report a volume while its pod moves; both are right.
        places = {metric.get("namespace", "") for metric, _, _ in known}
        if len(places) > 1:
            remedy = "Set size.namespace in the policy."
            raise CommandFailedError(f"{name} knows claims of this name in {len(places)} namespaces.", remedy=remedy)
        _, reading, interval = max(known, key=lambda one: (one[1].at, one[1].value))
        return reading, interval

    used, interval = newest("kubelet_volume_stats_used_bytes")
    total, _ = newest("kubelet_volume_stats_capacity_bytes")
    return VolumeUsage(
        total_bytes=round(total.value), used_bytes=round(used.value), at=used.at, scrape_interval=interval
    )


def diagnose_database_volume(
    session: Session, volume: VolumeUsage, policy: DatabaseVolumePolicy
) -> DatabaseVolumeDiagnosis:
    """Everything the planner needs; each question that is refused or takes too long becomes a blindness.

    Raises:
        psycopg.Error: the connection broke.
    """
    now, in_recovery, read_only, database = session.execute(_SERVER).fetchone() or (0.0, False, False, "")
    look = _Look(session, policy, now, timescale_version(session))
    return DatabaseVolumeDiagnosis(
        volume=volume,
        databases=look.databases(),
        wal_bytes=look.ask("the write-ahead log", lambda: _write_ahead_log(session)) or 0,
        in_recovery=in_recovery,
        read_only=read_only,
        timescale=look.timescale,
        largest_tables=look.ask(f"the largest tables of {database}", look.largest_tables) or (),
        old_chunks=tuple(look.old_chunks()),
        old_rows=tuple(look.old_rows()),
        long_transactions=look.long_transactions(),
        log_keepers=look.ask("replication slots", look.log_keepers) or (),
        now=now,
        blind=tuple(look.blind),
    )


def _write_ahead_log(session: Session) -> int:
    row = session.execute("select coalesce(sum(size), 0)::bigint from pg_ls_waldir()").fetchone()
    return int(row[0]) if row else 0


def split_name(table: str) -> tuple[str, str]:
    """Schema and name of a table as a policy writes it."""
    schema, _, name = table.rpartition(".")
    return schema or "public", name


@dataclass
class _Look:
    """One look at a server; what it could not see piles up in ``blind``."""

    session: Session
    policy: DatabaseVolumePolicy
    now: float
    timescale: str | None
    blind: list[Blindness] = field(default_factory=list)

    @contextmanager
    def _may_fail(self, what: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if connection_is_gone(error):
                raise
            self.miss(what, translated("The server", error).message)

    def miss(self, what: str, why: str) -> None:
        """Note what could not be seen."""
        self.blind.append(Blindness(what=what, why=why))

    def ask(self, what: str, question: Callable[[], T]) -> T | None:
        """The answer, None where the server gives none."""
        with self._may_fail(what):
            return question()
        return None

    def databases(self) -> dict[str, int]:
        """Bytes by database."""
        sizes = self.ask("the sizes of databases", lambda: self.session.execute(_DATABASES).fetchall()) or []
        for name, size in sizes:
            if size is None:
                self.miss(f"the size of database {name}", "the account may not connect to it")
        elsewhere = self.session.execute(_TABLESPACES).fetchone()
        if self.policy.size.capacity is not None and elsewhere and elsewhere[0]:
            self.miss("which tables lie on other volumes", f"the server has {elsewhere[0]} tablespaces of its own")
        return {str(name): int(size) for name, size in sizes if size is not None}

    def largest_tables(self) -> tuple[TableFact, ...]:
        """Tables with their indexes and TOAST, partitions and chunks under the name of the whole."""
        statement = _LARGEST_TABLES.format(**(_BY_HYPERTABLE if self.timescale else _PLAIN))
        rows = self.session.execute(statement, [self.policy.largest_tables]).fetchall()
        return tuple(
            TableFact(schema_name=schema, name=name, bytes=size, live_rows=live, dead_rows=dead)
            for schema, name, size, live, dead in rows
        )

    def old_chunks(self) -> Iterator[OldChunks]:
        """Uncompressed chunks that the policy's rules speak of."""
        for number, rule in enumerate(self.policy.compress if self.timescale else ()):
            place: list[Any] = list(split_name(rule.hypertable))
            with self._may_fail(f"the chunks of {rule.hypertable}"):
                enabled = self.session.execute(_COMPRESSION, place).fetchone()
                if enabled is None:
                    self.miss(f"the chunks of {rule.hypertable}", "there is no such hypertable")
                    continue
                chunks = self.session.execute(_CHUNKS, [*place, self.now - rule.older_than]).fetchall()
                yield OldChunks(
                    rule=number,
                    compression_enabled=bool(enabled[0]),
                    chunks=tuple(
                        ChunkFact(schema_name=schema, name=name, bytes=size, range_end=end)
                        for schema, name, size, end in chunks
                    ),
                )

    def old_rows(self) -> Iterator[OldRows]:
        """Rows that the policy's rules speak of."""
        for number, rule in enumerate(self.policy.archive_rows):
            with self._may_fail(f"the old rows of {rule.table}"):
                table = read_table(self.session, *split_name(rule.table), rule.time_column)
                if table is None:
                    self.miss(f"the old rows of {rule.table}", "the database has no such table")
                elif not table.readable:
                    self.miss(f"the old rows of {rule.table}", "the account may not read the table")
                elif not table.time_type:
                    self.miss(f"the old rows of {rule.table}", f"{rule.time_column} is no column that holds a time")
                else:
                    yield self._old_rows_of(number, rule, table)

    def _old_rows_of(self, number: int, rule: RowArchiveRule, table: RowTable) -> OldRows:
        before = cut_off(self.now, rule.older_than)
        count = count_old_rows(self.session, table, datetime.fromtimestamp(before, UTC).isoformat(), rule.max_rows)
        if count.estimated:
            self.miss(f"how many rows of {rule.table} are old", "counting took too long; the number is an estimate")
        return OldRows(
            rule=number,
            before=before,
            rows=count.rows,
            oldest=count.oldest,
            newest=count.newest,
            bytes=round(table.bytes * min(1.0, count.rows / max(table.rows, count.rows, 1))),
            hypertable=table.hypertable,
            referenced_by=table.referenced_by,
            delete_triggers=table.delete_triggers,
            unfit=table.unfit,
            indexed=table.indexed,
            table_bytes=table.bytes,
            table_rows=max(table.rows, count.rows),
            sessions=self.ask(f"who uses {rule.table}", lambda: count_sessions(self.session, table)),
            estimated=count.estimated,
        )

    def long_transactions(self) -> tuple[LongTransaction, ...]:
        """Transactions that keep vacuum from what was deleted since they began."""
        row = self.session.execute(_SEES_SESSIONS).fetchone()
        if row is None or not row[0]:
            self.miss("how long transactions of others are open", "the account is no member of pg_read_all_stats")
        limits = [LONG_SECONDS, MOST_HOLDERS]
        rows = self.ask("open transactions", lambda: self.session.execute(_TRANSACTIONS, limits).fetchall()) or []
        return tuple(LongTransaction(holder=holder, seconds=seconds, state=state) for holder, seconds, state in rows)

    def log_keepers(self) -> tuple[LogKeeper, ...]:
        """Replication slots with the write-ahead log they keep."""
        rows = self.session.execute(_SLOTS, [MOST_HOLDERS]).fetchall()
        return tuple(LogKeeper(slot=name, active=active, bytes=kept) for name, active, kept in rows)
