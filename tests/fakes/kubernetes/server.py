"""HTTP around the API: a threaded server on 127.0.0.1, with or without TLS, that can stop and come back."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.kubernetes.access import ANONYMOUS
from tests.fakes.kubernetes.faults import Break, Fault, Faults
from tests.fakes.kubernetes.messages import Answer, Request
from tests.fakes.kubernetes.objects import Obj

Handle = Callable[[Request], Answer]


class _Connections(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    block_on_close = False

    def __init__(self, address: tuple[str, int], handle: Handle, faults: Faults, tls: ssl.SSLContext | None) -> None:
        self.handle, self.faults, self.tls = handle, faults, tls
        self.open: set[socket.socket] = set()
        self.stopping = threading.Event()
        super().__init__(address, _Connection)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: object) -> None:
        self.open.discard(request)
        super().shutdown_request(request)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is no news."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Connections
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Tests read the client's side."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            self.command,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {k.lower(): v for k, v in self.headers.items()},
            self.rfile.read(length),
            ANONYMOUS,
        )
        fault = self.server.faults.take(request.method, request.path, request.is_watch)
        if fault is not None and not self._suffer(fault, request):
            return
        self._send(self.server.handle(request))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _answer  # noqa: N815

    def _suffer(self, fault: Fault, request: Request) -> bool:
        """Let the fault happen; whether the request is answered all the same."""
        time.sleep(fault.delay)
        error = fault.error()
        if error is not None:
            self._send(Answer(error.code, error.body, error.headers))
            return False
        if fault.break_ is None:
            return True
        if fault.break_ is Break.CLOSE_AFTER:
            self.server.handle(request)
        elif fault.break_ in (Break.SILENT_WATCH, Break.CUT_WATCH):
            self._start(Answer(200, iter(())), chunked=True)
            if fault.break_ is Break.SILENT_WATCH:
                self.server.stopping.wait()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
        return False

    def _start(self, answer: Answer, *, chunked: bool = False, length: int = 0) -> None:
        self.send_response(answer.code)
        self.send_header("Audit-Id", "00000000-0000-0000-0000-000000000000")
        self.send_header("Cache-Control", "no-cache, private")
        if answer.code != 204:
            self.send_header("Content-Type", "application/json" if chunked else answer.media_type())
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif answer.code != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, answer: Answer) -> None:
        if isinstance(answer.body, Iterator):
            self._start(answer, chunked=True)
            self._stream(answer.body)
            return
        content = b"" if answer.code == 204 else answer.encoded()
        self._start(answer, length=len(content))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _stream(self, events: Iterator[Obj | None]) -> None:
        for event in events:
            if self.server.stopping.is_set():
                self.close_connection = True
                return
            if event is not None:
                line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")


class ApiServer:
    """The listening part; ``stop`` and ``start`` keep the port, so that it can be restarted."""

    def __init__(self, handle: Handle, faults: Faults, tls: ssl.SSLContext | None = None) -> None:
        self._handle, self._faults, self._tls = handle, faults, tls
        self._running: _Connections | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    def start(self) -> None:
        self._running = _Connections(("127.0.0.1", self.port), self._handle, self._faults, self._tls)
        self.port = self._running.server_address[1]
        self._thread = threading.Thread(
            target=self._running.serve_forever, kwargs={"poll_interval": 0.02}, name="fake-kubernetes", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and cut every open connection, as a killed API server does."""
        if self._running is None or self._thread is None:
            return
        running, self._running = self._running, None
        running.stopping.set()
        running.shutdown()
        self._thread.join()
        running.server_close()
        for connection in list(running.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
