"""A real Prefect server as we run it: on PostgreSQL, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from types import TracebackType
from typing import Self

import httpx

from lab.folders import temporary_folder
from lab.ports import free_port
from nightshift.running.prefect_server import api_url, server_command, server_environment


class PrefectServer:
    """Starts on an empty database; its folder is removed at the end."""

    def __init__(self, database_url: str) -> None:
        self.port = free_port()
        self.url = api_url(self.port)
        self._folder = temporary_folder("nightshift-prefect-")
        self._environment = server_environment(self._folder, database_url, self.port)
        self._running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start on the same port as before; returns when it is healthy.

        Raises:
            RuntimeError: it ended, or was not healthy within five minutes.
        """
        environment = {**os.environ, **{key: value for key, value in self._environment.items() if value is not None}}
        for removed in (key for key, value in self._environment.items() if value is None):
            environment.pop(removed, None)
        with (self._folder / "log").open("ab") as log:
            self._running = subprocess.Popen(
                server_command(self.port), env=environment, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        give_up_at = time.monotonic() + 300  # on a machine with much else to do
        while self._running.poll() is None and time.monotonic() < give_up_at:
            try:
                if httpx.get(f"{self.url}/health", timeout=2, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError(f"the Prefect server did not start: {(self._folder / 'log').read_text()[-3000:]}")

    def stop(self) -> None:
        """Shut down, with the children that it started."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let it die without a chance to clean up."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._running is None:
            return
        os.killpg(self._running.pid, how)
        try:
            self._running.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait(timeout=10)
        self._running = None
