"""Alertmanager's HTTP API, version 2: only what is read, within bounds of time and size.

Reference: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import httpx

from nightshift.remediation.alert_sources import RECEIVER, AlertmanagerAddress
from nightshift.remediation.errors import TemporaryError

_EVERYTHING = {"active": "true", "silenced": "true", "inhibited": "true", "unprocessed": "true"}
"""Also what is silenced: an alert that is silenced now has not ended."""
_SMALL = 1024 * 1024


class Clock(NamedTuple):
    """Times of one Alertmanager, both by its own clock."""

    now: datetime
    started: datetime

    @property
    def uptime_seconds(self) -> float:
        """For how long it has been running."""
        return (self.now - self.started).total_seconds()


class AlertmanagerUnavailableError(TemporaryError):
    """An Alertmanager cannot be asked, or its answer is none; nothing may be concluded from that."""


class AlertmanagerApi:
    """One Alertmanager. Every call raises AlertmanagerUnavailableError when there is no whole answer in time."""

    def __init__(self, address: AlertmanagerAddress, *, max_bytes: int, seconds: float = 15) -> None:
        self._address = address
        self._max_bytes = max_bytes
        self._seconds = seconds
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if address.token is not None:
            headers["Authorization"] = f"Bearer {address.token.get_secret_value()}"
        password = address.password.get_secret_value() if address.password else ""
        self._client = httpx.Client(
            timeout=httpx.Timeout(min(5.0, seconds)),
            headers=headers,
            auth=(address.user, password) if address.user and address.token is None else None,
            # A proxy from the environment is for the world outside, not for our own machine.
            trust_env=urlsplit(address.url).hostname not in ("127.0.0.1", "::1", "localhost"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def alerts(self) -> bytes:
        """All alerts that it holds, active, silenced or inhibited, as JSON that may be anything."""
        return self._get("alerts", self._max_bytes, _EVERYTHING)[0]

    def clock(self) -> Clock:
        """What time it is there, and since when it runs."""
        body, headers = self._get("status", _SMALL)
        try:
            return Clock(
                now=parsedate_to_datetime(headers["date"]), started=datetime.fromisoformat(json.loads(body)["uptime"])
            )
        except (ValueError, TypeError, KeyError):
            raise AlertmanagerUnavailableError(f"{self._address.url} does not say since when it runs.") from None

    def receiver(self) -> str:
        """The name of our receiver there.

        Raises:
            AlertmanagerUnavailableError: also when there is none of this name, so that nothing could be ours.
        """
        try:
            names = [str(one["name"]) for one in json.loads(self._get("receivers", _SMALL)[0])]
        except (ValueError, TypeError, KeyError):
            raise self._no_api() from None
        wanted = self._address.receiver or (names[0] if len(names) == 1 else RECEIVER)
        if wanted not in names:
            raise AlertmanagerUnavailableError(
                f"{self._address.url} has no receiver {wanted!r}.",
                remedy="Name ours as 'receiver' in NIGHTSHIFT_ALERTMANAGERS.",
            )
        return wanted

    def _get(self, what: str, most: int, params: dict[str, str] | None = None) -> tuple[bytes, httpx.Headers]:
        url, body = f"{self._address.url}/api/v2/{what}", bytearray()
        give_up_at = time.monotonic() + self._seconds
        try:
            with self._client.stream("GET", url, params=params) as answer:
                if answer.status_code != 200:
                    raise AlertmanagerUnavailableError(f"{self._address.url} answers with {answer.status_code}.")
                # Undecoded: a small answer could unpack to any size.
                for chunk in answer.iter_raw():
                    body += chunk
                    if len(body) > most:
                        raise AlertmanagerUnavailableError(f"{self._address.url} answers more than {most:,} bytes.")
                    if time.monotonic() > give_up_at:
                        raise AlertmanagerUnavailableError(f"{self._address.url} answers too slowly.")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            message = f"{self._address.url} does not answer: {type(error).__name__}."
            raise AlertmanagerUnavailableError(message) from None
        return bytes(body), answer.headers

    def _no_api(self) -> AlertmanagerUnavailableError:
        return AlertmanagerUnavailableError(f"What answers at {self._address.url} is no Alertmanager of version 2.")
