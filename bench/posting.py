"""Alerts sent to the gateway as Alertmanager sends them, on connections that stay open."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

from nightshift.settings import Settings

_SECONDS = 30.0
_NEVER = "0001-01-01T00:00:00Z"


def body(alerts: Iterable[Mapping[str, str]]) -> bytes:
    """A webhook of version 4 with these firing alerts, given by their labels; each is a new one."""
    now = datetime.now(UTC).isoformat()
    firing = {"status": "firing", "startsAt": now, "endsAt": _NEVER, "generatorURL": "http://prometheus:9090/graph"}
    told = {"summary": "a filesystem of a shop host is nearly full", "runbook_url": "https://example.com/disk"}
    group = {"groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "truncatedAlerts": 0}
    content = [
        {**firing, "labels": dict(labels), "annotations": told, "fingerprint": uuid4().hex[:16]} for labels in alerts
    ]
    webhook = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "nightshift", **group}
    return json.dumps({**webhook, "externalURL": "", "alerts": content}).encode()


def resolved(content: bytes) -> bytes:
    """The same alerts, over now."""
    webhook = json.loads(content)
    over = {"status": "resolved", "endsAt": datetime.now(UTC).isoformat()}
    alerts = [{**alert, **over} for alert in webhook["alerts"]]
    return json.dumps({**webhook, "status": "resolved", "alerts": alerts}).encode()


@dataclass(frozen=True)
class Posted:
    """One body and its answer."""

    at: float
    """Just before it was sent, in seconds since 1970."""
    seconds: float
    """Until the answer was there."""
    status: int
    """0: there was no answer."""

    @property
    def accepted(self) -> bool:
        """Whether the gateway took it."""
        return self.status == http.client.ACCEPTED


class Sender:
    """One connection to the gateway."""

    def __init__(self, settings: Settings) -> None:
        address = urlsplit(settings.gateway_url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_SECONDS)
        token = settings.webhook_token.get_secret_value() if settings.webhook_token else ""
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def __enter__(self) -> Self:
        self._connection.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def post(self, content: bytes) -> int:
        """Send a body; the status of the answer.

        Raises:
            OSError: there was none.
        """
        self._connection.request("POST", "/alerts", content, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def timed(self, content: bytes) -> Posted:
        """Send a body, and say how long that took."""
        at, begun = time.time(), time.perf_counter()
        try:
            status = self.post(content)
        except (OSError, http.client.HTTPException):
            status = 0
            self._connection.close()  # the next one connects anew
        return Posted(at, time.perf_counter() - begun, status)


def post_all(settings: Settings, bodies: Sequence[bytes], *, connections: int) -> list[Posted]:
    """Send bodies as fast as so many connections take them; each sends its next when it has its answer."""
    waiting = iter(bodies)
    lock = threading.Lock()

    def send(_: int) -> list[Posted]:
        posted: list[Posted] = []
        with Sender(settings) as sender:
            while True:
                with lock:
                    content = next(waiting, None)
                if content is None:
                    return posted
                posted.append(sender.timed(content))

    with ThreadPoolExecutor(connections) as threads:
        return [each for some in threads.map(send, range(connections)) for each in some]
