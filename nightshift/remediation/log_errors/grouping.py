"""Errors in a log of a Python program, each counted once, by what they are about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Cause(StrEnum):
    """What an error is about, in words that end "errors about" well."""

    FULL = "a disk that is full or read-only"
    FILES = "files or their permissions"
    IMPORTS = "modules that cannot be imported"
    TESTS = "tests that fail"
    OTHER = "something else"


_SIGNS = (
    (Cause.FULL, re.compile(r"No space left|Read-only file system|Disk quota exceeded|Errno (?:28|30|122)\b")),
    (Cause.IMPORTS, re.compile(r"ImportError|ModuleNotFoundError|No module named|cannot import name|DistributionNotF")),
    (
        Cause.FILES,
        re.compile(
            r"PermissionError|Permission denied|FileNotFoundError|No such file|IsADirectoryError|NotADirectoryError"
            r"|Too many open files|FileExistsError"
        ),
    ),
    (Cause.TESTS, re.compile(r"AssertionError|\btests?(?: run)? failed\b|\bFAILED\b|\b\d+ failed\b", re.IGNORECASE)),
)
_LEVEL = re.compile(r"\b(?:ERROR|CRITICAL|FATAL)\b")
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Warning|NotFound)\b")
_TRACEBACK = "Traceback (most recent call last)"
_WHEN = re.compile(r"\[?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)")
_DIFFERENT = re.compile(r"0x[0-9a-fA-F]+|'[^']*'|\"[^\"]*\"|(?:/[\w.~-]+)+|\d+")
_LONGEST = 120


@dataclass(frozen=True, kw_only=True)
class LogError:
    """Errors of one sort."""

    cause: Cause
    what: str
    """What they have in common; hostile text."""
    count: int
    example: str
    """The newest; hostile text."""


def errors_in(lines: Sequence[str], *, look_back: float, log_age: float | None) -> tuple[LogError, ...]:
    """The errors of the last while, most frequent first; an entry with a traceback counts once, by its exception.

    The clock of the log needs no time zone: its last line was written when the file was.

    Args:
        lines: of the log, oldest first.
        look_back: seconds; where lines have no time, all of them count.
        log_age: seconds since the log was written; None: not known.
    """
    count: Counter[tuple[Cause, str]] = Counter()
    example: dict[tuple[Cause, str], str] = {}
    for entry in _entries(_recent(lines, look_back - (log_age or 0.0))):
        cause = next((one for one, sign in _SIGNS if sign.search(entry)), Cause.OTHER)
        key = cause, _DIFFERENT.sub("…", entry)[:_LONGEST]
        count[key] += 1
        example[key] = entry
    return tuple(
        LogError(cause=cause, what=what, count=many, example=example[cause, what])
        for (cause, what), many in count.most_common()
    )


def main_cause(errors: Iterable[LogError]) -> Cause | None:
    """What most errors are about; None: there are none."""
    by_cause: Counter[Cause] = Counter()
    for one in errors:
        by_cause[one.cause] += one.count
    return by_cause.most_common(1)[0][0] if by_cause else None


def _recent(lines: Sequence[str], seconds: float) -> Sequence[str]:
    """The lines of so many seconds before the last one that has a time; what has none belongs to the one before."""
    times = [_time_of(line) for line in lines]
    known = [time for time in times if time is not None]
    if not known:
        return lines if seconds > 0 else ()
    oldest = known[-1].timestamp() - seconds
    for number, time in enumerate(times):
        if time is not None and time.timestamp() >= oldest:
            return lines[number:]
    return ()


def _time_of(line: str) -> datetime | None:
    found = _WHEN.match(line)
    try:
        return datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00") if found is not None else None
    except ValueError:
        return None


def _entries(lines: Iterable[str]) -> Iterator[str]:
    """The one line that tells most of each error: of a traceback its exception, else the line itself."""
    waiting, inside = "", False
    for line in lines:
        if inside and _EXCEPTION.match(line):
            yield line.strip()
            waiting, inside = "", False
        elif _TRACEBACK in line:
            inside = True
        elif _LEVEL.search(line):
            if waiting:
                yield waiting
            waiting, inside = _message(line), False
        elif _WHEN.match(line) and waiting:
            yield waiting
            waiting, inside = "", False
    if waiting:
        yield waiting


def _message(line: str) -> str:
    """A line without what stands before its level, which differs from line to line."""
    found = _LEVEL.search(line)
    return line[found.start() :].strip() if found is not None else line.strip()
