"""What Stripe says of its webhook deliveries: two questions, both GET, with a restricted key that may only read.

Follows https://docs.stripe.com/api/events/list (``delivery_success``) and /api/webhook_endpoints/list. Neither key nor
body of an event is ever in an answer, an error or a log: of an event only its type is kept.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from nightshift.remediation.connections import HttpConnection, resolve_secret
from nightshift.remediation.errors import AuthenticationError, CommandFailedError, TargetUnreachableError
from nightshift.remediation.inventory import serves
from nightshift.remediation.signed_requests.facts import Deliveries, StripeEndpoint
from nightshift.remediation.text import printable

_MOST = 100
"""Of one page; how many more there are does not matter."""
_MOST_BYTES = 8_000_000


class _Event(BaseModel):
    type: str


class _Events(BaseModel):
    data: list[_Event]
    has_more: bool


class _Endpoint(BaseModel):
    url: str
    status: str


class _Endpoints(BaseModel):
    data: list[_Endpoint]


A = TypeVar("A", bound=BaseModel)


@serves("trading_signals.PaymentWebhookFailures: d3")
def webhook_deliveries(name: str, connection: HttpConnection, since: float) -> Deliveries:
    """Events since then of which a webhook was not delivered, and where they are sent to.

    Args:
        name: of the connection.
        connection: to https://api.stripe.com, with a restricted key as its token.
        since: seconds since 1970.

    Raises:
        TargetUnreachableError: no answer in time, or Stripe is in trouble or wants us to wait.
        AuthenticationError: the key is refused, or may not read that.
        CommandFailedError: the answer is none of Stripe.
    """
    asked = {"delivery_success": "false", "created[gte]": str(int(since)), "limit": str(_MOST)}
    events = _get(name, connection, "/v1/events", asked, _Events)
    endpoints = _get(name, connection, "/v1/webhook_endpoints", {"limit": str(_MOST)}, _Endpoints)
    return Deliveries(
        undelivered=len(events.data),
        more=events.has_more,
        types=dict(Counter(printable(event.type, 60) for event in events.data).most_common()),
        endpoints=tuple(
            StripeEndpoint(host=printable(urlsplit(one.url).hostname or "", 80), enabled=one.status == "enabled")
            for one in endpoints.data
        ),
    )


def _get(name: str, connection: HttpConnection, path: str, asked: dict[str, str], kind: type[A]) -> A:
    headers = {}
    if connection.token is not None:
        headers["Authorization"] = f"Bearer {resolve_secret(connection.token).get_secret_value()}"
    url = str(connection.url).rstrip("/") + path
    try:
        answer = httpx.get(url, params=asked, headers=headers, timeout=connection.timeout, follow_redirects=False)
    except httpx.HTTPError as error:
        raise TargetUnreachableError(f"{name} did not answer: {type(error).__name__}.") from None
    if answer.status_code in (401, 403):
        remedy = "Give it a restricted key that may read events and webhook endpoints."
        raise AuthenticationError(f"{name} refuses our key ({answer.status_code}).", remedy=remedy)
    if answer.status_code == 429 or answer.status_code >= 500:
        raise TargetUnreachableError(f"{name} answered {answer.status_code}.")
    if answer.status_code != 200 or len(answer.content) > _MOST_BYTES:
        raise CommandFailedError(f"{name} answered {answer.status_code}, or too much.")
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError:
        raise CommandFailedError(f"{name} does not answer as Stripe.") from None
