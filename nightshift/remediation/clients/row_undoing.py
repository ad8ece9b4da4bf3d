"""Take archived rows back into their table: which archive it is, whether it can be done, and whether it was.

Follows cryptofunk.DiskSpaceWarning.r2.1 and r2.2 backwards.
"""

from __future__ import annotations

from pathlib import Path

from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.postgres import Session
from nightshift.remediation.clients.row_archive import BatchState, RunFolder, read_run, runs_of
from nightshift.remediation.clients.row_archiving import archive_folder, hold_archives
from nightshift.remediation.clients.row_restoring import restore_rows, rows_in_table, table_of
from nightshift.remediation.disk_space.arguments import RestoreRows
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.text import listed, printable


def check_restorable(session: Session, arguments: RestoreRows) -> None:
    """Whether the archive is there and its table can take the rows.

    Raises:
        TargetChangedError: not, and why.
        PermanentError, CommandFailedError: the archive cannot be read.
        psycopg.Error: the server did not answer.
    """
    for batch in _archive(session, arguments).batches:
        table_of(session, batch)


def restore(session: Session, arguments: RestoreRows, seconds: float) -> tuple[int, str]:
    """Insert the rows again; how many are there now, and the folder they are from.

    Raises:
        NightshiftError, psycopg.Error: as :func:`restore_rows`.
    """
    run = _archive(session, arguments)
    for batch in run.batches[:1]:
        hold_archives(session, table_of(session, batch))
    return restore_rows(session, str(run.path), seconds), str(run.path)


def observe_restored(session: Session, arguments: RestoreRows) -> Observation:
    """Whether every archived row was put back. A batch that was, and is not marked so, has its rows in the table.

    Raises:
        NightshiftError, psycopg.Error: table or archive cannot be read.
    """
    run = _archive(session, arguments)
    for batch in run.batches:
        if batch.state is BatchState.RESTORED:
            continue
        if rows_in_table(session, table_of(session, batch), run, batch) != batch.rows:
            return Observation.NOT_DONE
    return Observation.DONE


def _archive(session: Session, arguments: RestoreRows) -> RunFolder:
    if arguments.archive is not None:
        return read_run(Path(arguments.archive))
    runs = runs_of(archive_folder(session, arguments), arguments.before)
    # Several archives may have this cut-off; one that was restored as a whole is not the one to restore.
    waiting = [run for run in runs if any(batch.state is not BatchState.RESTORED for batch in run.batches)] or runs
    if len(waiting) == 1:
        return waiting[0]
    names = listed([printable(str(run.path)) for run in waiting], 9)
    why = f"several archives could hold them: {names}" if waiting else "no archive holds them"
    raise TargetChangedError(f"The rows of {printable(arguments.table_name)} cannot be put back: {why}.")
