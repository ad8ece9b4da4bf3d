"""Jaeger: slow or failed traces of a service, over the HTTP API that its own user interface uses; nothing is changed.

Operation ``jaeger.find_traces`` of octollm.HighLatency.d5 and octollm.HighErrorRate.d5. The API is the documented JSON
of ``jaeger-query``: traces with spans and processes, times in microseconds. A name that comes from an alert is a query
parameter, encoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, JsonValue, ValidationError

from nightshift.remediation.clients import bounded_http
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import CommandFailedError
from nightshift.remediation.inventory import serves
from nightshift.remediation.requests.traces import Span, Trace
from nightshift.remediation.text import printable

MOST_TRACES = 20
"""Of one answer, as many as its user interface shows."""
MOST_SPANS = 2000
"""Of one trace; the rest of a longer one is left out."""
_MOST_BYTES = 20_000_000
"""Of an answer."""
_MICRO = 1_000_000


class _Reference(BaseModel):
    refType: str = ""  # noqa: N815 - its name there
    spanID: str = ""  # noqa: N815 - its name there


class _Tag(BaseModel):
    key: str
    value: JsonValue = None


class _Span(BaseModel):
    spanID: str  # noqa: N815 - its name there
    operationName: str = ""  # noqa: N815 - its name there
    references: Sequence[_Reference] | None = ()
    startTime: int  # noqa: N815 - its name there
    duration: int
    tags: Sequence[_Tag] | None = ()
    processID: str = ""  # noqa: N815 - its name there


class _Process(BaseModel):
    serviceName: str = ""  # noqa: N815 - its name there


class _Trace(BaseModel):
    traceID: str  # noqa: N815 - its name there
    spans: Sequence[_Span] = ()
    processes: dict[str, _Process] | None = None


class _Answer(BaseModel):
    data: Sequence[_Trace] | None = ()


@serves("octollm.HighLatency: d5")
def slow_traces(
    name: str, connection: HttpConnection, service: str, *, at_least: float, start: float, end: float
) -> tuple[Trace, ...]:
    """At most :data:`MOST_TRACES` traces through a service that took long, the longest first.

    Args:
        name: of the connection.
        connection: to the query service of Jaeger.
        service: as it calls itself there.
        at_least: seconds.
        start: Unix time.
        end: Unix time.

    Raises:
        TargetUnreachableError: no answer in time, or the server is in trouble.
        AuthenticationError: the token is refused.
        CommandFailedError: the question is refused, or the answer is none of Jaeger, or a very long one.
    """
    return _found(name, connection, service, start, end, minDuration=f"{max(1, round(at_least * 1000))}ms")


def failed_traces(
    name: str, connection: HttpConnection, service: str, *, start: float, end: float
) -> tuple[Trace, ...]:
    """At most :data:`MOST_TRACES` traces through a service with a step that failed, the longest first.

    Args:
        name: of the connection.
        connection: to the query service of Jaeger.
        service: as it calls itself there.
        start: Unix time.
        end: Unix time.

    Raises:
        TargetUnreachableError, AuthenticationError, CommandFailedError: as :func:`slow_traces`.
    """
    return _found(name, connection, service, start, end, tags='{"error":"true"}')


def _found(
    name: str, connection: HttpConnection, service: str, start: float, end: float, **more: str
) -> tuple[Trace, ...]:
    asked = {
        "service": service,
        "start": str(int(start * _MICRO)),
        "end": str(int(end * _MICRO)),
        "limit": str(MOST_TRACES),
        **more,
    }
    content = bounded_http.get(name, connection, "api/traces", asked, most_bytes=_MOST_BYTES)
    try:
        answer = _Answer.model_validate_json(content)
    except ValidationError:
        said = printable(content[:200].decode(errors="replace"), 60)
        raise CommandFailedError(f"{name} does not answer as Jaeger: {said}") from None
    found = [Trace(id=trace.traceID, spans=tuple(_spans(trace))) for trace in (answer.data or ())[:MOST_TRACES]]
    return tuple(sorted((trace for trace in found if trace.spans), key=lambda trace: -trace.seconds))


def _spans(trace: _Trace) -> Iterator[Span]:
    processes = trace.processes or {}
    for span in trace.spans[:MOST_SPANS]:
        parent = next((one.spanID for one in span.references or () if one.refType == "CHILD_OF"), "")
        process = processes.get(span.processID)
        yield Span(
            id=span.spanID,
            parent=parent,
            service=process.serviceName if process is not None else "",
            operation=span.operationName,
            start=span.startTime / _MICRO,
            seconds=max(0, span.duration) / _MICRO,
            tags={tag.key: _text(tag.value) for tag in span.tags or ()},
        )


def _text(value: JsonValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
