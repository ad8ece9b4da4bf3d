"""A gateway as its own process, that can be stopped or killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from lab.ports import free_port

TOKEN = "lab-webhook-token"  # noqa: S105 - of a gateway that only the lab uses


class GatewayProcess:
    """``python -m nightshift.gateway.serve`` on a free port of 127.0.0.1."""

    def __init__(self, *, database_url: str, prefect_api_url: str, runbooks: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the gateway
        self._running: subprocess.Popen[bytes] | None = None
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))},
            "NIGHTSHIFT_HOME": "/nonexistent",
            "NIGHTSHIFT_DATABASE_URL": database_url,
            "NIGHTSHIFT_PREFECT_API_URL": prefect_api_url,
            "NIGHTSHIFT_RUNBOOKS": str(runbooks),
            "NIGHTSHIFT_GATEWAY_PORT": str(self.port),
            "NIGHTSHIFT_WEBHOOK_TOKEN": TOKEN,
            **settings,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._log.close()

    def start(self) -> None:
        """Start on the same port as before; returns when it answers.

        Raises:
            RuntimeError: it ended, or did not answer within 60 seconds.
        """
        command = [sys.executable, "-m", "nightshift.gateway.serve"]
        self._running = subprocess.Popen(command, env=self._environment, stdout=self._log, stderr=self._log)
        give_up_at = time.monotonic() + 60
        while self._running.poll() is None and time.monotonic() < give_up_at:
            try:
                if httpx.get(f"{self.url}/healthz", timeout=2, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the gateway did not start: {self.log()[-3000:]}")

    def stop(self) -> int | None:
        """Ask it to end, as a service manager would; its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let it die without a chance to clean up."""
        self._end(signal.SIGKILL)

    def post(self, body: object, *, token: str = TOKEN, timeout: float = 15) -> httpx.Response:
        """Send a webhook."""
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.post(f"{self.url}/alerts", json=body, headers=headers, timeout=timeout, trust_env=False)

    def log(self) -> str:
        """What it logged so far, over all its lives."""
        return os.pread(self._log.fileno(), 10_000_000, 0).decode(errors="replace")

    def _end(self, how: signal.Signals) -> int | None:
        if self._running is None:
            return None
        self._running.send_signal(how)
        code = self._running.wait(timeout=30)
        self._running = None
        return code
