"""The clock of a database server, set forward and back while others work with the database."""

from __future__ import annotations

import psycopg
from psycopg import sql

_SCHEMA = """
create schema moved;
create table moved.clock (seconds double precision not null, stands_at double precision);
insert into moved.clock values (0, null);
create function moved.clock_timestamp() returns timestamptz volatile language sql as
    'select coalesce(to_timestamp(stands_at), pg_catalog.clock_timestamp()) + seconds * interval ''1 second''
     from moved.clock';
create function moved.now() returns timestamptz volatile language sql as 'select moved.clock_timestamp()';
"""
_DEFAULTS = """
select table_name, column_name from information_schema.columns
where table_schema = 'public' and column_default = 'clock_timestamp()'
"""
_HAPPENED = (
    *("incident", "journal", "lease", "plan", "approval", "decision", "delivery"),
    *("person", "identity_try", "switch", "mode_change", "maintenance"),
)


class MovedClock:
    """Stands before the real clock of one database, for every session that is opened from now on.

    Names are looked up in the schema ``moved`` before PostgreSQL's own; where the tables' defaults were bound to its
    own clock already, they are bound anew.
    """

    def __init__(self, database_url: str, *, stands_at: int | None = None) -> None:
        """Put it there; if it stands, nothing depends on how fast the machine is: time passes only by jumps."""
        self._url = database_url
        self.seconds = 0.0
        """How far it is ahead of the real one."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(_SCHEMA)
            connection.execute("update moved.clock set stands_at = %s", (stands_at,))
            for table, column in connection.execute(_DEFAULTS).fetchall():
                statement = "alter table {} alter column {} set default moved.clock_timestamp()"
                connection.execute(sql.SQL(statement).format(sql.Identifier(table), sql.Identifier(column)))
            name = sql.Identifier(connection.info.dbname)
            statement = "alter database {} set search_path = moved, pg_catalog, public"
            connection.execute(sql.SQL(statement).format(name))

    def jump(self, seconds: float) -> None:
        """Set it forward, or back."""
        self.set(self.seconds + seconds)

    def set(self, seconds: float) -> None:
        """Let it be so far ahead of the real one."""
        self.seconds = seconds
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("update moved.clock set seconds = %s", (seconds,))

    def empty(self) -> None:
        """Forget everything that happened in this ledger, also what may only be added to."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("set session_replication_role = replica")
            connection.execute(f"truncate {', '.join(_HAPPENED)} cascade")
