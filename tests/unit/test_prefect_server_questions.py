"""Questions to the Prefect server while an installation is started: a server that stumbles is asked again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nightshift.running import prefect_api
from nightshift.running.prefect_api import PrefectApi, PrefectServerError


class Stumbling(ThreadingHTTPServer):
    """A server that has these answers, one after the other, and the last one for ever."""

    def __init__(self, *answers: int) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.answers = list(answers)
        self.asked = 0


class _Answers(BaseHTTPRequestHandler):
    server: Stumbling

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked += 1
        answers = self.server.answers
        self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


Serve = Callable[..., Stumbling]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[Stumbling] = []

    def begin(*answers: int) -> Stumbling:
        server = Stumbling(*answers)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield begin
    for server in running:
        server.shutdown()
        server.server_close()


def api(server: Stumbling) -> PrefectApi:
    return PrefectApi(f"http://127.0.0.1:{server.server_port}/api", own=True)


def test_a_server_that_is_too_busy_for_a_moment_is_asked_again(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_api, "_PAUSE", 0.01)
    server = serve(500, 503, 201)

    api(server).ensure_work_pool("nightshift", "nightshift")

    assert server.asked == 3


def test_what_will_not_change_is_told_at_once(serve: Serve) -> None:
    server = serve(422)

    with pytest.raises(PrefectServerError, match="422"):
        api(server).ensure_work_pool("nightshift", "nightshift")
    assert server.asked == 1
