"""A real Prometheus that scrapes one page of metrics, which can be changed while it runs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from lab.folders import temporary_folder
from lab.ports import free_port


class PrometheusProcess:
    """Starts on a free port of 127.0.0.1 and scrapes ``page`` again and again; its folder is removed at the end.

    Args:
        page: the metrics, in Prometheus' text format.
        every_ms: how often it scrapes, and evaluates its rules.
        rules: files of alert rules.
        alertmanager: the address of the Alertmanager that gets the alerts.
        history: what was measured before it started, in the format of OpenMetrics, with times.
    """

    def __init__(
        self,
        page: str,
        *,
        every_ms: int = 1000,
        rules: Sequence[Path] = (),
        alertmanager: str | None = None,
        history: str = "",
    ) -> None:
        self.page = page
        self._history = history
        self._every_ms = every_ms
        self._rules = [str(file) for file in rules]
        self._alertmanager = alertmanager
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = temporary_folder("nightshift-prometheus-")
        self._exporter = ThreadingHTTPServer(("127.0.0.1", 0), self._answering())
        self._thread = threading.Thread(target=self._exporter.serve_forever, daemon=True)
        self._running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        scrape = {
            "job_name": "lab",
            "scrape_timeout": f"{self._every_ms}ms",
            "honor_labels": True,
            "static_configs": [{"targets": [f"127.0.0.1:{self._exporter.server_port}"]}],
        }
        every = f"{self._every_ms}ms"
        configuration: dict[str, Any] = {
            "global": {"scrape_interval": every, "evaluation_interval": every},
            "rule_files": self._rules,
            "scrape_configs": [scrape],
        }
        if self._alertmanager is not None:
            address = urlsplit(self._alertmanager).netloc
            configuration["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [address]}]}]}
        # JSON is YAML, and needs no quoting rules of our own.
        (self._folder / "prometheus.yml").write_text(json.dumps(configuration))
        if self._history:
            self._remember()
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.send_signal(signal.SIGTERM)
            self._running.wait(timeout=15)
        self.kill_target()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill_target(self) -> None:
        """Nothing answers on the target's port any more; a second time changes nothing."""
        if self._thread.is_alive():
            self._exporter.shutdown()
            self._exporter.server_close()
            self._thread.join()

    def kill(self) -> None:
        """Prometheus itself is gone."""
        if self._running is not None:
            self._running.kill()
            self._running.wait(timeout=15)

    def _remember(self) -> None:
        """Fill its folder of series with what was measured before."""
        measured = self._folder / "history"
        measured.write_text(f"{self._history.rstrip()}\n# EOF\n")
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(measured), str(self._folder / "series")]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def _start(self) -> None:
        """Returns when it has scraped.

        Raises:
            FileNotFoundError: there is no Prometheus on this machine.
            RuntimeError: it did not scrape within 30 seconds.
        """
        program = shutil.which("prometheus")
        if program is None:
            raise FileNotFoundError("Prometheus is not installed (Debian: prometheus)")
        command = [
            program,
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'series'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--rules.alert.resend-delay=1s",
        ]
        with (self._folder / "log").open("ab") as log:
            self._running = subprocess.Popen(command, stdout=log, stderr=log)
        give_up_at = time.monotonic() + 30
        while self._running.poll() is None and time.monotonic() < give_up_at:
            try:
                answer = httpx.get(f"{self.url}/api/v1/query", params={"query": "up == 1"}, timeout=2, trust_env=False)
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            if answer.is_success and answer.json()["data"]["result"]:
                return
            time.sleep(0.1)
        raise RuntimeError(f"Prometheus did not start: {(self._folder / 'log').read_text(errors='replace')[-2000:]}")

    def _answering(self) -> type[BaseHTTPRequestHandler]:
        prometheus = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(prometheus.page.encode())

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
                """Not on the test's output."""

        return Page
