"""Prometheus: instant queries, for measurements that the target itself cannot make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from nightshift.remediation.allowances import Reading, Scraping, why_unknown
from nightshift.remediation.clients import bounded_http
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import CommandFailedError, NotMeasuredError
from nightshift.remediation.inventory import serves
from nightshift.remediation.text import printable

_LOOK_BACK_SECONDS = 300.0
"""So far back the scrapes of a target are looked at."""
_MOST_BYTES = 1_000_000
"""Of an answer; a selector that matches thousands of series is a mistake."""


_MOST_TARGETS = 100
"""So many targets are asked about whether they are alive; of more a selector is too wide to tell how one thing is."""


class Sample(BaseModel):
    """One series at one moment."""

    metric: dict[str, str]
    value: tuple[float, float]
    """Unix time and value; Prometheus sends the value as text."""


class _Result(BaseModel):
    result: list[Sample]


class _Answer(BaseModel):
    data: _Result


class _Range(BaseModel):
    metric: dict[str, str]
    values: list[tuple[float, float]]


class _RangeResult(BaseModel):
    result: list[_Range]


class _Ranges(BaseModel):
    data: _RangeResult


class _RuntimeInfo(BaseModel):
    startTime: datetime  # noqa: N815 - its name there


class _Runtime(BaseModel):
    data: _RuntimeInfo


A = TypeVar("A", bound=BaseModel)


def selector(metric: str, labels: Mapping[str, str]) -> str:
    """A series selector; the values are escaped, so that no value can widen it."""

    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    matchers = ",".join(f'{name}="{quoted(value)}"' for name, value in sorted(labels.items()))
    return f"{metric}{{{matchers}}}" if matchers else metric


@serves("trading_signals.general: metric_value", "bybit_strategy_tester.general: metric_value")
def query(name: str, connection: HttpConnection, expression: str) -> list[Sample]:
    """The samples of an instant query.

    Raises:
        TargetUnreachableError: no answer in time, or the server is in trouble.
        AuthenticationError: the token is refused.
        CommandFailedError: the query is refused, or the answer is none of Prometheus.
    """
    return _parsed(name, _Answer, _query(name, connection, expression)).data.result


@serves("trading_signals.general: metric_range", "bybit_strategy_tester.general: metric_range")
def query_range(
    name: str, connection: HttpConnection, expression: str, start: float, end: float, step: int
) -> list[tuple[float, float]]:
    """Time and value of the one series that an expression gives, oldest first; nothing when it gives none, or several.

    Args:
        name: of the connection.
        connection: to Prometheus.
        expression: in PromQL.
        start: Unix time.
        end: Unix time.
        step: seconds between two points.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`query`.
    """
    found = query_ranges(name, connection, expression, start, end, step)
    return found[0][1] if len(found) == 1 else []


def query_ranges(
    name: str, connection: HttpConnection, expression: str, start: float, end: float, step: int
) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
    """Labels, and time and value of each series that an expression gives, oldest first; what is no number is left out.

    Args and errors are those of :func:`query_range`.
    """
    asked = {"query": expression, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": str(step)}
    found = _parsed(name, _Ranges, _asked(name, connection, "query_range", **asked))
    return [
        (one.metric, [(at, value) for at, value in one.values if math.isfinite(value)]) for one in found.data.result
    ]


def read(
    name: str, connection: HttpConnection, series: str, *, window: float = 0
) -> list[tuple[dict[str, str], Reading, float]]:
    """The newest value of each series that really tells how its target is: its labels, the value, the scrape interval.

    Prometheus answers an instant query also about targets that are dead, out of values up to five minutes old. So the
    time of the scrape is read, the ``up`` of the target, and when Prometheus itself started.

    Args:
        name: of the connection.
        connection: to Prometheus.
        series: a selector, as of :func:`selector`.
        window: seconds that what is made of it looks back.

    Raises:
        NotMeasuredError: of none of them it can be told, and why.
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`query`.
    """
    values = query(name, connection, series)
    if not values:
        raise NotMeasuredError(f"{name} has no {printable(series, 300)} now.")
    targets = {_target(sample.metric) for sample in values}
    if len(targets) > _MOST_TARGETS:
        raise NotMeasuredError(f"{name} has {printable(series, 300)} of {len(targets):,} targets: too many to tell.")
    scrapings = {target: _scraping(name, connection, target, window) for target in targets}
    scraped = {_labels(one.metric): one.value[1] for one in query(name, connection, f"timestamp({series})")}
    started, found, why = started_at(name, connection), [], ""
    for sample in values:
        at = scraped.get(_labels(sample.metric))
        reading = None if at is None else Reading(sample.value[1], at)
        scraping = scrapings[_target(sample.metric)]
        unknown = why_unknown(reading, scraping, now=sample.value[0], started=started, window=window)
        if reading is not None and scraping is not None and not unknown:
            found.append((sample.metric, reading, scraping.interval))
        why = why or unknown
    if not found:
        raise NotMeasuredError(f"{name} does not tell what {printable(series, 300)} is: {why}.")
    return found


def started_at(name: str, connection: HttpConnection) -> float | None:
    """When the server started, Unix time; None for one that does not say, such as a store of several Prometheus."""
    path = "api/v1/status/runtimeinfo"
    status, content = bounded_http.ask(name, connection, "GET", path, {}, most_bytes=_MOST_BYTES)
    if status != 200:
        return None
    try:
        return _Runtime.model_validate_json(content).data.startTime.timestamp()
    except ValidationError:
        return None


def _target(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Who exports a series."""
    return tuple((label, labels[label]) for label in ("job", "instance") if label in labels)


def _scraping(
    name: str, connection: HttpConnection, target: tuple[tuple[str, str], ...], window: float
) -> Scraping | None:
    """How a target was scraped of late."""
    seconds = math.ceil(max(window, _LOOK_BACK_SECONDS))
    body = _query(name, connection, f"{selector('up', dict(target))}[{seconds}s]")
    targets = _parsed(name, _Ranges, body).data.result
    return Scraping.of(targets[0].values, window) if len(targets) == 1 else None


def _labels(metric: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The labels without the name, which functions drop."""
    return tuple(sorted((label, value) for label, value in metric.items() if label != "__name__"))


def _query(name: str, connection: HttpConnection, expression: str) -> bytes:
    return _asked(name, connection, "query", query=expression)


def _asked(name: str, connection: HttpConnection, path: str, **form: str) -> bytes:
    status, content = bounded_http.ask(name, connection, "POST", f"api/v1/{path}", form, most_bytes=_MOST_BYTES)
    if status != 200:
        raise CommandFailedError(f"{name} refused a query with status {status}.")
    return content


def _parsed(name: str, kind: type[A], content: bytes) -> A:
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        said = printable(content[:200].decode(errors="replace"), 60)
        raise CommandFailedError(f"{name} does not answer as Prometheus: {said}") from None
