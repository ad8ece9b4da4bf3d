"""Alertmanager's HTTP API, version 2: what is read, within bounds of time and size, and silences.

Reference: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import TypeAdapter, ValidationError

from nightshift.remediation.alert_sources import RECEIVER, AlertmanagerAddress
from nightshift.remediation.errors import TemporaryError
from nightshift.remediation.silencing import HeldAlert, Silence, exactly

_EVERYTHING = {"active": "true", "silenced": "true", "inhibited": "true", "unprocessed": "true"}
"""Also what is silenced: an alert that is silenced now has not ended."""
_SMALL = 1024 * 1024
_HELD, _SILENCES = TypeAdapter(tuple[HeldAlert, ...]), TypeAdapter(tuple[Silence, ...])
_FAILED = re.compile(
    r'^alertmanager_notifications_failed_total\{[^}\n]*?integration="([^"\n]{1,60})"[^}\n]*\} (\S+)', re.M
)
T = TypeVar("T")


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
        return self._get("api/v2/alerts", self._max_bytes, _EVERYTHING)[0]

    def held(self) -> tuple[HeldAlert, ...]:
        """The same, each with what silences it and whom it is sent to."""
        return self._parsed(_HELD, self.alerts())

    def silences(self) -> tuple[Silence, ...]:
        """All that it remembers, ended ones too."""
        return self._parsed(_SILENCES, self._get("api/v2/silences", self._max_bytes)[0])

    def failed_deliveries(self) -> dict[str, float]:
        """How many notifications it gave up since its start, by the kind of receiver; kinds that lost none left out.

        Follows its own metric ``alertmanager_notifications_failed_total``.
        """
        text = self._get("metrics", self._max_bytes)[0].decode(errors="replace")
        found: dict[str, float] = defaultdict(float)
        for kind, number in _FAILED.findall(text):
            if (count := _count(number)) > 0:
                found[kind] += count
        return dict(found)

    def clock(self) -> Clock:
        """What time it is there, and since when it runs."""
        body, headers = self._get("api/v2/status", _SMALL)
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
            names = [str(one["name"]) for one in json.loads(self._get("api/v2/receivers", _SMALL)[0])]
        except (ValueError, TypeError, KeyError):
            raise self._no_api() from None
        wanted = self._address.receiver or (names[0] if len(names) == 1 else RECEIVER)
        if wanted not in names:
            raise AlertmanagerUnavailableError(
                f"{self._address.url} has no receiver {wanted!r}.",
                remedy="Name ours as 'receiver' in NIGHTSHIFT_ALERTMANAGERS.",
            )
        return wanted

    def silence(self, labels: Mapping[str, str], *, seconds: float, author: str, comment: str) -> str:
        """Silence the alert that has these labels, each exactly, and none of those that others have besides; its id.

        It begins and ends by the Alertmanager's own clock. In a cluster its other members learn of it by themselves.

        Args:
            labels: all those of one alert.
            seconds: until it ends.
            author: who wants it.
            comment: why.
        """
        now = self.clock().now
        asked = exactly(labels, (alert.labels for alert in self.held()))
        matchers = [{"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in asked.items()]
        times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(seconds=seconds)).isoformat()}
        body = {"matchers": matchers, **times, "createdBy": author, "comment": comment}
        try:
            answer = self._client.post(f"{self._address.url}/api/v2/silences", json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            message = f"{self._address.url} does not answer: {type(error).__name__}."
            raise AlertmanagerUnavailableError(message) from None
        if answer.status_code != 200:
            raise AlertmanagerUnavailableError(f"{self._address.url} refuses a silence with {answer.status_code}.")
        try:
            return str(answer.json()["silenceID"])
        except (ValueError, TypeError, KeyError):
            raise self._no_api() from None

    def _get(self, what: str, most: int, params: dict[str, str] | None = None) -> tuple[bytes, httpx.Headers]:
        url, body = f"{self._address.url}/{what}", bytearray()
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

    def _parsed(self, form: TypeAdapter[tuple[T, ...]], body: bytes) -> tuple[T, ...]:
        try:
            return form.validate_json(body)
        except ValidationError:
            raise self._no_api() from None

    def _no_api(self) -> AlertmanagerUnavailableError:
        return AlertmanagerUnavailableError(f"What answers at {self._address.url} is no Alertmanager of version 2.")


def _count(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
