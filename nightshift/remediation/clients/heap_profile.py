"""A heap profile that a program offers over HTTP, read where a runbook says where it is: ``profiling.capture_heap``."""

from __future__ import annotations

import httpx

from nightshift.remediation.connections import HttpConnection, resolve_secret
from nightshift.remediation.errors import NotMeasuredError

_MOST_BYTES = 4 * 1024 * 1024


def read_profile(connection: HttpConnection, path: str) -> str:
    """The profile, at most its first 4 MiB; hostile text.

    Raises:
        NotMeasuredError: nobody answers there, or says no.
    """
    token = connection.token and resolve_secret(connection.token).get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url, body = f"{str(connection.url).rstrip('/')}{path}", b""
    try:
        with httpx.stream("GET", url, headers=headers, timeout=connection.timeout, follow_redirects=False) as response:
            if response.status_code != 200:
                raise NotMeasuredError(f"The heap profile was answered with status {response.status_code}.")
            for part in response.iter_bytes():
                body += part
                if len(body) >= _MOST_BYTES:
                    break
    except httpx.HTTPError as error:
        raise NotMeasuredError(f"The heap profile was not to be had: {type(error).__name__}.") from None
    return body[:_MOST_BYTES].decode(errors="replace")
