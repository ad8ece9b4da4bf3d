"""PgBouncer (Debian's) in front of a PostgreSQL server, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from types import TracebackType
from typing import Self

import psycopg

from lab.folders import temporary_folder
from lab.ports import free_port
from lab.postgres import PostgresServer
from lab.waiting import PATIENCE_SECONDS

_NOBODY = 65534


class PgBouncer:
    """One database in pool mode ``transaction``; its files are in a temporary folder, which is removed at the end."""

    def __init__(self, server: PostgresServer, database: str, *, server_port: int | None = None, size: int = 2) -> None:
        self.port = free_port()
        self.database = database
        self._folder = temporary_folder("nightshift-pgbouncer-")
        (self._folder / "pgbouncer.ini").write_text(f"""
[databases]
{database} = host=127.0.0.1 port={server_port or server.port} dbname={database} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
admin_users = admin
pool_mode = transaction
default_pool_size = {size}
query_wait_timeout = 0
server_login_retry = 1
stats_period = 1
logfile = {self._folder}/log
""")
        self._running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = ["/usr/sbin/pgbouncer", str(self._folder / "pgbouncer.ini")]
        if os.geteuid() == 0:
            for path in (self._folder, self._folder / "pgbouncer.ini"):
                os.chown(path, _NOBODY, _NOBODY)
            command = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *command]
        self._running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            try:
                psycopg.connect(self.console_url, connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return self
        raise RuntimeError("PgBouncer did not start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.terminate()
            self._running.wait(PATIENCE_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def console_url(self) -> str:
        """Of the admin console."""
        return f"postgresql://admin@127.0.0.1:{self.port}/pgbouncer"

    def url(self) -> str:
        """Of the database, through the pooler."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{self.database}"
