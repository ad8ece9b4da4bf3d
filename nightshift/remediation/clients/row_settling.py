"""What became of archived batches: asked of the server, which remembers how each transaction ended."""

from __future__ import annotations

import time

from psycopg import errors

from nightshift.remediation.clients.database_tables import RowTable
from nightshift.remediation.clients.postgres import Session
from nightshift.remediation.clients.row_archive import Batch, BatchState, RunFolder
from nightshift.remediation.clients.row_restoring import rows_in_table
from nightshift.remediation.errors import PermanentError, TemporaryError
from nightshift.remediation.text import counted

_SETTLE_SECONDS = 10.0
"""How long a session of a dead run may need to end."""


def transaction_status(session: Session, transaction: str) -> str:
    """``committed``, ``aborted``, ``in progress``; empty when the server does not remember it."""
    try:
        row = session.execute("select pg_xact_status(%s::xid8)", [transaction]).fetchone()
    except errors.InvalidParameterValue:
        return ""  # in the future: the server was restored from an older backup
    return str(row[0]) if row and row[0] else ""


def settle(session: Session, table: RowTable, run: RunFolder) -> None:
    """Mark what a dead run deleted and remove what it did not, so that no row is lost or archived twice.

    Raises:
        TemporaryError: the session of the dead run is still there.
        PermanentError: some rows of a batch are in the table and some are not, so a person has to look.
        psycopg.Error: the server did not answer.
    """
    run.discard_unfinished()
    for batch in run.batches:
        if batch.state is not BatchState.ARCHIVED:
            continue
        if _is_deleted(session, table, run, batch):
            run.mark(batch, BatchState.DELETED)
        else:
            run.discard(batch)


def _is_deleted(session: Session, table: RowTable, run: RunFolder, batch: Batch) -> bool:
    give_up_at = time.monotonic() + _SETTLE_SECONDS
    while (status := transaction_status(session, batch.transaction)) == "in progress":
        if time.monotonic() > give_up_at:
            raise TemporaryError("The session of an interrupted run has not ended yet.")
        time.sleep(0.2)
    if status:
        return status == "committed"
    present = rows_in_table(session, table, run, batch)
    if present not in (0, batch.rows):
        raise PermanentError(
            f"Of {counted(batch.rows, 'row')} in {run.path / batch.file} {present:,} are in the table."
        )
    return present == 0


def rows_deleted(session: Session, run: RunFolder) -> int | None:
    """How many rows a run deleted; None when that cannot be told yet. Reads only."""
    deleted = run.rows_deleted
    for batch in run.batches:
        if batch.state is BatchState.ARCHIVED:
            status = transaction_status(session, batch.transaction)
            if status in ("in progress", ""):
                return None
            deleted += batch.rows if status == "committed" else 0
    return deleted
