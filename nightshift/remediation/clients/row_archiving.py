"""Archive, then delete old rows: both in one transaction per batch, and nothing is deleted that was not read back.

Follows cryptofunk.DiskSpaceWarning.r2.1 and r2.2 and avoids their hazards: one cut-off for archive and deletion, the
rows locked between the two, the archive on disk and compared before the first row goes.

A batch is found by time, locked, and named by the physical addresses of its rows (``ctid``), which cannot change while
we hold their locks: COPY and DELETE mean the very same rows. Batches are small because a DELETE writes write-ahead log
on the volume that is full.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import errors, sql

from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.database_tables import RowTable, old_rows_left, read_table
from nightshift.remediation.clients.postgres import Session, committing, limit_statements, translated
from nightshift.remediation.clients.row_archive import Batch, BatchState, RunFolder, begin_run, runs_of, table_folder
from nightshift.remediation.clients.row_settling import rows_deleted, settle
from nightshift.remediation.disk_space.arguments import ArchiveRows, RestoreRows
from nightshift.remediation.errors import (
    ConnectionLostError,
    NightshiftError,
    PermanentError,
    TargetChangedError,
    TemporaryError,
)
from nightshift.remediation.faults import point
from nightshift.remediation.text import counted, listed, printable

_LOCK = 0x6E73_6172
"""First key of the advisory lock on a table; the second is its oid."""
_CONFLICTS = 5
"""So often in a row a batch is begun again because others changed its rows."""


@dataclass(frozen=True)
class Archived:
    """What one call did."""

    table: RowTable
    folder: str
    rows_in_folder: int
    """Those of an interrupted attempt included."""
    rows: int
    files: int
    left: bool
    """Whether old rows are left, for lack of time, beyond the bound, or locked by others."""
    why_left: str = ""


def check_table(session: Session, arguments: ArchiveRows) -> RowTable:
    """The table, if its rows may still be archived and deleted.

    Raises:
        TargetChangedError: they may not, and why.
    """
    name = printable(f"{arguments.table_schema}.{arguments.table_name}")
    table = read_table(session, arguments.table_schema, arguments.table_name, arguments.time_column)
    if table is None:
        raise TargetChangedError(f"There is no table {name} any more.")
    reasons = list(table.unfit)
    if not table.time_type:
        reasons.append(f"{arguments.time_column} is no column that holds a time")
    if table.hypertable:
        reasons.append("it is a hypertable, whose rows go by whole chunks")
    if table.reach:
        reasons.append(f"deleting reaches further, by foreign keys or triggers: {', '.join(table.reach)}")
    row = session.execute("select pg_is_in_recovery() or current_setting('transaction_read_only') = 'on'").fetchone()
    if row is None or row[0]:
        reasons.append("the server is read-only (a standby, or default_transaction_read_only)")
    if reasons:
        raise TargetChangedError(f"No rows of {name} can go: {listed([printable(r) for r in reasons], 9)}.")
    return table


def archive_folder(session: Session, arguments: ArchiveRows | RestoreRows) -> Path:
    """Where the archives of this table on this server are."""
    row = session.execute("select system_identifier::text, current_database() from pg_control_system()").fetchone()
    server, database = row or ("", "")
    return table_folder(arguments.to, (server, database, arguments.table_schema, arguments.table_name))


def archive_rows(session: Session, server: str, arguments: ArchiveRows, seconds: float) -> Archived:
    """Archive and delete at most ``arguments.rows`` rows, oldest first, for at most so many seconds.

    Raises:
        TargetChangedError: the table changed.
        DiskFullError: the archive, or the server, has no space left; of the batch at hand nothing was deleted.
        ConnectionLostError: whether the last batch counts is for the server to say.
        NightshiftError: it failed otherwise; what was committed is archived, the rest is untouched.
    """
    table = check_table(session, arguments)
    hold_archives(session, table)
    run = _begin(session, table, arguments)
    work = _Archiving(session, server, arguments, table, run, time.monotonic() + seconds)
    try:
        done = work.archive()
    except ConnectionLostError:
        raise  # the run goes on: the next look finds out about its last batch
    except NightshiftError as error:
        work.end()
        error.message = f"{error.message} {work.so_far()}"
        raise
    except psycopg.Error as error:
        work.end()
        ours = translated(server, error)
        ours.message = f"{ours.message} {work.so_far()}"
        raise ours from None
    work.run.end()
    return done


def observe_archive(session: Session, arguments: ArchiveRows) -> Observation:
    """Whether the newest run with this cut-off did all it may. Reads only, so that it can be asked after anything.

    Raises:
        NightshiftError, psycopg.Error: table or archive cannot be read.
    """
    runs = runs_of(archive_folder(session, arguments), arguments.before)
    if not runs:
        return Observation.NOT_DONE
    deleted = rows_deleted(session, runs[-1])
    if deleted is None:
        return Observation.UNKNOWN
    table = check_table(session, arguments)
    if deleted >= runs[-1].run.rows or not old_rows_left(session, table, arguments.before):
        return Observation.DONE
    return Observation.NOT_DONE


def _begin(session: Session, table: RowTable, arguments: ArchiveRows) -> RunFolder:
    """A new run, or the interrupted one with the same cut-off; whatever died before is settled first."""
    folder = archive_folder(session, arguments)
    for run in runs_of(folder):
        if not run.run.ended:
            settle(session, table, run)
            if run.run.before == arguments.before:
                return run
            run.end()
    return begin_run(folder, arguments.before, arguments.rows)


def hold_archives(session: Session, table: RowTable) -> None:
    """Be the only one that archives or restores rows of this table, for as long as the session lasts.

    Raises:
        TemporaryError: somebody else is at it, perhaps the session of a run that died.
    """
    row = session.execute("select pg_try_advisory_lock(%s, %s::oid::int4)", [_LOCK, table.oid]).fetchone()
    if row is None or not row[0]:
        raise TemporaryError("Another session is still archiving or restoring rows of this table.")


@dataclass
class _Archiving:
    session: Session
    server: str
    arguments: ArchiveRows
    table: RowTable
    run: RunFolder
    until: float
    rows: int = 0
    files: int = 0

    def archive(self) -> Archived:
        """Batch after batch, until the bound, the time, or the end of what is old."""
        bound = min(self.arguments.rows, self.run.run.rows - self.run.rows_deleted)
        why = ""
        while self.rows < bound:
            if time.monotonic() >= self.until:
                why = "the time for one action is over"
                break
            if (taken := self._next_batch(bound - self.rows)) == 0:
                why = "other sessions hold them locked"
                break
            self.rows += taken
            self.files += 1
        limit_statements(self.session, 20)
        left = old_rows_left(self.session, self.table, self.arguments.before)
        why = (why or "more was not asked for") if left else ""
        return Archived(self.table, str(self.run.path), self.run.rows_deleted, self.rows, self.files, left, why)

    def _next_batch(self, most: int) -> int:
        for attempt in range(1, _CONFLICTS + 1):
            limit_statements(self.session, self.until - time.monotonic())
            try:
                return self._batch(min(most, self.arguments.batch_rows))
            except (errors.SerializationFailure, errors.DeadlockDetected):
                if attempt == _CONFLICTS:
                    raise
                time.sleep(0.1 * attempt)
        raise AssertionError("unreachable")

    def _batch(self, most: int) -> int:
        """One transaction: lock rows, archive them, read the archive back, delete the same rows, commit."""
        kept: Batch | None = None
        try:
            with _transaction(self.session, self.server):
                self._hold_table()
                addresses = self._lock_rows(most)
                if not addresses:
                    return 0
                point("archive_selected")
                kept = self._keep(addresses)
                point("archive_kept")
                deleted = self.session.execute(self._statement("delete from {} where ctid = any({}::tid[])", addresses))
                if deleted.rowcount != len(addresses):
                    raise PermanentError(f"{deleted.rowcount:,} rows would go instead of {len(addresses):,}.")
                point("archive_deleted")
        except ConnectionLostError:
            raise
        except (NightshiftError, psycopg.Error):
            if kept is not None:
                self.run.discard(kept)  # the transaction is rolled back
            raise
        point("archive_committed")
        self.run.mark(kept, BatchState.DELETED)
        point("archive_recorded")
        return len(addresses)

    def _hold_table(self) -> None:
        """From here to the end of the transaction nobody can alter the table or add triggers and references."""
        self.session.execute(sql.SQL("lock table {} in row exclusive mode").format(self.table.identifier))
        now = check_table(self.session, self.arguments)
        if (now.oid, now.columns, now.key) != (self.table.oid, self.table.columns, self.table.key):
            raise TargetChangedError("The table was changed meanwhile.")

    def _lock_rows(self, most: int) -> list[str]:
        query = sql.SQL(
            "select ctid::text from {table} where {older} order by {time} limit {most} for update skip locked"
        ).format(
            table=self.table.identifier,
            older=self.table.older(self.arguments.before),
            time=sql.Identifier(self.table.time_column),
            most=sql.Literal(most),
        )
        return [str(address) for (address,) in self.session.execute(query)]

    def _keep(self, addresses: list[str]) -> Batch:
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in self.table.columns)
        rows = self._statement(
            "select {columns} from {} where ctid = any({}::tid[]) order by {time}", addresses, columns
        )
        copy = sql.SQL("copy ({}) to stdout with (format csv, header, force_quote *, encoding 'UTF8')").format(rows)

        def blocks(put: Callable[[bytes], object]) -> None:
            with self.session.cursor() as cursor, cursor.copy(copy) as stream:
                for block in stream:
                    put(bytes(block))

        name = self.run.next_file()
        checksum = self.run.write_rows(name, blocks, len(addresses))
        point("archive_written")
        row = self.session.execute("select pg_current_xact_id()::text, current_database()").fetchone()
        transaction, database = row or ("", "")
        return self.run.keep(
            Batch(
                database=database,
                table_schema=self.table.schema,
                table_name=self.table.name,
                columns=self.table.columns,
                time_column=self.table.time_column,
                before=self.arguments.before,
                rows=len(addresses),
                sha256=checksum,
                transaction=transaction,
                file=name,
            )
        )

    def _statement(self, text: str, addresses: list[str], columns: sql.Composable | None = None) -> sql.Composed:
        listed_addresses = sql.Literal("{" + ",".join(f'"{address}"' for address in addresses) + "}")
        return sql.SQL(text).format(
            self.table.identifier,
            listed_addresses,
            columns=columns or sql.SQL(""),
            time=sql.Identifier(self.table.time_column),
        )

    def end(self) -> None:
        """Record that this run is over, where that can be written and no batch of it is in doubt."""
        with suppress(NightshiftError):
            if all(batch.state is not BatchState.ARCHIVED for batch in self.run.batches):
                self.run.end()

    def so_far(self) -> str:
        """What stays, for a run that failed."""
        if not self.rows:
            return "No row was deleted."
        return f"Before that {counted(self.rows, 'row')} went to {self.run.path}, each archived and read back."


@contextmanager
def _transaction(session: Session, server: str) -> Iterator[None]:
    """A transaction with one view of the table. When its COMMIT is lost that is said, since then it may count."""
    session.execute("begin isolation level repeatable read")
    try:
        yield
    except BaseException:  # also of a cancelled run: no transaction stays open with its locks
        with suppress(psycopg.Error):
            session.execute("rollback")
        raise
    try:
        session.execute("commit")
    except psycopg.Error as error:
        raise committing(server, error) from None
