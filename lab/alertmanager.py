"""A real Alertmanager that delivers to one webhook, with settings fast enough for tests and the demo."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from lab.folders import temporary_folder
from lab.ports import free_port

_PROGRAMS = ("prometheus-alertmanager", "alertmanager")


class AlertmanagerProcess:
    """Starts on a free port of 127.0.0.1; its folder is removed at the end.

    Args:
        webhook_url: where it delivers, e.g. ``http://127.0.0.1:8420/alerts``.
        token: bearer token that it sends.
        configuration: its file; without one, the lab's own.
    """

    def __init__(self, webhook_url: str, token: str, configuration: Mapping[str, Any] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = temporary_folder("nightshift-am-")
        self._running: subprocess.Popen[bytes] | None = None
        self._fired: dict[str, tuple[dict[str, str], datetime]] = {}
        # JSON is YAML, and needs no quoting rules of our own.
        (self._folder / "alertmanager.yml").write_text(json.dumps(configuration or _configuration(webhook_url, token)))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start with what it remembers from before, if anything; returns when it is ready.

        Raises:
            FileNotFoundError: there is no Alertmanager on this machine.
            RuntimeError: it did not become ready.
        """
        program = next((path for name in _PROGRAMS if (path := shutil.which(name))), None)
        if program is None:
            raise FileNotFoundError("Alertmanager is not installed (Debian: prometheus-alertmanager)")
        command = [
            program,
            f"--config.file={self._folder / 'alertmanager.yml'}",
            f"--storage.path={self._folder / 'state'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--web.external-url={self.url}",
            "--cluster.listen-address=",
        ]
        with (self._folder / "log").open("ab") as log:
            self._running = subprocess.Popen(command, stdout=log, stderr=log)
        give_up_at = time.monotonic() + 15
        while self._running.poll() is None and time.monotonic() < give_up_at:
            try:
                if httpx.get(f"{self.url}/-/ready", timeout=2, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError(f"Alertmanager did not start: {self.log()[-2000:]}")

    def stop(self) -> None:
        """Shut down; what it remembers stays for the next start."""
        if self._running is not None:
            self._running.send_signal(signal.SIGTERM)
            self._running.wait(timeout=15)
            self._running = None

    def log(self) -> str:
        """What it logged so far."""
        return (self._folder / "log").read_text(errors="replace")

    def fire(
        self, labels: dict[str, str], annotations: dict[str, str] | None = None, *, since_seconds: float = 0
    ) -> None:
        """Let an alert fire, as Prometheus would, for some time already."""
        now = datetime.now(UTC)
        start = now - timedelta(seconds=since_seconds)
        self._fired[json.dumps(labels, sort_keys=True)] = (labels, start)
        alert = {"labels": labels, "annotations": annotations or {}, "startsAt": start.isoformat()}
        self._post("alerts", [{**alert, "endsAt": (now + timedelta(hours=1)).isoformat()}])

    def resolve(self, labels: dict[str, str]) -> None:
        """Let an alert end."""
        _, start = self._fired[json.dumps(labels, sort_keys=True)]
        times = {"startsAt": start.isoformat(), "endsAt": datetime.now(UTC).isoformat()}
        self._post("alerts", [{"labels": labels, **times}])

    def silence(self, label: str, value: str, seconds: float = 300) -> None:
        """Silence the alerts with this label."""
        now = datetime.now(UTC)
        silence = {
            "matchers": [{"name": label, "value": value, "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(seconds=seconds)).isoformat(),
            "createdBy": "lab",
            "comment": "lab",
        }
        self._post("silences", silence)

    def _post(self, what: str, body: Any) -> None:
        answer = httpx.post(f"{self.url}/api/v2/{what}", json=body, timeout=5, trust_env=False)
        answer.raise_for_status()


def _configuration(webhook_url: str, token: str) -> dict[str, Any]:
    if urlsplit(webhook_url).scheme not in ("http", "https"):
        raise ValueError("the webhook's URL is no HTTP address")
    webhook = {
        "url": webhook_url,
        "send_resolved": True,
        "http_config": {"authorization": {"type": "Bearer", "credentials": token}},
    }
    route = {"receiver": "nightshift", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"}
    for_others = {"receiver": "others", "matchers": ['team="others"']}
    return {
        "global": {"resolve_timeout": "5m"},
        "route": {**route, "repeat_interval": "1h", "routes": [for_others]},
        "inhibit_rules": [{"source_matchers": ['role="cause"'], "target_matchers": ['role="effect"']}],
        "receivers": [{"name": "nightshift", "webhook_configs": [webhook]}, {"name": "others"}],
    }
