"""Whether the account of a database may do what an action on a table needs, with the statement that grants it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from psycopg import sql

from nightshift.remediation.clients.postgres import Session
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import printable

_QUESTIONS = """
select current_user, current_database(), has_schema_privilege(n.oid, 'usage'),
       has_database_privilege(current_database(), 'temporary'), c.oid
from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s
"""


def table_lacks(session: Session, schema: str, name: str, privileges: Sequence[str], *, temporary: bool) -> list[Lack]:
    """Which of the privileges on a table the account lacks; none for a table that is not there.

    Args:
        session: on the database, as the account that acts.
        schema: of the table.
        name: of the table.
        privileges: ``select``, ``delete``, ….
        temporary: whether a temporary table is needed, too.

    Raises:
        psycopg.Error: the server did not answer.
    """
    row = session.execute(_QUESTIONS, [schema, name]).fetchone()
    if row is None:
        return []
    user, database, may_use, may_make_temporary, oid = row
    found = list(_on_table(session, oid, (schema, name), privileges, user))
    if not may_use:
        found.append(_lack(f"use the schema {schema}", "grant usage on schema {} to {}", schema, user))
    if temporary and not may_make_temporary:
        found.append(_lack("make temporary tables", "grant temporary on database {} to {}", database, user))
    return found


def _on_table(
    session: Session, oid: int, table: tuple[str, str], privileges: Sequence[str], user: str
) -> Iterator[Lack]:
    has = session.execute(
        "select p from unnest(%s::text[]) as p where has_table_privilege(%s::oid, p)", [list(privileges), oid]
    )
    granted = {str(privilege) for (privilege,) in has}
    if missing := [privilege for privilege in privileges if privilege not in granted]:
        what = f"{', '.join(missing)} on table {'.'.join(table)}"
        yield _lack(what, f"grant {', '.join(missing)} on {{}} to {{}}", table, user)


def _lack(what: str, statement: str, subject: str | tuple[str, ...], user: str) -> Lack:
    parts = (subject,) if isinstance(subject, str) else subject
    grant = sql.SQL(statement).format(sql.Identifier(*parts), sql.Identifier(user)).as_string()
    return Lack(what=printable(what), grant=printable(f"{grant};", 300))


def archive_lacks(directory: str) -> list[Lack]:
    """Whether this process may write below a directory; where it is missing, the nearest one above it counts."""
    path = Path(directory)
    while not path.exists() and path != path.parent:
        path = path.parent
    if os.access(path, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return []
    where = printable(str(path))
    grant = f"on the worker: setfacl -m u:{os.geteuid()}:rwx {where}"
    return [Lack(what=f"write in {where} on the worker", grant=grant)]
