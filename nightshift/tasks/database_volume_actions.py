"""Space on a database's volume: old rows are archived, then deleted, with what makes that safe to run unattended.

Only the gate carries it out; see :mod:`nightshift.remediation.clients.row_archiving`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nightshift.remediation.actions import Connections, Effect, Observation
from nightshift.remediation.clients import row_archiving
from nightshift.remediation.clients.postgres import Session, open_postgres
from nightshift.remediation.clients.row_restoring import restore_rows
from nightshift.remediation.clients.table_vacuum import table_bytes, vacuum_table
from nightshift.remediation.connections import PostgresConnection
from nightshift.remediation.disk_space.arguments import ArchiveRows
from nightshift.remediation.disk_space.database_effects import RowsArchived
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.models import Action, Quantity
from nightshift.tasks.steps import action

ARCHIVE_SECONDS = 90.0
"""After this no further batch begins: the rest waits for the next attempt."""
VACUUM_SECONDS = 30.0
TIMEOUT_SECONDS = 150.0
"""With the last batch, connecting and slow disks."""


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


def _observe(action: Action, connections: Connections) -> Observation:
    with _database_of(action, connections) as (_, session):
        return row_archiving.observe_archive(session, ArchiveRows.from_json(action.arguments))


def _restore(action: Action, effect: Effect, connections: Connections) -> None:
    with _database_of(action, connections) as (_, session):
        restore_rows(session, str(effect.evidence["archive"]))


@action(
    kind=ArchiveRows.KIND,
    name="archive, then delete rows",
    timeout=TIMEOUT_SECONDS,
    precondition=_still_fit,
    observe=_observe,
    undo=_restore,
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
