"""Notify: what must be told is told, bounded and harmless, and a dead channel holds up nobody else."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from lab.ports import free_port
from nightshift.catalogue import Catalogue
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.notify import Notifier, for_people
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.models import Severity, Target

Page = Callable[..., int]


class Sink:
    """A channel: keeps the messages that apprise posts to it as JSON."""

    def __init__(self, delay: float = 0) -> None:
        self.messages: list[dict[str, Any]] = []
        sink = self

        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(delay)
                sink.messages.append(message)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"json://127.0.0.1:{self._server.server_port}/secret-path"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture
def page(ledger: Ledger) -> Page:
    def page(channel: str, *, system: str = "shop", subject: str = "A subject", body: str = "A body") -> int:
        target = Target(system=system, path=("host", "web1"))
        with ledger.engine.begin() as connection:
            trouble = Trouble(system, "X", None, target, Severity.CRITICAL, "t")
            incident, _ = ledger.incidents.open(connection, trouble)
            ledger.deliveries.page(connection, incident, channel, subject, body)
        return incident

    return page


@pytest.fixture
def notifier(ledger: Ledger, catalogue: Catalogue) -> Iterator[Notifier]:
    notifier = Notifier(ledger, catalogue, Metrics(ledger), default_url=None)
    yield notifier
    notifier.close()


def test_a_page_reaches_its_channel_once(
    ledger: Ledger, notifier: Notifier, sink: Sink, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_CRITICAL", sink.url)
    page("critical", subject="It is broken", body="Look.\nNow.")

    assert notifier.send_due() == 1
    assert notifier.send_due() == 0

    ((title, message),) = [(m["title"], m["message"]) for m in sink.messages]
    assert (title, message) == ("It is broken", "Look.\nNow.")
    assert ledger.deliveries.undelivered() == 0


def test_a_channel_without_secret_keeps_its_message_and_says_what_is_missing(
    ledger: Ledger, notifier: Notifier, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOP_CRITICAL", raising=False)
    incident = page("critical")

    notifier.send_due()

    (message,) = ledger.deliveries.of(incident)
    assert message.delivered_at is None
    assert "environment variable SHOP_CRITICAL is not set" in message.last_error
    assert notifier._metrics.registry.get_sample_value("nightshift_notification_failures_total") == 1


@pytest.mark.parametrize(
    ("channel", "system", "error"),
    [
        ("default", "unknown", "NIGHTSHIFT_PAGE_URL"),
        ("gone", "shop", "not in the catalogue"),
        ("critical", "gone", "not in the catalogue"),
    ],
)
def test_a_channel_that_is_not_there_is_named(
    ledger: Ledger, notifier: Notifier, page: Page, channel: str, system: str, error: str
) -> None:
    incident = page(channel, system=system)

    notifier.send_due()

    assert error in ledger.deliveries.of(incident)[0].last_error


def test_what_belongs_to_no_system_goes_to_the_default_channel(
    ledger: Ledger, catalogue: Catalogue, sink: Sink, page: Page
) -> None:
    page("default", system="unknown")
    notifier = Notifier(ledger, catalogue, Metrics(ledger), default_url=SecretStr(sink.url))

    notifier.send_due()
    notifier.close()

    assert len(sink.messages) == 1


def test_a_channel_that_is_down_is_tried_again_and_its_url_is_never_shown(
    ledger: Ledger,
    notifier: Notifier,
    page: Page,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("SHOP_CRITICAL", f"json://127.0.0.1:{free_port()}/secret-path")
    incident = page("critical")

    notifier.send_due()

    (message,) = ledger.deliveries.of(incident)
    assert (message.tries, message.last_error) == (1, "the channel did not take it")
    ours = [record for record in caplog.records if record.name.startswith("nightshift")]
    assert len(ours) == 1
    assert "secret-path" not in "".join(str(vars(record)) for record in ours)


@pytest.mark.parametrize("url", ["", "nonsense", "nosuchscheme://x"])
def test_a_secret_that_is_no_channel_is_a_clear_error(
    ledger: Ledger, notifier: Notifier, page: Page, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("SHOP_CRITICAL", url)
    incident = page("critical")

    notifier.send_due()

    assert "none that apprise knows" in ledger.deliveries.of(incident)[0].last_error


def test_a_slow_channel_holds_up_no_other_one(
    ledger: Ledger, catalogue: Catalogue, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_CRITICAL", "json://slow")
    monkeypatch.setenv("SHOP_WARNING", "json://fast")
    monkeypatch.setattr("nightshift.gateway.notify._ROUND_SECONDS", 0.5)
    release, sent = threading.Event(), []

    def send(url: SecretStr, subject: str, _body: str) -> bool:
        if "slow" in url.get_secret_value():
            release.wait(20)
        sent.append(subject)
        return True

    notifier = Notifier(ledger, catalogue, Metrics(ledger), default_url=None, send=send)
    page("critical", subject="slow")
    page("warning", subject="fast 1")
    started = time.monotonic()
    notifier.send_due()
    page("warning", subject="fast 2")
    notifier.send_due()

    assert sent == ["fast 1", "fast 2"]
    assert time.monotonic() - started < 10
    release.set()
    notifier.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@channel @here <!everyone> <@U123> !here>", "@ channel @ here < ! everyone> < @ U123> ! here>"),
        ("a\0b\x1b[31m\r\u202ec\td", "a b [31m  c d"),
        ("line\nline", "line\nline"),
        ("x" * 5000, "x" * 2999 + "…"),
    ],
)
def test_text_is_bounded_and_calls_nobody(text: str, shown: str) -> None:
    assert for_people(text, 3000).replace("\N{ZERO WIDTH SPACE}", " ") == shown
