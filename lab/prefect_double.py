"""The part of Prefect's HTTP API that the gateway talks to, for cases where the real server is too slow or too whole.

It answers as Prefect 3.8 was seen to: one run is made of a deployment per idempotency key, resuming says ACCEPT with
201 and REJECT or ABORT with 200, a run that was deleted is 404.
"""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from uuid import NAMESPACE_URL, UUID, uuid5

_DEPLOYMENT = re.compile(r"/api/deployments/name/([^/]+)/nightshift")
_MAKING = re.compile(r"/api/deployments/([0-9a-f-]{36})/create_flow_run")
_RUN = re.compile(r"/api/flow_runs/([0-9a-f-]{36})(/resume|/set_state)?")


class PrefectDouble:
    """Listens on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        """What was asked for with each idempotency key, the first time; and ``flow``."""
        self.paused: set[str] = set()
        """Flows whose deployment is paused; every flow has one, but those called ``missing-…``."""
        self.runs: dict[UUID, dict[str, Any]] = {}
        """State of each flow run: ``type``, ``message``, ``digest`` of the plan that it waits with, ``answer``;
        and where it matters ``parameters``, and ``since`` when it is in its state (if left out: for an hour)."""
        self.down = False
        """Answer 503 to everything."""
        self._flows: dict[str, str] = {}
        """By the number of their deployment."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._requests())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """URL of its API."""
        return f"http://127.0.0.1:{self._server.server_port}/api"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Code and JSON for a request."""
        with self._lock:
            if self.down:
                return 503, None
            if named := _DEPLOYMENT.fullmatch(path):
                return self._deployment(named[1])
            if made := _MAKING.fullmatch(path):
                new = body["idempotency_key"] not in self.made
                self.made.setdefault(body["idempotency_key"], body | {"flow": self._flows[made[1]]})
                return 201 if new else 200, {"id": str(uuid5(NAMESPACE_URL, body["idempotency_key"]))}
            if (method, path) == ("POST", "/api/flow_runs/filter"):
                found = self._in_states(body["flow_runs"]["state"]["type"]["any_"])
                return 200, found[body["offset"] : body["offset"] + body["limit"]]
            one = _RUN.fullmatch(path)
            if one is None or UUID(one[1]) not in self.runs:
                return 404, {"detail": "Not found"}
            return self._run(self.runs[UUID(one[1])], one[2], body)

    def _deployment(self, flow: str) -> tuple[int, Any]:
        if flow.startswith("missing-"):
            return 404, {"detail": "Deployment not found"}
        number = str(uuid5(NAMESPACE_URL, flow))
        self._flows[number] = flow
        return 200, {"id": number, "paused": flow in self.paused}

    def _in_states(self, states: list[str]) -> list[dict[str, Any]]:
        return [
            {
                "id": str(number),
                "parameters": run["parameters"],
                "tags": [],
                "state": {"type": run["type"], "timestamp": _since(run)},
            }
            for number, run in self.runs.items()
            if run["type"] in states and "parameters" in run
        ]

    def _run(self, run: dict[str, Any], what: str | None, body: Any) -> tuple[int, Any]:
        if what is None:
            keys = {"response": f"suspended-{run['digest']}-response"} if "digest" in run else None
            details = {"run_input_keyset": keys}
            return 200, {"state": {"type": run["type"], "timestamp": _since(run), "state_details": details}}
        if what == "/set_state":
            run |= body["state"]
            return 201, {"status": "ACCEPT"}
        if run["type"] != "PAUSED":
            return 200, {"status": "ABORT"}
        form = body["run_input"]
        if run.get("form") == "not stored yet":
            return 200, {"status": "REJECT"}
        if set(form) != {"decision", "name", "comment"} or form["decision"] not in ("approve", "deny"):
            return 200, {"status": "REJECT"}
        run |= {"type": "SCHEDULED", "answer": form}
        return 201, {"status": "ACCEPT"}

    def _requests(self) -> type[BaseHTTPRequestHandler]:
        double = self

        class Requests(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: Any) -> None:
                code, content = double.answer(self.command, self.path, body)
                self.send_response(code)
                encoded = b"" if content is None else json.dumps(content).encode()
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Requests


def _since(run: dict[str, Any]) -> str:
    """Since when it is in its state."""
    since: str = run.get("since") or (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    return since
