"""Plain VACUUM of one table, and what it really brought: bytes given back to the volume, and room inside the table."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from nightshift.remediation.clients.database_tables import RowTable
from nightshift.remediation.clients.postgres import Session, connection_is_gone, limit_statements, translated
from nightshift.remediation.text import printable

_SIZE = "select pg_total_relation_size(%s::oid)"
_FREE_SPACE_MAP = (
    "select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where extname = %s"
)


@dataclass(frozen=True)
class Vacuumed:
    """The table before and after."""

    bytes_before: int
    bytes_after: int
    free_inside: int | None
    """Bytes the free space map offers to new rows; None where it cannot be read."""
    trouble: str = ""
    """Why it was not vacuumed, or not to its end."""


def table_bytes(session: Session, table: RowTable) -> int:
    """The table with its indexes and TOAST."""
    row = session.execute(_SIZE, [table.oid]).fetchone()
    return int(row[0]) if row and row[0] else 0


def vacuum_table(session: Session, table: RowTable, bytes_before: int, seconds: float) -> Vacuumed:
    """Vacuum, never FULL: that locks the table and writes a whole copy to the volume that is full.

    What was deleted before stays deleted, so trouble here is told and not raised.
    """
    warnings: list[str] = []

    def listen(notice: psycopg.errors.Diagnostic) -> None:
        # What the account may not vacuum is skipped with no more than a warning.
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(printable(notice.message_primary or ""))

    session.add_notice_handler(listen)
    limit_statements(session, seconds)
    try:
        session.execute(sql.SQL("vacuum {}").format(table.identifier))
        return Vacuumed(bytes_before, table_bytes(session, table), _free_inside(session, table), " ".join(warnings))
    except psycopg.Error as error:
        trouble = translated("The server", error).message
        after = bytes_before if connection_is_gone(error) else table_bytes(session, table)
        return Vacuumed(bytes_before, after, None, trouble)
    finally:
        session.remove_notice_handler(listen)


def _free_inside(session: Session, table: RowTable) -> int | None:
    row = session.execute(_FREE_SPACE_MAP, ["pg_freespacemap"]).fetchone()
    if row is None:
        return None
    query = sql.SQL("select coalesce(sum(avail), 0)::bigint from {}({}::oid::regclass)")
    try:
        found = session.execute(query.format(sql.Identifier(row[0], "pg_freespace"), sql.Literal(table.oid))).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return int(found[0]) if found else None
