"""Prometheus: instant queries, for measurements that the target itself cannot make."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from pydantic import BaseModel, ValidationError

from nightshift.remediation.connections import HttpConnection, resolve_secret
from nightshift.remediation.errors import AuthenticationError, CommandFailedError, TargetUnreachableError
from nightshift.remediation.text import printable

_MOST_BYTES = 1_000_000
"""Of an answer; a selector that matches thousands of series is a mistake."""


class Sample(BaseModel):
    """One series at one moment."""

    metric: dict[str, str]
    value: tuple[float, float]
    """Unix time and value; Prometheus sends the value as text."""


class _Result(BaseModel):
    result: list[Sample]


class _Answer(BaseModel):
    data: _Result


def selector(metric: str, labels: Mapping[str, str]) -> str:
    """A series selector; the values are escaped, so that no value can widen it."""

    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    matchers = ",".join(f'{name}="{quoted(value)}"' for name, value in sorted(labels.items()))
    return f"{metric}{{{matchers}}}"


def query(name: str, connection: HttpConnection, expression: str) -> list[Sample]:
    """The samples of an instant query.

    Raises:
        TargetUnreachableError: no answer in time, or the server is in trouble.
        AuthenticationError: the token is refused.
        CommandFailedError: the query is refused, or the answer is none of Prometheus.
    """
    token = connection.token and resolve_secret(connection.token).get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{str(connection.url).rstrip('/')}/api/v1/query"
    try:
        response = httpx.post(url, data={"query": expression}, headers=headers, timeout=connection.timeout)
    except httpx.HTTPError as error:
        raise TargetUnreachableError(f"{name} did not answer: {type(error).__name__}.") from None
    if response.status_code in (401, 403):
        raise AuthenticationError(f"{name} refused the token.")
    if response.status_code >= 500:
        raise TargetUnreachableError(f"{name} answered with status {response.status_code}.")
    if response.status_code != 200 or len(response.content) > _MOST_BYTES:
        raise CommandFailedError(f"{name} refused a query with status {response.status_code}.")
    try:
        return _Answer.model_validate_json(response.content).data.result
    except ValidationError:
        raise CommandFailedError(f"{name} does not answer as Prometheus: {printable(response.text, 60)}") from None
