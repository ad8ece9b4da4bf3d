"""Requests to one API server: a time-out on each, tries again only where that can help, never more bytes than expected.

A change that was sent and never answered is an outcome that nobody knows, and is told so.
"""

from __future__ import annotations

import json
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3

from nightshift.remediation.clients.kubernetes.clock import Clock
from nightshift.remediation.clients.kubernetes.errors import (
    BudgetSpentError,
    Json,
    SeveralBudgetsError,
    TooLargeError,
    refusal,
    status_of,
)
from nightshift.remediation.clients.kubernetes.retrying import asked_pause, pause_before_next
from nightshift.remediation.errors import (
    CommandFailedError,
    CommandTimeoutError,
    ConfigurationError,
    ConnectionLostError,
    NightshiftError,
    OutcomeUnknownError,
    TargetUnreachableError,
    TemporaryError,
)

if TYPE_CHECKING:
    from kubernetes.client import Configuration
    from kubernetes.client.rest import RESTClientObject

PATIENCE = 30.0
"""Seconds in which one request is tried again and again, unless there is less time."""
MOST_BYTES = 64 * 1024 * 1024
"""Of one answer; a page of 500 large pods takes a tenth."""
MERGE_PATCH = "application/merge-patch+json"
_PERHAPS_DONE = (500, 502, 504)
"""Answers after which a change may have been made nevertheless."""
_CHUNK = 256 * 1024
_NOT_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Transport:
    """One cluster, under the name that the catalogue gives it."""

    name: str
    configure: Callable[[], Configuration]
    """Reads address and credentials anew."""
    timeout: float
    """Seconds for one try."""
    until: float | None = None
    """Of the monotonic clock: no try begins after it, and none lasts longer."""
    clock: Clock = field(default_factory=Clock, init=False)
    _configuration: Configuration | None = field(default=None, init=False)
    _rest: RESTClientObject | None = field(default=None, init=False)

    def close(self) -> None:
        """Give the connections back."""
        if self._rest is not None:
            self._rest.pool_manager.clear()
        self._rest = self._configuration = None

    def request(
        self,
        what: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Json:
        """The object that the server answers with.

        Args:
            what: in words, for errors: ``read Pod shop/web-0``.
            method: of HTTP.
            path: see :meth:`Resource.path`; never with text that was not checked.
            query: is encoded here.
            body: is sent as JSON.
            content_type: of the body.

        Raises:
            NightshiftError: what :mod:`errors` makes of a refusal; ConnectionLostError or CommandTimeoutError for a
                change that was sent and not answered, TargetUnreachableError for everything else without an answer.
        """
        answer = self._answer(what, method, path, query, body, content_type)
        try:
            document = json.loads(answer.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise CommandFailedError(f"{self.name}: {what}: this is no answer of a Kubernetes API.")
        return document

    def text(self, what: str, path: str, query: Mapping[str, str], most_bytes: int) -> bytes:
        """What a GET answers, as it is, and no more than so many bytes of it."""
        return self._answer(what, "GET", path, query, None, "", most_bytes).body

    def _answer(
        self,
        what: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        cut_at: int | None = None,
    ) -> _Answer:
        """The answer of the last try; a refusal is raised."""
        give_up, tries, renewed = time.monotonic() + PATIENCE, 0, False
        if self.until is not None:
            give_up = min(give_up, self.until)
        unknown: OutcomeUnknownError | None = None
        while True:
            tries += 1
            answer, failure = self._try(what, method, path, query, body, content_type, cut_at)
            if answer is not None and answer.status < 400:
                return answer
            if answer is not None and answer.status == 401 and not renewed:
                # A token that ran out meanwhile: a plugin or the file may have a newer one.
                self.close()
                renewed = True
                continue
            error, pause = self._judge(what, method, answer, failure, tries)
            unknown = unknown or (error if isinstance(error, OutcomeUnknownError) else None)
            if pause is None or time.monotonic() + pause >= give_up:
                # What an earlier try did is not told by a server that cannot be reached now.
                raise (unknown or error) if isinstance(error, TemporaryError) else error
            time.sleep(pause)

    def _judge(
        self, what: str, method: str, answer: _Answer | None, failure: NightshiftError | None, tries: int
    ) -> tuple[NightshiftError, float | None]:
        """The error that a try ended with, and the pause before the next; None when there shall be none."""
        chance = random.random()  # noqa: S311 - spreads clients, guards nothing
        if failure is not None or answer is None:
            error = failure or TargetUnreachableError(f"{self.name}: {what}: no answer.")
            hopeless = isinstance(error, ConfigurationError)
            return error, None if hopeless else pause_before_next(tries, None, None, chance)
        asked = asked_pause(answer.headers, status_of(answer.body), datetime.now(UTC))
        error = refusal(self.name, what, answer.status, answer.body, asked)
        if isinstance(error, BudgetSpentError | SeveralBudgetsError):
            return error, None
        if method != "GET" and answer.status in _PERHAPS_DONE:
            error = ConnectionLostError(f"{error} Whether it was done is unknown.")
        return error, pause_before_next(tries, answer.status, asked, chance)

    def _try(
        self,
        what: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        cut_at: int | None,
    ) -> tuple[_Answer | None, NightshiftError | None]:
        seconds = self._seconds(what)
        try:
            with self._open(method, path, query, body, content_type, (seconds, seconds)) as response:
                read = self._read(what, response, time.monotonic() + seconds, cut_at)
                return _Answer(response.status, response.headers, read), None
        except urllib3.exceptions.HTTPError as error:
            return None, self._broken(what, error, change=method != "GET")

    def _seconds(self, what: str) -> float:
        if self.until is None:
            return self.timeout
        left = self.until - time.monotonic()
        if left <= 0:
            raise TargetUnreachableError(f"{self.name}: {what}: there is no time left for it.")
        return min(self.timeout, left)

    def _read(self, what: str, response: Any, until: float, cut_at: int | None) -> bytes:
        body, most = bytearray(), MOST_BYTES if cut_at is None else cut_at
        for chunk in response.stream(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > most:
                if cut_at is not None:
                    return bytes(body[:most])
                raise TooLargeError(f"{self.name}: {what}: the answer is larger than {most // 1024 // 1024} MiB.")
            if time.monotonic() > until:
                raise urllib3.exceptions.ReadTimeoutError(response, "", "the answer trickles")
        return bytes(body)

    def _broken(self, what: str, error: Exception, *, change: bool) -> NightshiftError:
        reason = getattr(error, "reason", error)
        for cause in (error, reason, getattr(reason, "__cause__", None)):
            if isinstance(cause, ssl.SSLError | urllib3.exceptions.SSLError):
                return ConfigurationError(
                    f"{self.name}: the certificate of its API server is not trusted.",
                    remedy="See certificate-authority in the kubeconfig.",
                )
        timed_out = isinstance(error, urllib3.exceptions.TimeoutError)
        if change and not isinstance(error, _NOT_SENT):
            kind = CommandTimeoutError if timed_out else ConnectionLostError
            return kind(f"{self.name}: {what}: no answer; whether it was done is unknown.")
        how = "no answer in time" if timed_out else f"no answer ({type(error).__name__})"
        return TargetUnreachableError(f"{self.name}: {what}: {how}.")

    @contextmanager
    def lines(self, what: str, path: str, query: Mapping[str, str], silence: float) -> Iterator[Iterator[bytes]]:
        """The lines of a stream, for the time of the block; each at most as large as an answer.

        Args:
            what: in words.
            path: see :meth:`Resource.path`.
            query: is encoded here.
            silence: seconds without a byte after which it counts as dead.

        Raises:
            TargetUnreachableError: no answer, silence, or the connection broke.
            NightshiftError: it was refused.
        """
        try:
            with self._open("GET", path, query, None, "", (self._seconds(what), silence)) as response:
                if response.status >= 400:
                    said = self._read(what, response, time.monotonic() + self.timeout, None)
                    asked = asked_pause(response.headers, status_of(said), datetime.now(UTC))
                    raise refusal(self.name, what, response.status, said, asked)
                yield self._split(what, response)
        except urllib3.exceptions.HTTPError as error:
            raise self._broken(what, error, change=False) from None

    def _split(self, what: str, response: Any) -> Iterator[bytes]:
        rest = b""
        for chunk in response.stream(amt=None, decode_content=True):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line for line in lines if line.strip())
            if len(rest) > MOST_BYTES:
                raise TooLargeError(f"{self.name}: {what}: one event is larger than {MOST_BYTES // 1024 // 1024} MiB.")
        if rest.strip():
            yield rest

    @contextmanager
    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        timeouts: tuple[float, float],
    ) -> Iterator[Any]:
        from kubernetes.client.rest import RESTClientObject

        if self._configuration is None or self._rest is None:
            self._configuration = self.configure()
            self._rest = RESTClientObject(self._configuration)
        headers = {"Accept": "application/json", "User-Agent": "nightshift"}
        settings: Mapping[str, Any] = self._configuration.auth_settings()
        headers |= {one["key"]: one["value"] or "" for one in settings.values()}
        if body is not None:
            headers["Content-Type"] = content_type
        url = self._configuration.host + path + (f"?{urlencode(query)}" if query else "")
        response = self._rest.pool_manager.urlopen(
            method,
            url,
            body=None if body is None else json.dumps(body).encode(),
            headers=headers,
            timeout=urllib3.Timeout(connect=timeouts[0], read=timeouts[1]),
            preload_content=False,
            retries=False,
            redirect=False,
        )
        self.clock.told(response.headers.get("Date"))
        whole = False
        try:
            yield response
            whole = True
        finally:
            # What was not read to its end cannot serve another request.
            if not whole:
                response.close()
            response.release_conn()
