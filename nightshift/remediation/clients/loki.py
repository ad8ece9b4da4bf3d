"""Loki: the newest lines of a service's log in a span of time, over its HTTP API; nothing is changed.

Operation ``loki.query`` of octollm.HighErrorRate.d4. Names that come from an alert become values of label matchers,
quoted and escaped, so that none can widen the selector. The document's filter ``|= "5xx"`` looks for these three
characters, which no line has: here the lines are read and told apart afterwards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, JsonValue, ValidationError

from nightshift.remediation.clients import bounded_http
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import CommandFailedError
from nightshift.remediation.text import printable

MOST_LINES = 5000
"""Of one answer; Loki's own limit, unless somebody raised it."""
MOST_SECONDS = 6 * 3600.0
"""One question looks back no further."""
_MOST_BYTES = 20_000_000
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}")
_NANO = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line; hostile text."""

    at: float
    """Unix time."""
    text: str


class _Stream(BaseModel):
    values: Sequence[Sequence[JsonValue]] = ()
    """Time in nanoseconds, line, and with newer servers what else is known about it."""


class _Streams(BaseModel):
    resultType: str  # noqa: N815 - its name there
    result: Sequence[_Stream] = ()


class _Answer(BaseModel):
    data: _Streams


def stream_selector(labels: Mapping[str, str]) -> str:
    """The selector of the streams that have all of these labels, exactly.

    Raises:
        ValueError: no label, one without a value, which would match every stream, or a name that is none.
    """
    if not labels or not all(labels.values()):
        raise ValueError("name at least one label of the streams, each with a value")
    for name in labels:
        if not _LABEL.fullmatch(name):
            raise ValueError(f"{printable(name, 60)} is no name of a label")
    return "{" + ",".join(f"{name}={_quoted(value)}" for name, value in sorted(labels.items())) + "}"


def _quoted(value: str) -> str:
    """As LogQL's strings, which are those of Go: escaped wherever a character could end or change the string."""
    return '"' + "".join(_escaped(character) for character in value) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    if character in ('"', "\\"):
        return f"\\{character}"
    if 0xD800 <= code <= 0xDFFF:
        return "\\ufffd"  # half a character, which no string of Go can have
    if character.isprintable():
        return character
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def newest_lines(
    name: str, connection: HttpConnection, labels: Mapping[str, str], *, start: float, end: float, most: int = 1000
) -> tuple[LogLine, ...]:
    """The newest lines of all streams with these labels, oldest first.

    Args:
        name: of the connection.
        connection: to Loki.
        labels: of the streams.
        start: Unix time; no more than :data:`MOST_SECONDS` before the end are looked at.
        end: Unix time.
        most: lines, at most :data:`MOST_LINES`.

    Raises:
        ValueError: as :func:`stream_selector`.
        TargetUnreachableError: no answer in time, or the server is in trouble.
        AuthenticationError: the token is refused.
        CommandFailedError: the query is refused, or the answer is none of Loki, or a very long one.
    """
    most = max(1, min(most, MOST_LINES))
    asked = {
        "query": stream_selector(labels),
        "start": str(math.floor(max(start, end - MOST_SECONDS) * _NANO)),
        "end": str(math.ceil(end * _NANO)),
        "limit": str(most),
        "direction": "backward",
    }
    content = bounded_http.get(name, connection, "loki/api/v1/query_range", asked, most_bytes=_MOST_BYTES)
    try:
        answer = _Answer.model_validate_json(content).data
        if answer.resultType != "streams":
            raise ValueError(answer.resultType)
        found = [line for stream in answer.result for line in map(_line, stream.values)]
    except (ValidationError, ValueError, IndexError):
        said = printable(content[:200].decode(errors="replace"), 60)
        raise CommandFailedError(f"{name} does not answer as Loki: {said}") from None
    return tuple(sorted(found, key=lambda line: line.at)[-most:])


def _line(value: Sequence[JsonValue]) -> LogLine:
    return LogLine(at=int(str(value[0])) / _NANO, text=str(value[1]))
