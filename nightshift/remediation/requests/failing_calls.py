"""Where the errors of failing requests come from, by their traces: the deepest steps that failed. Pure.

Follows octollm.HighErrorRate.d5 and r3.1: a step whose own callee failed only passes the error on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from nightshift.remediation.requests.traces import Part, Trace
from nightshift.remediation.text import printable

_MOST_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class FailingCall:
    """Steps of one kind that failed by themselves."""

    service: str
    """In whose step; hostile, as is the next."""
    whom: str
    part: Part
    count: int
    """Of the requests looked at, in so many."""
    seconds: float
    """That such a step took, the middle one."""

    @property
    def words(self) -> str:
        """For people."""
        where = f"{printable(self.service, 60)}: {printable(self.whom, 120)} ({self.part})"
        return f"{where}, in {self.count} of the failed requests, after {self.seconds:.3g} s"


def failing_calls(traces: Iterable[Trace]) -> tuple[FailingCall, ...]:
    """Where the errors began, most requests first; each request counts once for each kind."""
    counts: Counter[tuple[str, str, Part]] = Counter()
    took: dict[tuple[str, str, Part], list[float]] = {}
    for trace in traces:
        passing = {span.parent for span in trace.spans if span.failed}
        began = {}
        for span in trace.spans:
            if span.failed and span.id not in passing:
                began[span.service, span.whom, span.part] = span
        for key, span in began.items():
            counts[key] += 1
            took.setdefault(key, []).append(span.seconds)
    return tuple(
        FailingCall(service=key[0], whom=key[1], part=key[2], count=count, seconds=median(took[key]))
        for key, count in counts.most_common(_MOST_SHOWN)
    )


def failing_elsewhere(calls: Sequence[FailingCall], name: str) -> FailingCall | None:
    """The most frequent one in another service, where most errors begin there; None: they do not."""
    every = sum(call.count for call in calls)
    others = [call for call in calls if call.service and call.service != name]
    return others[0] if others and 2 * sum(call.count for call in others) > every else None
