"""Stripe's API, by answers in its documented form: what is asked, what is read, what is refused, what is never told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lab.ports import free_port
from nightshift.remediation.clients.stripe import webhook_deliveries
from nightshift.remediation.connections import HttpConnection, SecretReference
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    NightshiftError,
    TargetUnreachableError,
)

HERE = Path(__file__).parent
KEY = "rk_test_canary_4eC39HqLyjWDarjtT1zdp7dc"


class Stripe:
    """Answers as documented, and remembers what was asked."""

    def __init__(self, folder: Path) -> None:
        self.status = 200
        self.bodies = {path: (HERE / f"{path}.json").read_bytes() for path in ("events", "webhook_endpoints")}
        self.asked: list[tuple[str, str, str]] = []
        (folder / "key").write_text(KEY)
        self._key = SecretReference(file=folder / "key")
        stripe = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stripe.asked.append((self.command, self.path, self.headers["Authorization"]))
                self.send_response(stripe.status)
                self.end_headers()
                self.wfile.write(stripe.bodies[urlsplit(self.path).path.rpartition("/")[2]])

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
                """Not on the test's output."""

        self.server = HTTPServer(("127.0.0.1", 0), Answers)

    def connection(self, port: int | None = None) -> HttpConnection:
        url = f"http://127.0.0.1:{port or self.server.server_port}"
        return HttpConnection.model_validate({"type": "http", "url": url, "token": self._key, "timeout": 2})


@pytest.fixture
def stripe(tmp_path: Path) -> Iterator[Stripe]:
    running = Stripe(tmp_path)
    thread = threading.Thread(target=running.server.serve_forever, daemon=True)
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


def test_undelivered_events_are_counted_by_two_questions_that_only_read(stripe: Stripe) -> None:
    found = webhook_deliveries("stripe", stripe.connection(), 1686089000.7)

    assert (found.undelivered, found.more) == (3, True)
    assert found.types == {"checkout.session.completed": 2, "invoice.paid": 1}
    assert [method for method, _, _ in stripe.asked] == ["GET", "GET"]  # anything else would be answered 501
    assert {key for _, _, key in stripe.asked} == {f"Bearer {KEY}"}
    events, endpoints = (urlsplit(path) for _, path, _ in stripe.asked)
    assert (events.path, endpoints.path) == ("/v1/events", "/v1/webhook_endpoints")
    assert parse_qs(events.query) == {"delivery_success": ["false"], "created[gte]": ["1686089000"], "limit": ["100"]}


def test_of_events_and_endpoints_only_types_and_hosts_are_kept(stripe: Stripe) -> None:
    found = webhook_deliveries("stripe", stripe.connection(), 0)

    ours, old = found.endpoints
    assert (ours.host, ours.enabled) == ("shop.example", True)
    assert (old.host, old.enabled) == ("old.example", False)
    for private in ("jenny", "evt_", "secret", "pw", "script", KEY):
        assert private not in repr(found)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b"{}", AuthenticationError),
        (403, b"{}", AuthenticationError),
        (429, b"{}", TargetUnreachableError),
        (500, b"{}", TargetUnreachableError),
        (302, b"", CommandFailedError),
        (200, b"<html>", CommandFailedError),
        (200, b'{"data": [{"type": 5}], "has_more": false}', CommandFailedError),
    ],
)
def test_refusals_are_told_in_our_words_without_the_key(
    stripe: Stripe, status: int, body: bytes, error: type[NightshiftError]
) -> None:
    stripe.status, stripe.bodies = status, dict.fromkeys(stripe.bodies, body)

    with pytest.raises(error) as said:
        webhook_deliveries("stripe", stripe.connection(), 0)

    assert KEY not in str(said.value)


def test_a_closed_port_is_told(stripe: Stripe) -> None:
    with pytest.raises(TargetUnreachableError, match="stripe did not answer"):
        webhook_deliveries("stripe", stripe.connection(free_port()), 0)
