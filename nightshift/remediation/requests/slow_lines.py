"""Lines of a log that tell how long something took, the longest first. Pure; the log is hostile text.

Follows cryptofunk.AgentHighLatency.d6 and trading_signals.HighAPILatency.d5 without their hazards: both streams, for a
bounded time, and no pattern that a log could break.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from nightshift.remediation.kubernetes.crash_diagnosis import shown

_MOST_LINE = 1000
_MOST_SHOWN = 5
_TOOK = re.compile(r"(?<![\w.])(\d{1,9}(?:\.\d{1,9})?) ?(ms|milliseconds?|s|sec|seconds?|us|µs)\b", re.IGNORECASE)
_NAMED_MS = re.compile(r"(?:latency|duration|elapsed|took)_?ms\W{1,4}(\d{1,9}(?:\.\d{1,9})?)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class SlowLine:
    """One line, printable, with the longest time that it names."""

    line: str
    seconds: float


def slow_lines(log: str, words: Iterable[str], at_least: float) -> tuple[SlowLine, ...]:
    """The slowest lines that have one of the words and name a time of at least so many seconds."""
    wanted = [word.lower() for word in words]
    found = []
    for line in log.splitlines():
        short = line[:_MOST_LINE]
        if any(word in short.lower() for word in wanted) and (seconds := longest_time(short)) >= at_least:
            found.append(SlowLine(line=shown(short), seconds=seconds))
    return tuple(sorted(found, key=lambda one: -one.seconds)[:_MOST_SHOWN])


def longest_time(line: str) -> float:
    """In seconds; 0 where it names none."""
    scale = {"m": 1e-3, "s": 1.0, "u": 1e-6, "µ": 1e-6}
    times = [float(number) * scale[unit[0].lower()] for number, unit in _TOOK.findall(line)]
    times += [float(number) / 1000 for number in _NAMED_MS.findall(line)]
    return max(times, default=0.0)
