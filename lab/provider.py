"""A service that a system calls, as its provider runs it: an API behind TLS that wants a key, and a status page."""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.authority import Authority

KEY = "sk-lab-0123456789"


class Provider:
    """Answers on free ports of 127.0.0.1 as ``localhost``; what it answers can be changed while it runs."""

    def __init__(self) -> None:
        self.key = KEY
        """The credential that it takes."""
        self.answers = 200
        """The status of every request that has the key."""
        self.hangs = 0.0
        """Seconds for which it says nothing."""
        self.indicator = "none"
        self.description = "All Systems Operational"
        self.asked: list[tuple[str, str]] = []
        """Path and credential of every request to the API."""
        self._folder = tempfile.TemporaryDirectory(prefix="nightshift-provider-")
        authority = Authority()
        self.roots = Path(self._folder.name) / "roots.pem"
        self.roots.write_bytes(authority.root)
        issued = authority.issue("localhost", 30)
        chain, key = Path(self._folder.name) / "chain.pem", Path(self._folder.name) / "key.pem"
        chain.write_bytes(issued.chain)
        key.write_bytes(issued.key)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(chain, key)
        self._api = ThreadingHTTPServer(("127.0.0.1", 0), self._api_requests())
        self._api.socket = self._context.wrap_socket(self._api.socket, server_side=True, do_handshake_on_connect=False)
        self._page = ThreadingHTTPServer(("127.0.0.1", 0), self._page_requests())

    @property
    def port(self) -> int:
        """Of the API."""
        return self._api.server_port

    @property
    def status_page(self) -> str:
        """Address of the status page."""
        return f"http://127.0.0.1:{self._page.server_port}"

    def __enter__(self) -> Self:
        for server in (self._api, self._page):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hangs = 0
        for server in (self._api, self._page):
            server.shutdown()
            server.server_close()
        self._folder.cleanup()

    def _api_requests(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Api(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shown = self.headers.get("Authorization", "")
                provider.asked.append((self.path, shown))
                time.sleep(provider.hangs)
                allowed = self.path == "/health" or shown == f"Bearer {provider.key}"
                self.send_response(provider.answers if allowed or provider.answers >= 500 else 401)
                if provider.answers == 429:
                    self.send_header("Retry-After", "60")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Api

    def _page_requests(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path == "/api/v2/status.json"
                status = {"indicator": provider.indicator, "description": provider.description}
                body = json.dumps({"page": {"name": "Lab"}, "status": status}).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Page
