"""What each reading makes of an answer of Prometheus that is empty, no number, or about somebody else: "unknown"."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from nightshift.remediation.activity.policy import EventCounter
from nightshift.remediation.clients.activity_metrics import last_counted
from nightshift.remediation.clients.kubernetes.memory_look import memory_over_time
from nightshift.remediation.clients.prometheus import query, query_range, read
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import CommandFailedError, NotMeasuredError, TargetUnreachableError
from tests.unit.kubernetes_values import pod

NOW = 1767234700.0
EVENTS = EventCounter(kind="counter", prometheus="metrics", metric="searches_total")


class Prometheus:
    """Answers every question alike."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        prometheus = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(prometheus.status)
                self.end_headers()
                self.wfile.write(prometheus.body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Answers)
        url = f"http://127.0.0.1:{self.server.server_port}"
        self.connection = HttpConnection.model_validate({"type": "http", "url": url, "timeout": 2})

    def tells(self, *values: str, kind: str = "vector", **labels: str) -> None:
        """So many series, each with one value."""
        told: list[dict[str, Any]] = [{"metric": {"n": str(n), **labels}} for n in range(len(values))]
        for one, value in zip(told, values, strict=True):
            one |= {"value": [NOW, value]} if kind == "vector" else {"values": [[NOW - 60, value], [NOW, value]]}
        self.body = json.dumps({"status": "success", "data": {"resultType": kind, "result": told}}).encode()


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    made = Prometheus()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.mark.parametrize("values", [(), ("NaN",), ("+Inf",), ("1", "2")])
def test_events_that_nobody_counts_are_not_events_that_do_not_happen(
    prometheus: Prometheus, values: tuple[str, ...]
) -> None:
    prometheus.tells(*values)

    seen = last_counted(EVENTS, prometheus.connection, 600)

    assert seen.complaint == "metrics does not count searches_total"


@pytest.mark.parametrize(("value", "age"), [("0", None), ("3", 0.0)])
def test_counted_events_are_told_apart_from_none(prometheus: Prometheus, value: str, age: float | None) -> None:
    prometheus.tells(value)

    seen = last_counted(EVENTS, prometheus.connection, 600)

    assert (seen.age, seen.complaint) == (age, "")


def test_what_is_no_number_is_no_point_of_a_course(prometheus: Prometheus) -> None:
    prometheus.tells("NaN")
    assert list(memory_over_time(("metrics", prometheus.connection), pod("web"), "web", 600)) == []

    prometheus.tells("NaN", kind="matrix")
    assert query_range("metrics", prometheus.connection, "x", NOW - 60, NOW, 60) == []


def test_a_selector_of_thousands_of_targets_is_refused_before_each_is_asked_about(prometheus: Prometheus) -> None:
    prometheus.tells(*["1"] * 3)
    told = json.loads(prometheus.body)
    one = told["data"]["result"][0]
    told["data"]["result"] = [{**one, "metric": {"instance": f"web{n}"}} for n in range(3000)]
    prometheus.body = json.dumps(told).encode()

    with pytest.raises(NotMeasuredError, match="of 3,000 targets"):
        read("metrics", prometheus.connection, "up")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, b"", TargetUnreachableError),
        (429, b"", TargetUnreachableError),
        (422, b'{"status":"error","errorType":"execution"}', CommandFailedError),
        (200, b'{"status":"error"}', CommandFailedError),
        (200, b'{"data":{"resultType":"scalar","result":[1,"1"]}}', CommandFailedError),
        (200, b"<html>a login page</html>", CommandFailedError),
    ],
)
def test_what_is_no_answer_is_an_error(
    prometheus: Prometheus, status: int, body: bytes, error: type[Exception]
) -> None:
    prometheus.status, prometheus.body = status, body

    with pytest.raises(error):
        query("metrics", prometheus.connection, "up")
