"""Whoever decides about entries, over HTTP: whether they are paused, and pausing them. Nothing here resumes."""

from __future__ import annotations

import httpx

from nightshift.remediation.connections import HttpConnection, resolve_secret
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    NightshiftError,
    NotMeasuredError,
    OutcomeUnknownError,
)
from nightshift.remediation.trading.policy import PauseRule, StateRule

_MOST_BYTES = 100_000


def is_paused(connection: HttpConnection, rule: StateRule) -> bool:
    """Whether no new entries are made.

    Raises:
        NotMeasuredError: no answer, or none that says it.
        AuthenticationError: the token is refused.
    """
    try:
        answer = _ask(connection, "GET", rule.state)
    except httpx.HTTPError as error:
        raise NotMeasuredError(f"{rule.api} did not answer: {type(error).__name__}.") from None
    if (refused := _refusal(rule.api, answer)) is not None:
        raise refused
    try:
        state = answer.json() if len(answer.content) <= _MOST_BYTES else None
    except ValueError:
        state = None
    value = state.get(rule.field) if isinstance(state, dict) else None
    if not isinstance(value, bool):
        raise NotMeasuredError(f"{rule.api} does not say whether entries are paused: no true or false in {rule.field}.")
    return value


def pause(connection: HttpConnection, rule: PauseRule) -> None:
    """Let no new entries be made.

    Raises:
        OutcomeUnknownError: no answer; it may have been done.
        AuthenticationError, CommandFailedError: it was refused.
    """
    try:
        answer = _ask(connection, "POST", rule.pause)
    except httpx.HTTPError as error:
        raise OutcomeUnknownError(f"{rule.api} did not answer: {type(error).__name__}.") from None
    if (refused := _refusal(rule.api, answer)) is not None:
        raise refused


def _ask(connection: HttpConnection, method: str, path: str) -> httpx.Response:
    headers = {}
    if connection.token is not None:
        headers["Authorization"] = f"Bearer {resolve_secret(connection.token).get_secret_value()}"
    url = str(connection.url).rstrip("/") + path
    return httpx.request(method, url, headers=headers, timeout=connection.timeout, follow_redirects=False)


def _refusal(name: str, answer: httpx.Response) -> NightshiftError | None:
    if answer.status_code in (401, 403):
        return AuthenticationError(f"{name} refuses our token ({answer.status_code}).")
    if not answer.is_success:
        return CommandFailedError(f"{name} answered {answer.status_code}.")
    return None
