"""How each kind of channel is spoken to: Slack webhooks and PagerDuty's events directly, everything else by apprise.

Directly, because both are one request whose answer tells what is wrong, and because PagerDuty takes a repeat for the
same page only by a key of ours, which apprise does not send.

References: https://api.slack.com/messaging/webhooks, https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import apprise
import httpx
from pydantic import SecretStr

from nightshift.catalogue import Channel
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.models import Severity

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
_TIMEOUT = httpx.Timeout(5.0, read=10.0)
_SUMMARY_LENGTH = 1024
_COLORS = {Severity.CRITICAL: "danger", Severity.WARNING: "warning", Severity.INFO: "good"}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Message:
    """What is said, harmless for people and bounded."""

    subject: str
    body: str
    severity: Severity
    system: str
    key: str
    """The same for every try of this message and for no other one, in this installation or another."""
    ends: tuple[str, ...] = ()
    """Keys of earlier messages that nobody has to answer any more."""


Send = Callable[[SecretStr, str, str], bool]
"""Sends a subject and a body to an apprise URL; whether it was taken."""


def send_by_apprise(url: SecretStr, subject: str, body: str) -> bool:
    """See :data:`Send`. Apprise bounds connecting and reading: 4 seconds each, or ``cto`` and ``rto`` in the URL."""
    channel = apprise.Apprise()
    if not channel.add(url.get_secret_value()):
        raise ConfigurationError("its URL is none that apprise knows")
    return bool(channel.notify(title=subject, body=body, body_format=apprise.NotifyFormat.TEXT))


def send_to(channel: Channel | None, secret: SecretStr, message: Message, send: Send) -> str | None:
    """Send through a channel (None: the installation's own); None when it was taken, else why not, without secrets.

    Raises:
        ConfigurationError: its secret is no place for messages.
        HTTPError: it does not answer.
    """
    place = secret.get_secret_value().strip()
    kind = channel.kind if channel else "apprise"
    if kind == "slack" and place.startswith(("https://", "http://")):
        return _post(place, _slack_body(message))
    if kind == "pagerduty" and (place.startswith(("https://", "http://")) or "://" not in place):
        url, routing_key = _pagerduty(place)
        # That it is over closes what rang, and rings no more.
        bodies = [_end_of_page(key, routing_key) for key in message.ends] or [_pagerduty_body(message, routing_key)]
        return next((error for body in bodies if (error := _post(url, body)) is not None), None)
    taken = send(SecretStr(place), message.subject, message.body)
    return None if taken else "the channel did not take it"


def _slack_body(message: Message) -> dict[str, Any]:
    """As an attachment, for its color. What Slack would interpret is escaped, and Markdown is switched off."""
    subject, body = _for_slack(message.subject), _for_slack(message.body)
    attachment = {
        "title": subject,
        "text": body,
        "fallback": subject,
        "color": _COLORS[message.severity],
        "mrkdwn_in": [],
    }
    return {"attachments": [attachment]}


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _pagerduty_body(message: Message, routing_key: str) -> dict[str, Any]:
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": message.key,
        "client": "Nightshift",
        "payload": {
            "summary": message.subject[:_SUMMARY_LENGTH],
            "source": message.system,
            "severity": message.severity.value,
            "custom_details": {"details": message.body},
        },
    }


def _end_of_page(key: str, routing_key: str) -> dict[str, Any]:
    return {"routing_key": routing_key, "event_action": "resolve", "dedup_key": key}


def _pagerduty(place: str) -> tuple[str, str]:
    """Where events go, and the routing key: the key alone, or ``https://KEY@events.eu.pagerduty.com/v2/enqueue``."""
    if "://" not in place:
        if not place:
            raise ConfigurationError("its routing key is empty")
        return PAGERDUTY_URL, place
    try:
        url = httpx.URL(place)
    except httpx.InvalidURL:
        raise ConfigurationError("its URL cannot be read") from None
    if not url.username:
        raise ConfigurationError("its URL has no routing key: https://KEY@events.eu.pagerduty.com/v2/enqueue")
    return str(url.copy_with(username=None, password=None)), unquote(url.username)


def _post(url: str, body: dict[str, Any]) -> str | None:
    try:
        local = httpx.URL(url).host in _LOOPBACK
        # A proxy from the environment is for the world outside, not for our own machine.
        answer = httpx.post(url, json=body, timeout=_TIMEOUT, trust_env=not local)
    except httpx.InvalidURL:
        raise ConfigurationError("its URL cannot be read") from None
    return None if answer.is_success else f"the channel answered with {answer.status_code}"
