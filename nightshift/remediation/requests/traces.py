"""Where the time of slow requests went: the slowest spans, and calls that repeat within one request (N+1). Pure.

Follows octollm.HighLatency.d5, d8, r1.1, r4.1 and r5.1. A span counts with its own time: what its children took is
theirs, so that the entry of a request, which lasts longest, hides nobody.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

REPEATED = 10
"""Calls of one kind beneath one span that make the pattern; a page of ten rows is read with one or two."""
_MOST_SHOWN = 5


class Part(StrEnum):
    """What a span waits for."""

    DATABASE = "database"
    CACHE = "cache"
    LLM = "LLM"
    SERVICE = "called service"
    ITSELF = "the service itself"


@dataclass(frozen=True, kw_only=True)
class Span:
    """One step of a request; its texts are hostile."""

    id: str
    parent: str
    """Id of the span that called it; empty: none in this trace."""
    service: str
    operation: str
    start: float
    """Unix time, seconds."""
    seconds: float
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def part(self) -> Part:
        """By the tags of OpenTelemetry and OpenTracing."""
        system = (self.tags.get("db.system") or self.tags.get("db.system.name") or self.tags.get("db.type", "")).lower()
        if system in ("redis", "memcached", "valkey"):
            return Part.CACHE
        if system or "db.statement" in self.tags or "db.query.text" in self.tags:
            return Part.DATABASE
        if any(tag.startswith(("gen_ai.", "llm.")) for tag in self.tags):
            return Part.LLM
        return Part.SERVICE if self.tags.get("span.kind") == "client" else Part.ITSELF

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return self.tags.get("error", "").lower() == "true" or self.tags.get("otel.status_code") == "ERROR"

    @property
    def whom(self) -> str:
        """What it calls: the peer by its name, or the statement, or else its own name; hostile text."""
        named = ("peer.service", "server.address", "net.peer.name", "http.host")
        statement = self.tags.get("db.statement") or self.tags.get("db.query.text")
        peer = next((self.tags[tag] for tag in named if self.tags.get(tag)), "")
        return statement or (f"{self.operation} of {peer}" if peer else self.operation)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One request with its steps."""

    id: str
    spans: Sequence[Span] = ()

    @property
    def seconds(self) -> float:
        """From its first moment to its last."""
        begin = min((span.start for span in self.spans), default=0.0)
        return max((span.start + span.seconds for span in self.spans), default=0.0) - begin


@dataclass(frozen=True, kw_only=True)
class SlowCall:
    """Spans of the same kind over all traces looked at."""

    part: Part
    service: str
    """That makes the call."""
    whom: str
    traces: int
    """In so many of the traces."""
    calls: int
    seconds: float
    """Their own time, all together."""
    share: float
    """Of the time of all traces, 0 to 1."""
    failed: int = 0


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """One call that is made again and again beneath one span."""

    trace: str
    """Id of a trace that shows it best."""
    part: Part
    service: str
    whom: str
    calls: int
    """In that trace."""
    traces: int
    """That show it."""
    seconds: float
    """In that trace, all calls together."""


def slowest_calls(traces: Iterable[Trace]) -> tuple[SlowCall, ...]:
    """What took the time of these requests, most first: their own time by service, part and callee."""
    own: dict[tuple[Part, str, str], float] = defaultdict(float)
    calls, failed, total = Counter[tuple[Part, str, str]](), Counter[tuple[Part, str, str]](), 0.0
    where: dict[tuple[Part, str, str], set[str]] = defaultdict(set)
    for trace in traces:
        total += trace.seconds
        for span, seconds in _own_times(trace):
            key = (span.part, span.service, span.whom)
            own[key] += seconds
            calls[key] += 1
            failed[key] += span.failed
            where[key].add(trace.id)
    found = (
        SlowCall(
            part=key[0],
            service=key[1],
            whom=key[2],
            traces=len(where[key]),
            calls=calls[key],
            seconds=seconds,
            share=min(1.0, seconds / total) if total > 0 else 0.0,
            failed=failed[key],
        )
        for key, seconds in own.items()
    )
    return tuple(sorted(found, key=lambda one: (-one.seconds, one.service, one.whom))[:_MOST_SHOWN])


def repeated_calls(traces: Iterable[Trace], at_least: int = REPEATED) -> tuple[Repeated, ...]:
    """Calls that one span makes again and again where one would do (N+1), the most often repeated first.

    Args:
        traces: as read.
        at_least: calls of one kind beneath one span.
    """
    best: dict[tuple[Part, str, str], Repeated] = {}
    for trace in traces:
        beneath: dict[tuple[str, Part, str, str], list[Span]] = defaultdict(list)
        for span in trace.spans:
            if span.part in (Part.DATABASE, Part.CACHE, Part.SERVICE):
                beneath[span.parent, span.part, span.service, span.whom].append(span)
        seen = set()
        for (_, part, service, whom), spans in beneath.items():
            if len(spans) < at_least or not spans[0].parent:
                continue
            key, before = (part, service, whom), best.get((part, service, whom))
            one = Repeated(
                trace=trace.id,
                part=part,
                service=service,
                whom=whom,
                calls=len(spans),
                traces=(before.traces if before else 0) + (key not in seen),
                seconds=_covered((span.start, span.start + span.seconds) for span in spans),
            )
            seen.add(key)
            best[key] = one if before is None or one.calls > before.calls else _counted(before, one.traces)
    return tuple(sorted(best.values(), key=lambda one: (-one.calls, one.whom))[:_MOST_SHOWN])


def time_in(part: Part, calls: Iterable[SlowCall]) -> float:
    """The share of the time that these calls of one part took, 0 to 1."""
    return min(1.0, sum(one.share for one in calls if one.part is part))


def _counted(repeated: Repeated, traces: int) -> Repeated:
    return Repeated(**{**repeated.__dict__, "traces": traces})


def _own_times(trace: Trace) -> Iterator[tuple[Span, float]]:
    """Each span with the seconds in which none of its children ran."""
    children: dict[str, list[Span]] = defaultdict(list)
    for span in trace.spans:
        if span.parent != span.id:
            children[span.parent].append(span)
    for span in trace.spans:
        begin, end = span.start, span.start + span.seconds
        taken = _covered((max(begin, c.start), min(end, c.start + c.seconds)) for c in children[span.id])
        yield span, max(0.0, span.seconds - taken)


def _covered(times: Iterable[tuple[float, float]]) -> float:
    """Seconds that at least one of these spans of time covers."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(times):
        if end > reached:
            total += end - max(begin, reached)
            reached = end
    return total
