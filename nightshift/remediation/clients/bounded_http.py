"""Questions to an HTTP API whose answers may be of any size: read to a bound, and refused beyond it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx

from nightshift.remediation.connections import HttpConnection, resolve_secret
from nightshift.remediation.errors import AuthenticationError, CommandFailedError, TargetUnreachableError
from nightshift.remediation.text import printable


def get(name: str, connection: HttpConnection, path: str, asked: Mapping[str, str], *, most_bytes: int) -> bytes:
    """The body of a good answer.

    Args:
        name: of the connection, for messages.
        connection: where, with its token.
        path: below the connection's URL, as its API has it.
        asked: parameters of the query.
        most_bytes: a larger answer is refused.

    Raises:
        TargetUnreachableError: no answer, one of the server's own trouble, or too many questions.
        AuthenticationError: it refused the token.
        CommandFailedError: it refused the question, or its answer is too large.
    """
    status, content = ask(name, connection, "GET", path, asked, most_bytes=most_bytes)
    if status != 200:
        said = printable(content[:200].decode(errors="replace"), 120)
        raise CommandFailedError(f"{name} refused the question with status {status}: {said}")
    return content


def ask(
    name: str, connection: HttpConnection, method: str, path: str, asked: Mapping[str, str], *, most_bytes: int
) -> tuple[int, bytes]:
    """Status and body of an answer that is no trouble of the server's own.

    Args:
        name: of the connection, for messages.
        connection: where, with its token and the time within which the whole answer must have come.
        method: ``GET``, whose questions are in the URL, or ``POST``, whose are a form.
        path: below the connection's URL, as its API has it.
        asked: the questions.
        most_bytes: a larger answer is refused; never more of it is kept.

    Raises:
        TargetUnreachableError: no whole answer in time, one of the server's own trouble, or too many questions.
        AuthenticationError: it refused the token.
        CommandFailedError: its answer is too large.
    """
    token = connection.token and resolve_secret(connection.token).get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{str(connection.url).rstrip('/')}/{path}"
    questions: dict[str, Any] = {"params" if method == "GET" else "data": asked or None}
    content, give_up_at = bytearray(), time.monotonic() + connection.timeout
    try:
        with httpx.stream(method, url, headers=headers, timeout=connection.timeout, **questions) as response:
            status = response.status_code
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > most_bytes:
                    raise CommandFailedError(f"{name} sent more than {most_bytes:,} bytes.")
                if time.monotonic() > give_up_at:
                    raise TargetUnreachableError(f"{name} did not finish its answer in time.")
    except httpx.HTTPError as error:
        raise TargetUnreachableError(f"{name} did not answer: {type(error).__name__}.") from None
    if status in (401, 403):
        raise AuthenticationError(f"{name} refused the token.")
    if status >= 500 or status == 429:
        raise TargetUnreachableError(f"{name} answered with status {status}.")
    return status, bytes(content)
