"""Space on a database's volume: old rows are archived, then deleted, with what makes that safe to run unattended.

Only the gate carries it out; see :mod:`nightshift.remediation.clients.row_archiving`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.clients import row_archiving
from nightshift.remediation.clients.postgres import Session, open_postgres
from nightshift.remediation.clients.row_undoing import check_restorable, observe_restored, restore
from nightshift.remediation.clients.table_privileges import archive_lacks, table_lacks
from nightshift.remediation.clients.table_vacuum import table_bytes, vacuum_table
from nightshift.remediation.connections import PostgresConnection
from nightshift.remediation.disk_space.arguments import ArchiveRows, RestoreRows
from nightshift.remediation.disk_space.database_effects import RowsArchived
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.models import Action, Quantity, Risk, UndoWhen
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import counted, printable
from nightshift.tasks.steps import action

ARCHIVE_SECONDS = 90.0
"""After this no further batch begins: the rest waits for the next attempt."""
VACUUM_SECONDS = 30.0
TIMEOUT_SECONDS = 150.0
"""With the last batch, connecting and slow disks."""
RESTORE_SECONDS = 240.0
RESTORE_TIMEOUT_SECONDS = 300.0


@contextmanager
def _database_of(action: Action, connections: Connections) -> Iterator[tuple[str, Session]]:
    name = action.target.part("database")
    connection = connections.get(name)
    if not isinstance(connection, PostgresConnection):
        raise ConfigurationError(f"There is no database {name!r} in the catalogue any more.")
    with open_postgres(name, connection) as session:
        yield name, session


def _still_fit(action: Action, connections: Connections) -> None:
    with _database_of(action, connections) as (_, session):
        row_archiving.check_table(session, ArchiveRows.from_json(action.arguments))


def _may_archive(action: Action, connections: Connections) -> list[Lack]:
    arguments = ArchiveRows.from_json(action.arguments)
    with _database_of(action, connections) as (_, session):
        place = (arguments.table_schema, arguments.table_name)
        # To lock a row takes the privilege to update it.
        lacks = table_lacks(session, *place, ("select", "update", "delete"), temporary=False)
    return [*lacks, *archive_lacks(arguments.to)]


def _may_restore(action: Action, connections: Connections) -> list[Lack]:
    arguments = RestoreRows.from_json(action.arguments)
    with _database_of(action, connections) as (_, session):
        place = (arguments.table_schema, arguments.table_name)
        lacks = table_lacks(session, *place, ("select", "insert"), temporary=True)
    return [*lacks, *archive_lacks(arguments.archive or arguments.to)]


def _observe(action: Action, connections: Connections) -> Observation:
    with _database_of(action, connections) as (_, session):
        return row_archiving.observe_archive(session, ArchiveRows.from_json(action.arguments))


def _rows_back(action: Action, effect: Effect | None) -> Action:
    """The opposite of archiving rows: as many as went, or as many as could have gone where that was never recorded."""
    archived = ArchiveRows.from_json(action.arguments)
    done = RowsArchived.model_validate(effect.evidence) if effect is not None and effect.evidence else None
    rows = done.rows if done else action.bound.amount
    arguments = RestoreRows(
        archive=done.archive if done else None, **archived.model_dump(exclude={"rows", "batch_rows"})
    )
    table = printable(f"{archived.table_schema}.{archived.table_name}")
    where = printable(arguments.archive or f"the archive in {archived.to}")
    return Action(
        kind=RestoreRows.KIND,
        target=action.target,
        arguments=arguments.to_json(),
        items=action.items,
        title=f"Insert {counted(rows, 'row')} of {table} again from {where}",
        reason="Their files are compared with their checksums first; a row whose key is taken meanwhile stops it. They "
        "take about as much of the volume as before they went: see that it has room.",
        risk=Risk.HIGH,
        bound=Quantity(amount=rows, unit="rows"),
        undo="cannot be undone by itself; the next archiving takes them again",
    )


def _still_restorable(action: Action, connections: Connections) -> None:
    with _database_of(action, connections) as (_, session):
        check_restorable(session, RestoreRows.from_json(action.arguments))


def _observe_restored(action: Action, connections: Connections) -> Observation:
    with _database_of(action, connections) as (_, session):
        return observe_restored(session, RestoreRows.from_json(action.arguments))


@action(
    kind=RestoreRows.KIND,
    name="restore archived rows",
    timeout=RESTORE_TIMEOUT_SECONDS,
    precondition=_still_restorable,
    observe=_observe_restored,
    permitted=_may_restore,
    undo=None,
)
def restore_archived_rows(action: Action, connections: Connections) -> Effect:
    """The undo of ``archive_rows``: cryptofunk.DiskSpaceWarning.r2.1, r2.2."""
    with _database_of(action, connections) as (_, session):
        rows, archive = restore(session, RestoreRows.from_json(action.arguments), RESTORE_SECONDS)
    return Effect(
        summary=f"{counted(rows, 'row')} are in the table again, just as in {printable(archive)}",
        amount=Quantity(amount=rows, unit="rows"),
        evidence={"archive": archive, "rows": rows},
    )


@action(
    kind=ArchiveRows.KIND,
    name="archive, then delete rows",
    timeout=TIMEOUT_SECONDS,
    precondition=_still_fit,
    observe=_observe,
    permitted=_may_archive,
    undo=Undo(when=UndoWhen.BY_HAND, action=_rows_back),  # by itself it would fill a volume that is full
)
def archive_rows(action: Action, connections: Connections) -> Effect:
    """Operations ``postgres.export_rows`` and ``postgres.delete_rows``: cryptofunk.DiskSpaceWarning.r2.1, r2.2."""
    asked = ArchiveRows.from_json(action.arguments)
    arguments = asked.model_copy(update={"rows": min(asked.rows, action.bound.amount)})
    with _database_of(action, connections) as (name, session):
        before = table_bytes(session, row_archiving.check_table(session, arguments))
        done = row_archiving.archive_rows(session, name, arguments, ARCHIVE_SECONDS)
        vacuumed = vacuum_table(session, done.table, before, VACUUM_SECONDS)
    result = RowsArchived(
        rows=done.rows,
        in_archive=done.rows_in_folder,
        files=done.files,
        archive=done.folder,
        left=done.why_left,
        table_bytes_before=vacuumed.bytes_before,
        table_bytes_after=vacuumed.bytes_after,
        free_inside=vacuumed.free_inside,
        vacuum_trouble=vacuumed.trouble,
    )
    amount = Quantity(amount=result.returned, unit="bytes")
    return Effect(summary=result.summary, amount=amount, evidence=result.model_dump(mode="json"))
