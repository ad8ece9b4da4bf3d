"""Loki, by recorded answers, and by some in its documented format: what is asked, what is read, what is refused.

``recorded.json`` is what a Loki of Grafana Cloud told on 2026-08-31, as a public project of rendering keeps it among
its own tests (``dailies_telemetry``); of its statistics no more than the summary is kept here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.ports import free_port
from nightshift.remediation.clients.loki import MOST_LINES, MOST_SECONDS, newest_lines, stream_selector
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    NightshiftError,
    TargetUnreachableError,
)
from nightshift.remediation.requests.groups import Meaning, group_errors

HERE = Path(__file__).parent
END = 1767234700.0
LABELS = {"namespace": "octollm", "service": "api"}


class Loki:
    """Answers every question as told, and remembers what was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, (HERE / "streams.json").read_bytes()
        self.asked: list[str] = []
        loki = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                loki.asked.append(self.path)
                self.send_response(loki.status)
                self.end_headers()
                self.wfile.write(loki.body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Answers)
        self.connection = HttpConnection.model_validate(
            {"type": "http", "url": f"http://127.0.0.1:{self._server.server_port}", "timeout": 2}
        )
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[Loki]:
    running = Loki()
    yield running
    running.close()


@pytest.fixture
def loki(server: Loki) -> Loki:
    server.status, server.body = 200, (HERE / "streams.json").read_bytes()
    server.asked.clear()
    return server


def test_the_lines_of_all_streams_come_oldest_first(loki: Loki) -> None:
    lines = newest_lines("loki", loki.connection, LABELS, start=END - 600, end=END)

    assert [round(line.at, 3) for line in lines] == [1767234640.0, 1767234645.0, 1767234650.123]
    (group,) = group_errors([line.text for line in lines])
    assert (group.meaning, group.count) == (Meaning.POOL, 2)


def test_the_lines_of_a_recorded_answer_are_read(loki: Loki) -> None:
    loki.body = (HERE / "recorded.json").read_bytes()

    lines = newest_lines("loki", loki.connection, {"service_name": "dailies-render"}, start=END, end=END + 3600)

    assert [line.at for line in lines] == pytest.approx([1788108705.039767, 1788110306.109535])
    assert {line.text for line in lines} == {"Warning: Unable to open file '/assets/jacket_diffuse.exr'"}


def test_what_is_asked_is_bounded_in_time_and_lines(loki: Loki) -> None:
    newest_lines("loki", loki.connection, LABELS, start=0, end=END, most=10**9)

    asked = urlsplit(loki.asked[0])
    form = {key: value for key, (value,) in parse_qs(asked.query).items()}
    assert asked.path == "/loki/api/v1/query_range"
    assert form["query"] == '{namespace="octollm",service="api"}'
    assert int(form["end"]) - int(form["start"]) == int(MOST_SECONDS * 10**9)
    assert (form["limit"], form["direction"]) == (str(MOST_LINES), "backward")


def test_no_more_lines_come_than_were_asked_for(loki: Loki) -> None:
    lines = newest_lines("loki", loki.connection, LABELS, start=END - 600, end=END, most=1)

    assert [line.text.count("503") for line in lines] == [0]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, "refused.txt", CommandFailedError),
        (200, "matrix.json", CommandFailedError),
        (200, "refused.txt", CommandFailedError),
        (401, "refused.txt", AuthenticationError),
        (429, "refused.txt", TargetUnreachableError),
        (503, "refused.txt", TargetUnreachableError),
    ],
)
def test_what_is_no_answer_is_an_error(loki: Loki, status: int, body: str, error: type[NightshiftError]) -> None:
    loki.status, loki.body = status, (HERE / body).read_bytes()

    with pytest.raises(error):
        newest_lines("loki", loki.connection, LABELS, start=END - 600, end=END)


@pytest.mark.parametrize("values", ['[["x","line"]]', "[[]]", '[["1"]]', "[[null,null]]"])
def test_an_answer_of_another_shape_is_an_error(loki: Loki, values: str) -> None:
    loki.body = b'{"data":{"resultType":"streams","result":[{"values":%b}]}}' % values.encode()

    with pytest.raises(CommandFailedError):
        newest_lines("loki", loki.connection, LABELS, start=END - 600, end=END)


def test_a_server_that_is_not_there_is_said_to_be_silent() -> None:
    gone = HttpConnection.model_validate({"type": "http", "url": f"http://127.0.0.1:{free_port()}", "timeout": 1})

    with pytest.raises(TargetUnreachableError):
        newest_lines("loki", gone, LABELS, start=END - 600, end=END)


def test_a_selector_that_would_match_every_stream_is_refused() -> None:
    for labels in ({}, {"service": ""}, {"service": "x", "a b": "y"}):
        with pytest.raises(ValueError, match=r"label"):
            stream_selector(labels)


@given(st.text(st.characters(), min_size=1, max_size=60))
def test_no_value_ends_its_string_or_widens_the_selector(value: str) -> None:
    made = stream_selector({"service": value})

    inside = re.fullmatch(r'\{service="((?:[^"\\\n]|\\["\\]|\\u[0-9a-f]{4}|\\U[0-9a-f]{8})*)"\}', made)
    assert inside is not None
    assert made.isprintable()
    made.encode()
