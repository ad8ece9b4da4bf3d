"""Notify: sends the pages and notices of the outbox through the channels of the catalogue.

Each channel is spoken to by one thread at a time and for a bounded time, so a slow one holds up nobody else. A message
that no channel took stays in the outbox with the reason.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import httpx
from pydantic import SecretStr
from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError

from nightshift.catalogue import Catalogue, Channel
from nightshift.gateway.channel_kinds import Message, Send, send_by_apprise, send_to
from nightshift.gateway.channels import DEFAULT_CHANNEL
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.connections import resolve_secret
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.deliveries import ALL_CLEAR
from nightshift.remediation.models import Severity

log = logging.getLogger(__name__)

_SUBJECT_LENGTH = 250
_BODY_LENGTH = 3000
_TAKEN_SECONDS = 60.0
_ROUND_SECONDS = 15.0
_BATCH = 50
_CHANNELS_AT_ONCE = 8
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ADDRESSES = re.compile(r"[@!](?=\w)|<(?=[!@#])")
"""What chat programs (and apprise for them) turn into a call for people: ``@channel``, ``<!here>``, ``!here>``."""


class Notifier:
    """Sends what is due."""

    def __init__(
        self,
        ledger: Ledger,
        catalogue: Catalogue,
        metrics: Metrics,
        default_url: SecretStr | None,
        send: Send = send_by_apprise,
    ) -> None:
        self._ledger = ledger
        self._catalogue = catalogue
        self._metrics = metrics
        self._default_url = default_url
        self._send = send
        self._threads = ThreadPoolExecutor(_CHANNELS_AT_ONCE, thread_name_prefix="notify")
        self._running: dict[tuple[str, str], Future[None]] = {}
        self._complained: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Start nothing more; what is being sent ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def send_due(self) -> int:
        """Send what is due, waiting at most some seconds for slow channels; returns how many messages were taken up.

        A message for a channel that is still busy with earlier ones is due again a minute later.
        """
        self._running = {key: future for key, future in self._running.items() if not future.done()}
        by_channel: dict[tuple[str, str], list[Row[Any]]] = defaultdict(list)
        for message in self._ledger.deliveries.take(_BATCH, _TAKEN_SECONDS):
            by_channel[message.system, message.channel].append(message)
        started = {
            key: self._threads.submit(self._send_all, key, messages)
            for key, messages in by_channel.items()
            if key not in self._running
        }
        self._running |= started
        wait(started.values(), timeout=_ROUND_SECONDS)
        return sum(len(by_channel[key]) for key in started)

    def _send_all(self, key: tuple[str, str], messages: Sequence[Row[Any]]) -> None:
        try:
            for message in messages:
                error = self._try(key, message)
                if error is None:
                    self._ledger.deliveries.delivered(message.id)
                    self._complained.discard(key)
                else:
                    self._failed(key, message, error)
        except SQLAlchemyError:
            # Not written down: the message is due again in a minute. Twice is better than never.
            log.warning("the ledger went away while messages were sent")

    def _try(self, key: tuple[str, str], message: Row[Any]) -> str | None:
        """Send one message; None when it was taken, else why not."""
        try:
            channel, secret = self._place(*key)
            return send_to(channel, secret, _message(message, self._ended(message)), self._send)
        except ConfigurationError as error:
            return str(error)
        except (OSError, ValueError, RuntimeError, httpx.HTTPError) as error:
            return f"sending failed: {type(error).__name__}"

    def _ended(self, row: Row[Any]) -> Sequence[int]:
        """Pages that nobody has to answer any more once this message is there."""
        over = row.step == ALL_CLEAR
        return self._ledger.deliveries.pages_to(row.incident_id, row.channel) if over else ()

    def _place(self, system: str, channel: str) -> tuple[Channel | None, SecretStr]:
        if channel == DEFAULT_CHANNEL:
            if self._default_url is None:
                raise ConfigurationError("There is no default channel.", remedy="Set NIGHTSHIFT_PAGE_URL.")
            return None, self._default_url
        known = self._catalogue.systems.get(system)
        if known is None or channel not in known.channels:
            raise ConfigurationError("The channel is not in the catalogue any more.")
        return known.channels[channel], resolve_secret(known.channels[channel].url)

    def _failed(self, key: tuple[str, str], message: Row[Any], error: str) -> None:
        self._metrics.notification_failures.inc()
        self._ledger.deliveries.failed(message.id, message.tries, error)
        with self._lock:
            first = key not in self._complained
            self._complained.add(key)
        if first:  # once per outage of a channel
            log.error("a message was not delivered", extra={"system": key[0], "channel": key[1], "error": error})


def _message(row: Row[Any], ended: Sequence[int] = ()) -> Message:
    return Message(
        for_people(row.subject.replace("\n", " "), _SUBJECT_LENGTH),  # of a mail it becomes a header
        for_people(row.body, _BODY_LENGTH),
        Severity.INFO if row.step == ALL_CLEAR else Severity(row.severity),
        row.system,
        _key(row, row.id),
        tuple(_key(row, page) for page in ended),
    )


def _key(row: Row[Any], message: int) -> str:
    """Of a message about the same incident."""
    return f"nightshift-{row.incident_id}-{row.opened_at:%Y%m%dT%H%M%S.%f}-{message}"


def for_people(text: str, limit: int) -> str:
    """Bounded, without control characters, and so that nothing in it calls people by itself."""
    calm = _ADDRESSES.sub(lambda found: found.group() + "\N{ZERO WIDTH SPACE}", _CONTROL.sub(" ", text))
    return calm if len(calm) <= limit else calm[: limit - 1] + "…"
