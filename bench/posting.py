"""Alerts sent to the gateway as Alertmanager sends them, on connections that stay open."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
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
