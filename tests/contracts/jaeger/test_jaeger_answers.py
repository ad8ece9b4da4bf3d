"""Jaeger's query service, by recorded answers, and by some in its documented format: what is asked, read and refused.

``of_jaeger.json`` is what its own tests expect of it for a trace of ``telemetrygen`` (jaegertracing/jaeger,
``jaegerquery/internal/fixture/otlp2jaeger-out.json``; one span comes twice). ``of_itself.json`` is a trace of a
``jaeger-all-in-one`` about its own query service, recorded on 2024-10-17 (Hubert-bor/my-vue-app, ``mockTraces.ts``),
without what its user interface had added.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lab.ports import free_port
from nightshift.remediation.clients.jaeger import MOST_TRACES, failed_traces, slow_traces
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    NightshiftError,
    TargetUnreachableError,
)
from nightshift.remediation.requests.traces import Part, Trace, slowest_calls

HERE = Path(__file__).parent


class Jaeger:
    """Answers every question as told, and remembers what was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, (HERE / "slow_traces.json").read_bytes()
        self.asked: list[str] = []
        jaeger = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                jaeger.asked.append(self.path)
                self.send_response(jaeger.status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(jaeger.body)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
                """Not on the test's output."""

        self.server = HTTPServer(("127.0.0.1", 0), Answers)

    @property
    def connection(self) -> HttpConnection:
        url = f"http://127.0.0.1:{self.server.server_port}/jaeger"
        return HttpConnection.model_validate({"type": "http", "url": url})


@pytest.fixture
def jaeger() -> Iterator[Jaeger]:
    made = Jaeger()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def read(connection: HttpConnection, service: str = "orchestrator") -> tuple[Trace, ...]:
    return slow_traces("jaeger", connection, service, at_least=1, start=1785600000, end=1785600600)


def test_traces_are_read_with_what_their_spans_wait_for_the_longest_first(jaeger: Jaeger) -> None:
    longest, other = read(jaeger.connection)

    assert longest.seconds == pytest.approx(3.2)
    assert [span.parent for span in other.spans] == ["", "00f067aa0ba902b7"]
    slowest = slowest_calls([other])[0]
    assert (slowest.part, slowest.service, slowest.failed) == (Part.DATABASE, "orchestrator", 1)
    assert slowest.whom == "SELECT * FROM tasks WHERE owner = $1"
    assert slowest.seconds == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("recorded", "service", "operation", "seconds", "spans"),
    [
        ("of_jaeger.json", "telemetrygen", "okey-dokey-0", 0.000123, 2),
        ("of_itself.json", "jaeger-all-in-one", "/api/services/{service}/operations", 0.001503, 1),
    ],
)
def test_recorded_traces_are_read(
    jaeger: Jaeger, recorded: str, service: str, operation: str, seconds: float, spans: int
) -> None:
    jaeger.body = (HERE / recorded).read_bytes()

    (found,) = read(jaeger.connection)

    assert [(span.service, span.operation) for span in found.spans] == [(service, operation)] * spans
    assert found.seconds == pytest.approx(seconds, abs=1e-6)
    slowest = slowest_calls([found])[0]
    assert (slowest.service, slowest.failed) == (service, 0)


def test_the_question_is_bounded_and_a_hostile_name_stays_a_value(jaeger: Jaeger) -> None:
    read(jaeger.connection, "web&limit=100000#x")

    (path,) = jaeger.asked
    assert urlsplit(path).path == "/jaeger/api/traces"
    assert parse_qs(urlsplit(path).query) == {
        "service": ["web&limit=100000#x"],
        "start": ["1785600000000000"],
        "end": ["1785600600000000"],
        "minDuration": ["1000ms"],
        "limit": [str(MOST_TRACES)],
    }


def test_failed_requests_are_asked_for_by_their_tag(jaeger: Jaeger) -> None:
    found = failed_traces("jaeger", jaeger.connection, "web", start=1785600000, end=1785600600)

    asked = parse_qs(urlsplit(jaeger.asked[0]).query)
    assert (asked["tags"], asked["limit"]) == (['{"error":"true"}'], [str(MOST_TRACES)])
    assert "minDuration" not in asked
    assert len(found) == 2


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, (HERE / "refused.json").read_bytes(), CommandFailedError),
        (401, b"", AuthenticationError),
        (503, b"", TargetUnreachableError),
        (200, b"<html>no JSON</html>", CommandFailedError),
        (200, b'{"data": [{"traceID": 1}]}', CommandFailedError),
    ],
)
def test_an_answer_that_is_none_is_an_error_with_a_reason(
    jaeger: Jaeger, status: int, body: bytes, error: type[NightshiftError]
) -> None:
    jaeger.status, jaeger.body = status, body

    with pytest.raises(error, match="jaeger"):
        read(jaeger.connection)


def test_no_traces_are_no_error(jaeger: Jaeger) -> None:
    jaeger.body = b'{"data": [], "total": 0, "limit": 0, "offset": 0, "errors": null}'

    assert read(jaeger.connection) == ()


def test_a_jaeger_that_is_away_is_unreachable() -> None:
    connection = HttpConnection.model_validate({"type": "http", "url": f"http://127.0.0.1:{free_port()}"})

    with pytest.raises(TargetUnreachableError):
        read(connection)
