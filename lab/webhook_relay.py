"""Stands between an Alertmanager and the gateway, hands everything on, and keeps what the gateway answered to."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import httpx

Labels = tuple[tuple[str, str], ...]


class WebhookRelay:
    """On a free port of 127.0.0.1. Where the gateway does not answer, it answers 502, and Alertmanager tries again.

    Args:
        url: the gateway's, where alerts go.
        repeat_every: every so many-th delivery that was taken is sent once more, as by an Alertmanager that lost the
            answer; 0: none.
    """

    def __init__(self, url: str, *, repeat_every: int = 0) -> None:
        self.accepted: Counter[Labels] = Counter()
        """Firing alerts that were answered with 2xx, by their labels, and how often."""
        self.refused = 0
        """Deliveries that were not."""
        self.repeated = 0
        self._url = url
        self._repeat_every = repeat_every
        self._taken = 0
        self._lock = threading.Lock()
        self._client = httpx.Client(timeout=10, trust_env=False)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._requests())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="relay", daemon=True)

    @property
    def url(self) -> str:
        """Where the Alertmanager delivers."""
        return f"http://127.0.0.1:{self._server.server_port}/alerts"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def pass_on(self, body: bytes, authorization: str) -> int:
        """Deliver; the gateway's code, or 502."""
        code = self._post(body, authorization)
        with self._lock:
            if not 200 <= code < 300:
                self.refused += 1
                return code
            self._taken += 1
            repeat = self._repeat_every and self._taken % self._repeat_every == 0
            for alert in json.loads(body)["alerts"]:
                if alert["status"] == "firing":
                    self.accepted[as_key(alert["labels"])] += 1
        if repeat and 200 <= self._post(body, authorization) < 300:
            with self._lock:
                self.repeated += 1
        return code

    def _post(self, body: bytes, authorization: str) -> int:
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        try:
            return self._client.post(self._url, content=body, headers=headers).status_code
        except httpx.HTTPError:
            return 502

    def _requests(self) -> type[BaseHTTPRequestHandler]:
        relay = self

        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(relay.pass_on(body, self.headers.get("Authorization", "")))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Requests


def as_key(labels: dict[str, Any]) -> Labels:
    """Labels as one value."""
    return tuple(sorted((name, str(value)) for name, value in labels.items()))
