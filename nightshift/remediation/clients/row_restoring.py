"""Insert archived rows again, and prove that they are as they were."""

from __future__ import annotations

import time
from pathlib import Path

from psycopg import sql

from nightshift.remediation.clients.database_tables import RowTable, read_table
from nightshift.remediation.clients.postgres import Session, limit_statements
from nightshift.remediation.clients.row_archive import Batch, BatchState, RunFolder, read_run
from nightshift.remediation.errors import CommandFailedError, PermanentError, TargetChangedError
from nightshift.remediation.faults import point
from nightshift.remediation.text import counted, listed, printable

_BLOCK = 1 << 16


def restore_rows(session: Session, folder: str, seconds: float = 600.0) -> int:
    """Insert the rows of a run that are not in the table; returns how many rows of it are there now.

    A row whose primary key is taken by another row meanwhile is not written over: the batch is left out and named.
    Batches that were restored before stay as they are, whatever became of their rows since.

    Args:
        session: on the database of the rows.
        folder: of the run.
        seconds: no batch is begun after so long.

    Raises:
        CommandFailedError: the time is over; what is said to be restored is.
        TargetChangedError: the table cannot take the rows as they are.
        CommandFailedError: a file is damaged; nothing of it was inserted.
        psycopg.Error: the server refused; batches before that are in.
    """
    run = read_run(Path(folder))
    restored, until, batches = 0, time.monotonic() + seconds, run.batches
    for batch in batches:
        if batch.state is BatchState.RESTORED:
            restored += batch.rows
            continue
        if time.monotonic() >= until:
            whole = sum(one.rows for one in batches)
            raise CommandFailedError(f"The time is over: {restored:,} of {whole:,} rows are restored. Undo it again.")
        limit_statements(session, until - time.monotonic())
        table = table_of(session, batch)
        with session.transaction():
            _load(session, table, run, batch)
            session.execute(_insert(table, batch))
            present = _count_present(session, table, batch)
            if present != batch.rows:
                missing = counted(batch.rows - present, "row")
                raise PermanentError(
                    f"{missing} of {batch.file} cannot be restored: other rows have taken their place."
                )
            point("restore_inserted")
        point("restore_committed")
        run.mark(batch, BatchState.RESTORED)
        restored += present
    return restored


def rows_in_table(session: Session, table: RowTable, run: RunFolder, batch: Batch) -> int:
    """How many rows of a batch are in the table just as they were archived."""
    with session.transaction(force_rollback=True):
        _load(session, table, run, batch)
        return _count_present(session, table, batch)


def table_of(session: Session, batch: Batch) -> RowTable:
    """The table of a batch, if it can take the rows as they are.

    Raises:
        TargetChangedError: it cannot, and why.
    """
    name = printable(f"{batch.table_schema}.{batch.table_name}")
    table = read_table(session, batch.table_schema, batch.table_name, batch.time_column)
    if table is None:
        raise TargetChangedError(f"There is no table {name} any more.")
    if table.columns != batch.columns:
        raise TargetChangedError(f"The columns of {name} are not those of the archive any more.")
    if table.insert_triggers:
        triggers = listed([printable(trigger, 80) for trigger in table.insert_triggers])
        raise TargetChangedError(
            f"Inserting into {name} fires triggers, which may change or repeat things: {triggers}."
        )
    return table


def _load(session: Session, table: RowTable, run: RunFolder, batch: Batch) -> None:
    """The rows of a batch in the temporary table ``archived``, which goes with the transaction."""
    columns = _columns(batch)
    session.execute(
        sql.SQL("create temporary table archived on commit drop as select {} from {} with no data").format(
            columns, table.identifier
        )
    )
    statement = "copy pg_temp.archived ({}) from stdin with (format csv, header, encoding 'UTF8')"
    with run.open_rows(batch) as text, session.cursor() as cursor:  # noqa: SIM117 - the file is compared first
        with cursor.copy(sql.SQL(statement).format(columns)) as stream:
            while block := text.read(_BLOCK):
                stream.write(block)


def _insert(table: RowTable, batch: Batch) -> sql.Composed:
    statement = (
        "insert into {table} ({columns}) overriding system value select {columns} from pg_temp.archived "
        "on conflict do nothing"
    )
    return sql.SQL(statement).format(table=table.identifier, columns=_columns(batch))


def _count_present(session: Session, table: RowTable, batch: Batch) -> int:
    """Rows that are the same in every column, as text: some types know no equality."""
    query = sql.SQL(
        "select count(*) from pg_temp.archived as a join {table} as t on row({theirs})::text = row({ours})::text "
        "where t.{time} >= (select min({time}) from pg_temp.archived) "
        "and t.{time} <= (select max({time}) from pg_temp.archived)"
    ).format(
        table=table.identifier,
        time=sql.Identifier(batch.time_column),
        ours=sql.SQL(", ").join(sql.Identifier("a", column.name) for column in batch.columns),
        theirs=sql.SQL(", ").join(sql.Identifier("t", column.name) for column in batch.columns),
    )
    row = session.execute(query).fetchone()
    return int(row[0]) if row else 0


def _columns(batch: Batch) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column.name) for column in batch.columns)
