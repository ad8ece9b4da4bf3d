"""Sessions of a PostgreSQL server that make trouble for real, and innocent ones that must come to no harm."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from lab.waiting import until

Session = psycopg.Connection[tuple[Any, ...]]


class DatabaseSessions:
    """Opens sessions of ordinary roles in one database; all of them end with it.

    ``app`` is the role of the applications, ``night`` one as Nightshift should have it.
    """

    def __init__(self, url: str) -> None:
        """Make the roles and a table.

        Args:
            url: of the database, for its superuser.
        """
        self.url = url
        self._open: list[Session] = []
        self._threads: list[threading.Thread] = []
        self.admin = self.session("admin", user="")
        for role in ("app", "night"):
            if self.admin.execute("select from pg_roles where rolname = %s", [role]).fetchone() is None:
                self.admin.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
        self.admin.execute("grant pg_monitor, pg_signal_backend to night")
        self.admin.execute("create table item as select g as id, 0 as n from generate_series(1, 100) g")
        self.admin.execute("grant all on item to app")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        others = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = %s"
        self.admin.execute(others, [self.admin.info.dbname])
        for thread in self._threads:
            thread.join(60)
        for one in self._open:
            one.close()

    def url_of(self, user: str) -> str:
        """The database for this role."""
        return self.url.replace("postgres@", f"{user}@", 1) if user else self.url

    def session(self, application: str, *, user: str = "app") -> Session:
        """One that is idle."""
        opened = psycopg.connect(self.url_of(user), application_name=application, autocommit=True)
        self._open.append(opened)
        return opened

    def in_transaction(self, application: str, row: int = 1) -> Session:
        """One that has written a row, and leaves its transaction open."""
        opened = self.session(application)
        opened.execute("begin")
        opened.execute("update item set n = n + 1 where id = %s", [row])
        return opened

    def runs(self, application: str, statement: str, *, in_block: bool = False, user: str = "app") -> Session:
        """One that runs a statement for as long as it takes; returns when the server has begun with it."""
        opened = self.session(application, user=user)

        def run() -> None:
            try:
                if in_block:
                    opened.execute("begin")
                opened.execute(statement)
            except psycopg.Error:
                return

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.append(thread)
        pid = opened.info.backend_pid
        self.wait_for("select from pg_stat_activity where pid = %s and state = 'active'", pid)
        return opened

    def waits(self, application: str, row: int = 1) -> Session:
        """One that waits for the lock on a row."""
        opened = self.runs(application, f"update item set n = n + 1 where id = {row:d}", in_block=True)  # noqa: S608
        self.wait_for("select where cardinality(pg_blocking_pids(%s)) > 0", opened.info.backend_pid)
        return opened

    def wait_for(self, question: str, *values: object) -> None:
        """Until the superuser's question has a row."""
        until(lambda: self.admin.execute(question, values).fetchone() is not None)

    def pids(self) -> set[int]:
        """Of all sessions of this database but the superuser's own."""
        rows = self.admin.execute("select pid from pg_stat_activity where datname = current_database()")
        return {pid for (pid,) in rows} - {self.admin.info.backend_pid}
