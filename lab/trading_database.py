"""CryptoFunk's table of trading sessions in a real database, filled with every value that has ever broken an export."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from nightshift.remediation.clients.postgres import Session, open_postgres
from nightshift.remediation.clients.row_archive import Batch, BatchState
from nightshift.remediation.connections import PostgresConnection, SecretReference
from nightshift.remediation.disk_space.arguments import ArchiveRows

CUTOFF = "2026-01-01T00:00:00Z"
OLD = 100
"""Rows before the cut-off, one per hour; the newest is an hour older than it."""
YOUNG = 20
HOSTILE_TEXTS = (
    "plain",
    "",
    None,
    'say "no"; it\'s',
    "two\nlines\r\nand a \\N and \\.",
    "\\.",
    "a,b\tc;",
    "naïve 東京 🦊 \u202eright to left",
    "'); drop table trading_sessions; --",
    "=cmd|' /C calc'!A0",
    "%s %(x)s {0}",
    '"',
)


class TradingDatabase:
    """One database of a running server, seen with eyes of its own: plain psycopg, no code under test."""

    def __init__(
        self, url: str, schema: str = "public", table: str = "trading_sessions", time: str = "created_at"
    ) -> None:
        self.url = url
        self.schema, self.table, self.time = schema, table, time

    @property
    def name(self) -> sql.Identifier:
        """The table."""
        return sql.Identifier(self.schema, self.table)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement with names in it: ``{table}``, its ``{time}`` column, its ``{database}``."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            composed = sql.SQL(statement).format(
                table=self.name, time=sql.Identifier(self.time), database=sql.Identifier(connection.info.dbname)
            )
            cursor = connection.execute(composed)
            return cursor.fetchall() if cursor.description else []

    def fill(self, old: int = OLD, young: int = YOUNG, padding: int = 0) -> None:
        """Make the table and its rows; ``padding`` adds so many incompressible bytes to each."""
        self.execute(f"create schema if not exists {sql.Identifier(self.schema).as_string()}")
        self.execute(
            "create table {table} (id bigint generated always as identity primary key, {time} timestamptz(3) not null, "
            '"Note" text, amount numeric, ratio float8, tags text[], extra jsonb, raw bytea, lasted interval, '
            "kind char(5), padding text, doubled numeric generated always as (amount * 2) stored)"
        )
        self.execute("create index on {table} ({time})")
        self.add(old, before=True, padding=padding)
        self.add(young, before=False, padding=padding)

    def add(self, rows: int, *, before: bool, padding: int = 0) -> None:
        """Insert rows on one side of the cut-off."""
        statement = (
            'insert into {table} ({time}, "Note", amount, ratio, tags, extra, raw, lasted, kind, padding) '
            "values ({at}::timestamptz, {values})"
        )
        with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
            for number in range(1, rows + 1):
                text = HOSTILE_TEXTS[number % len(HOSTILE_TEXTS)]
                values = (
                    text,
                    None if number % 7 == 0 else f"{number}.10",
                    float("nan") if number % 11 == 0 else 0.1 * number,
                    [text, "", 'q"'] if number % 3 else [],
                    Jsonb({"text": text, "n": number}) if number % 5 else None,
                    bytes(range(number % 256)),
                    "-1 month 2 days -00:00:01.5",
                    "ab",
                    os.urandom(padding // 2).hex() if padding else None,
                )
                hours = timedelta(hours=-number if before else number)
                composed = sql.SQL(statement).format(
                    table=self.name,
                    time=sql.Identifier(self.time),
                    at=sql.Literal(datetime.fromisoformat(CUTOFF) + hours),
                    values=sql.SQL(", ").join(sql.Literal(value) for value in values),
                )
                cursor.execute(composed)

    def rows(self) -> Counter[str]:
        """Every row of the table as text."""
        return Counter(str(row) for (row,) in self.execute("select t::text from {table} t"))

    def archived(self, folder: Path) -> Counter[str]:
        """Every row of the archives below a folder that counts as deleted from the table, read by PostgreSQL itself."""
        found: Counter[str] = Counter()
        with psycopg.connect(self.url) as connection:
            for manifest in sorted(folder.rglob("batch-*.json")):
                batch = Batch.model_validate_json(manifest.read_bytes())
                if batch.state is BatchState.DELETED:
                    found += self._read(connection, batch, manifest.parent / batch.file)
        return found

    def _read(self, connection: psycopg.Connection, batch: Batch, file: Path) -> Counter[str]:
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in batch.columns)
        with connection.transaction(force_rollback=True), connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("create temporary table readback (like {table} including generated)").format(table=self.name)
            )
            with cursor.copy(
                sql.SQL("copy readback ({}) from stdin with (format csv, header)").format(columns)
            ) as copy:
                copy.write(gzip.decompress(file.read_bytes()))
            return Counter(str(row) for (row,) in cursor.execute("select r::text from readback r"))

    def arguments(self, folder: Path, rows: int = 1000, batch_rows: int = 10) -> ArchiveRows:
        """The order to archive what lies before the cut-off."""
        return ArchiveRows(
            table_schema=self.schema,
            table_name=self.table,
            time_column=self.time,
            before=CUTOFF,
            rows=rows,
            to=str(folder),
            batch_rows=batch_rows,
        )

    def connection(self, url: str | None = None) -> PostgresConnection:
        """As the catalogue would name it; the URL is left in the environment, where secrets are."""
        os.environ["TRADING_DATABASE_URL"] = url or self.url
        return PostgresConnection(type="postgres", url=SecretReference(env="TRADING_DATABASE_URL"))

    @contextmanager
    def open(self) -> Iterator[Session]:
        """A session as Nightshift opens it."""
        with open_postgres("database", self.connection()) as session:
            yield session

    def as_role(self, role: str) -> str:
        """The URL for another account of the server."""
        return self.url.replace("//postgres@", f"//{role}@")
