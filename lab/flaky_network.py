"""A network that can be broken at will: a TCP proxy on 127.0.0.1 in front of one real server."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close a reset."""


class Weather(StrEnum):
    """What becomes of bytes and of new connections."""

    PASS = "pass"  # noqa: S105 - not a password
    STALL = "stall"
    """Connections stay open, and nothing arrives any more, in neither direction; new ones are taken and hang, too."""
    STALL_ANSWERS = "stall_answers"
    """What the client says arrives, what the server answers does not."""
    RESET = "reset"
    """All connections are reset, and so is every new one at its first moment."""
    GONE = "gone"
    """All connections are reset, and nobody listens any more: connection refused."""


class FlakyNetwork:
    """Stands between clients and the server at ``host:port``; connections are independent of each other."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._upstream = (host, port)
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.weather = Weather.PASS
        self.delay = 0.0
        """Seconds that each piece of bytes is on its way."""
        self.watch: Callable[[bytes], None] = lambda _said: None
        """Called with what a client says, before it is passed on: a test may change the weather at a word."""
        self._listener = self._listen(0)
        self.port = int(self._listener.getsockname()[1])

    @classmethod
    def before(cls, url: str) -> Self:
        """In front of the server of this URL."""
        parts = urlsplit(url)
        assert parts.port is not None  # noqa: S101 - the lab's servers have one
        return cls(parts.port, parts.hostname or "127.0.0.1")

    def url(self, url: str) -> str:
        """The same URL, through this network."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}127.0.0.1:{self.port}").geturl()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self.become(Weather.GONE)

    def become(self, weather: Weather) -> None:
        """Change the weather for all connections, old and new."""
        before, self.weather = self.weather, weather
        if weather in (Weather.RESET, Weather.GONE):
            self.reset()
        if weather is Weather.GONE and before is not Weather.GONE:
            # A thread that waits in accept() keeps the port open until it is woken.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        elif before is Weather.GONE and not self._closed:
            self._listener = self._listen(self.port)

    def reset(self) -> None:
        """Reset the connections that there are."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _reset(*pair)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=200)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self.weather is Weather.RESET:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._upstream, timeout=5)
            except OSError:
                _reset(client)
                continue
            for one in (client, server):
                one.settimeout(None)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.add((client, server))
            threading.Thread(target=self._carry, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client, False), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while said := source.recv(65536):
                if asks:
                    self.watch(said)
                if self.delay:
                    time.sleep(self.delay)
                self._wait_for_calm(source, asks)
                sink.sendall(said)
            # An end is on its way like any byte.
            self._wait_for_calm(source, asks)
        self._drop(source)

    def _wait_for_calm(self, source: socket.socket, asks: bool) -> None:
        """Hold what is on its way for as long as the weather does."""
        while self.weather is Weather.STALL or (self.weather is Weather.STALL_ANSWERS and not asks):
            if source.fileno() < 0:
                raise OSError
            time.sleep(0.01)

    def _drop(self, one: socket.socket) -> None:
        with self._lock:
            found = [pair for pair in self._pairs if one in pair]
            self._pairs.difference_update(found)
        for pair in found:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


def _reset(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        with suppress(OSError):
            # Wakes a thread that waits in recv(), which would keep the connection open.
            end.shutdown(socket.SHUT_RD)
        end.close()
