"""Where messages to people end up in tests: a Slack webhook, PagerDuty's Events API, and a mail server.

They answer as the real ones do, also to what these would refuse.
"""

from __future__ import annotations

import json
import threading
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from lab.ports import free_port

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
_SEVERITIES = {"critical", "error", "warning", "info"}


class HttpSink:
    """Slack (``/services/…``), PagerDuty (``/v2/enqueue``) and apprise's ``json://``, on a free port."""

    def __init__(self) -> None:
        self.slack: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        """Of PagerDuty, each that was taken."""
        self.pages: dict[str, dict[str, Any]] = {}
        """Of PagerDuty, by their keys, until they are resolved: events of one key are one page."""
        self.json: list[dict[str, Any]] = []
        """Of apprise's ``json://``."""
        self.down = False
        """Answer 503 to everything."""
        self.lose_answers = 0
        """Take this many messages, but let the connection end before the answer."""
        self.hang = threading.Event()
        self.hang.set()
        """Cleared: hold every request."""
        self.requests = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handling())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def slack_url(self) -> str:
        """What a Slack channel's secret would be."""
        return f"http://127.0.0.1:{self._server.server_port}/services/T0/B0/xyz"

    @property
    def pagerduty_url(self) -> str:
        """What a PagerDuty channel's secret would be."""
        return f"http://{ROUTING_KEY}@127.0.0.1:{self._server.server_port}/v2/enqueue"

    @property
    def apprise_url(self) -> str:
        """An apprise URL that ends here."""
        return f"json://127.0.0.1:{self._server.server_port}/json"

    def _answer(self, path: str, body: Any) -> tuple[int, str]:
        if self.down:
            return 503, "no_service"
        if path.startswith("/services/"):
            if not body.get("text") and not any(one.get("fallback") for one in body.get("attachments", ())):
                return 400, "no_text"
            self.slack.append(body)
            return 200, "ok"
        if path.startswith("/json"):
            self.json.append(body)
            return 200, ""
        return self._event(body)

    def _event(self, body: Any) -> tuple[int, str]:
        payload = body.get("payload") or {}
        summary = payload.get("summary") or ""
        action, key = body.get("event_action"), body.get("dedup_key", "")
        about = 0 < len(summary) <= 1024 and payload.get("source") and payload.get("severity") in _SEVERITIES
        is_valid = (
            body.get("routing_key") == ROUTING_KEY
            and len(key) <= 255
            and (about if action == "trigger" else action in ("acknowledge", "resolve") and bool(key))
        )
        if not is_valid:
            return 400, json.dumps({"status": "invalid event", "message": "Event object is invalid"})
        self.events.append(body)
        if action == "resolve":
            self.pages.pop(key, None)
            return 202, json.dumps({"status": "success", "message": "Event processed", "dedup_key": key})
        self.pages.setdefault(body.get("dedup_key") or f"generated-{len(self.events)}", body)
        return 202, json.dumps({"status": "success", "message": "Event processed", "dedup_key": body.get("dedup_key")})

    def _handling(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Requests(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                sink.requests += 1
                sink.hang.wait()
                code, content = sink._answer(self.path, body)
                if sink.lose_answers and code < 300:
                    sink.lose_answers -= 1
                    self.close_connection = True
                    return
                try:
                    self.send_response(code)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content.encode())
                except OSError:
                    pass  # whoever asked has gone

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Requests


class MailServer:
    """An SMTP server on a free port that keeps what it gets."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()

    @property
    def url(self) -> str:
        """What an e-mail channel's secret would be."""
        return f"mailto://127.0.0.1:{self.port}?from=nightshift@example.com&to=oncall@example.com&mode=insecure"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd
        """Keep a mail."""
        content = envelope.content
        if not isinstance(content, bytes):
            return "451 no content"
        self.recipients += envelope.rcpt_tos
        self.mails.append(BytesParser(policy=default).parsebytes(content))
        return "250 OK"
