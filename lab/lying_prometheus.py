"""Between Nightshift and a real Prometheus: answers that come late, are empty, are no numbers, or are too many."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import httpx

Results = list[dict[str, Any]]
_TRICKLE_SECONDS = 0.3


class LyingPrometheus:
    """Listens on a free port of 127.0.0.1, and tells everything through ``lie``.

    Args:
        behind: address of the real one.
        lie: makes of the results of a query those that are told.
        question: makes of an expression the one that is really asked.
        slow: the answer comes byte by byte, and never ends.
    """

    def __init__(
        self,
        behind: str,
        lie: Callable[[Results], Results] = lambda results: results,
        *,
        question: Callable[[str], str] = lambda expression: expression,
        slow: bool = False,
    ) -> None:
        self._behind, self._lie, self._question, self._slow = behind, lie, question, slow
        self._ends = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._answering())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def _told(self, method: str, path: str, form: bytes) -> bytes:
        asked = {key: values[0] for key, values in parse_qs(form.decode()).items()}
        if "query" in asked:
            asked["query"] = self._question(asked["query"])
        answer = httpx.request(method, self._behind + path, data=asked, trust_env=False, timeout=10)
        told = answer.json()
        if "result" in told.get("data", {}):
            told["data"]["result"] = self._lie(told["data"]["result"])
        return json.dumps(told).encode()

    def _answering(self) -> type[BaseHTTPRequestHandler]:
        lying = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                form = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                content = lying._told(self.command, self.path, form)
                self.send_response(200)
                self.end_headers()
                if not lying._slow:
                    self.wfile.write(content)
                    return
                while not lying._ends.wait(_TRICKLE_SECONDS):
                    try:
                        self.wfile.write(b" ")
                    except OSError:
                        return

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Answers


def no_number(results: Results) -> Results:
    """Every value is NaN."""
    return [_valued(one, "NaN") for one in results]


def nothing(_results: Results) -> Results:
    """No series at all."""
    return []


def thousands(results: Results) -> Results:
    """Each series three thousand times, of as many instances."""
    return [
        {**one, "metric": {**one["metric"], "instance": f"web{number}"}} for one in results for number in range(3000)
    ]


def _valued(one: dict[str, Any], value: str) -> dict[str, Any]:
    if "values" in one:
        return {**one, "values": [[at, value] for at, _ in one["values"]]}
    return {**one, "value": [one["value"][0], value]}
