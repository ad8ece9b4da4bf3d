"""Asking something over HTTP how it is (``http.probe``): one GET, bounded in time and size, without redirects.

What comes back is hostile text: only a status and one field at the top of a JSON answer are taken from it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from nightshift.remediation.connections import HttpConnection, resolve_secret

MOST_BYTES = 2_000_000
"""Of an answer; more is not read."""


@dataclass(frozen=True, kw_only=True)
class ProbeAnswer:
    """One answer, or why there was none."""

    status: int | None
    """None: no answer in time."""
    seconds: float
    field: Any = None
    """The field that was asked for; None where the answer has none."""
    silent: str = ""
    """Why there was no answer: the name of the error."""


def probe(connection: HttpConnection, path: str, field: str | None = None) -> ProbeAnswer:
    """One GET, within the connection's time-out for each part of it.

    Args:
        connection: the address; a token is sent where it has one.
        path: path and query, put behind the address.
        field: of the JSON answer, to read.

    Raises:
        ConfigurationError: the token cannot be read.
    """
    token = connection.token and resolve_secret(connection.token).get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = str(connection.url).rstrip("/") + path
    began = time.monotonic()
    try:
        with (
            httpx.Client(timeout=connection.timeout, follow_redirects=False) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            body = _body(answer, began + 2 * connection.timeout) if field is not None else b""
            return ProbeAnswer(
                status=answer.status_code,
                seconds=time.monotonic() - began,
                field=_field(body, field) if field is not None else None,
            )
    except httpx.HTTPError as error:
        return ProbeAnswer(status=None, seconds=time.monotonic() - began, silent=type(error).__name__)


def _body(answer: httpx.Response, until: float) -> bytes:
    """What it says, as far as it is said soon and is not too much."""
    body = bytearray()
    for part in answer.iter_bytes():
        body += part
        if len(body) > MOST_BYTES or time.monotonic() > until:
            break
    return bytes(body)


def _field(body: bytes, name: str) -> Any:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found.get(name) if isinstance(found, dict) else None
