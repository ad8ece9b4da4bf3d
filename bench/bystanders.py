"""Sessions that have nothing to do with an exhausted pool, and whether they notice its relief."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psycopg

from lab.database_sessions import DatabaseSessions

_IDLE = ("web", "web", "web", "report")
_ROW = 50
_WORK_SECONDS = 0.02


@dataclass(frozen=True)
class Harm:
    """What became of them."""

    sessions: int
    lost: int
    """Of these, ended by somebody else."""
    statements: int
    """That were tried meanwhile, by one that works and by two that wait long for theirs."""
    failed: int
    """Of these, cancelled or broken off."""


class Bystanders:
    """Idle ones, a dump, a superuser's long statement, and a client in short transactions, for one context.

    Args:
        sessions: of the database.
    """

    def __init__(self, sessions: DatabaseSessions) -> None:
        self._sessions = sessions
        self._stop = threading.Event()
        self._statements = self._failed = 0

    def __enter__(self) -> Self:
        sessions = self._sessions
        self._long = [
            sessions.runs("pg_dump", "select pg_sleep(600)"),
            sessions.runs("admin", "select pg_sleep(600)", user=""),
        ]
        self._working = sessions.session("shop")
        idle = [sessions.session(name) for name in _IDLE]
        self._pids = {one.info.backend_pid for one in (*self._long, self._working, *idle)}
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10)

    def harm(self) -> Harm:
        """So far; the long statements count as failed when they do not run any more."""
        query = "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep%%'"
        row = self._sessions.admin.execute(f"{query} and pid = any(%s)", [list(self._pids)]).fetchone()
        waiting = row[0] if row is not None else 0
        return Harm(
            sessions=len(self._pids),
            lost=len(self._pids - self._sessions.pids()),
            statements=self._statements + len(self._long),
            failed=self._failed + len(self._long) - waiting,
        )

    def _work(self) -> None:
        while not self._stop.wait(_WORK_SECONDS):
            self._statements += 1
            try:
                with self._working.transaction():
                    self._working.execute("update item set n = n + 1 where id = %s", [_ROW])
                    time.sleep(_WORK_SECONDS)
            except psycopg.Error:
                self._failed += 1
