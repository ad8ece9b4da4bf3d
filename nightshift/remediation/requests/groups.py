"""Lines of a log that tell of errors, grouped by what they say, the most frequent first. Pure; the log is hostile text.

Operation ``logs.error_groups``: bybit_strategy_tester.HighErrorRate.d2 without its hazard (it groups by the last word
of the line), octollm.HighErrorRate.d4 without its (a literal search for ``5xx``, which no line has).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import shown

MOST_LINES = 5000
"""Lines that are looked at, the newest."""
_MOST_LINE = 1000
_MOST_GROUPS = 200
_MOST_PATTERN = 160


class Meaning(StrEnum):
    """What a group of errors is about, the more telling first."""

    POOL = "a connection pool without a free connection"
    MIGRATION = "a table or column that is not there"
    DISK = "a full disk"
    MEMORY = "no memory"
    RATE_LIMITED = "too many requests to somebody else (429)"
    UNAUTHORISED = "requests that are not authorised (401)"
    CACHE = "Redis"
    DATABASE = "the database"
    TIMEOUT = "something that did not answer in time"
    OTHER = "other errors"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Errors that say the same."""

    meaning: Meaning
    pattern: str
    """What they have in common, numbers and names left out; printable."""
    example: str
    """The newest of them, credentials masked; printable."""
    count: int


_MEANS = {
    Meaning.POOL: (
        r"QueuePool limit|(connection )?pool (is )?(exhausted|timed? ?out)|remaining connection slots"
        r"|too many (clients|connections)|PoolTimeout|unable to acquire (a )?connection|no more connections allowed"
    ),
    Meaning.MIGRATION: (
        r"UndefinedColumn|UndefinedTable|(column|relation|table) \S{1,80} (does not exist|doesn't exist)"
        r"|no such (table|column)"
    ),
    Meaning.DISK: r"No space left on device|ENOSPC|disk quota exceeded|could not extend file",
    Meaning.MEMORY: r"\bMemoryError\b|OutOfMemory|out of memory|Cannot allocate memory|heap out of memory",
    Meaning.RATE_LIMITED: r"\b429\b|too many requests|rate.?limit(ed|s)?( exceeded)?|RateLimitError|quota exceeded",
    Meaning.UNAUTHORISED: r"\b401\b|unauthori[sz]ed|(jwt|token|signature) (has )?expired|ExpiredSignature",
    Meaning.CACHE: (
        r"\bredis\b.{0,120}(error|timeout|timed out|refused|unavailable|reset)|LOADING Redis|MISCONF|\bOOM command"
    ),
    Meaning.DATABASE: (
        r"(psycopg\d?|asyncpg|sqlalchemy|postgres\w*|database|pgx|\bpq:).{0,160}"
        r"(error|timeout|timed out|refused|fail|closed|lost)"
        r"|OperationalError|could not connect to server|deadlock detected|canceling statement|DatabaseError"
    ),
    Meaning.TIMEOUT: (
        r"time[d ]?-?\s?out|deadline exceeded|context canceled|ETIMEDOUT|connection (refused|reset)|\b504\b"
    ),
}
_PATTERNS = {meaning: re.compile(words, re.IGNORECASE) for meaning, words in _MEANS.items()}
_TELLS = re.compile(
    r"\b(error|fatal|critical|panic|severe|emerg)\b|\b\w{0,60}(Error|Exception)\b\s*[:(]?|Traceback"
    r"|\"?status\"?[=: ]+5\d\d\b|\bHTTP/\d(\.\d)?\" 5\d\d\b|\blevel=(error|fatal)\b|\.errors\.[A-Z]\w{2,60}:",
    re.IGNORECASE,
)
_LEVEL_KEYS, _TEXT_KEYS = ("level", "severity", "levelname", "lvl"), ("message", "msg", "error", "err", "event")
_MORE_KEYS = ("status", "status_code", "endpoint", "path", "url", "exception")
_BAD_LEVELS = frozenset(("error", "fatal", "critical", "panic", "severe", "emergency", "alert", "err", "50", "60"))
_MOMENT = re.compile(r"^\S{0,3}\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d\S{0,40}\s*(\+\d{4}\s)?")
_SAME = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "…"),
    (re.compile(r"\b0x[0-9a-f]{1,16}\b|\b(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b", re.IGNORECASE), "…"),
    (re.compile(r"\"[^\"]{0,300}\"|'[^']{0,300}'"), "'…'"),
    (re.compile(r"\d{1,40}(\.\d{1,40}){0,4}"), "#"),
    (re.compile(r"\s{1,1000}"), " "),
)


@serves("bybit_strategy_tester.HighErrorRate: d2")
def group_errors(lines: Iterable[str], most: int = 8) -> tuple[Group, ...]:
    """The groups with most lines first.

    Args:
        lines: of a log, oldest first; plain, or one JSON object each.
        most: groups.
    """
    counts: Counter[tuple[Meaning, str]] = Counter()
    newest: dict[tuple[Meaning, str], str] = {}
    for line in list(lines)[-MOST_LINES:]:
        said = _error_in(_without_moment(line[:_MOST_LINE]))
        if not said:
            continue
        key = meaning_of(said), _pattern(said)
        if key not in counts and len(counts) >= _MOST_GROUPS:
            key = key[0], "…"
        counts[key] += 1
        newest[key] = said
    return tuple(
        Group(meaning=key[0], pattern=shown(key[1], _MOST_PATTERN), example=shown(newest[key], 300), count=count)
        for key, count in counts.most_common(most)
    )


def meaning_of(said: str) -> Meaning:
    """What one error is about."""
    return next((meaning for meaning, pattern in _PATTERNS.items() if pattern.search(said)), Meaning.OTHER)


def dominant(groups: Sequence[Group], least: float = 0.5) -> Meaning | None:
    """What most of the errors are about; None: nothing is named by so large a share of them, or there are none."""
    every = sum(group.count for group in groups)
    shares: Counter[Meaning] = Counter()
    for group in groups:
        shares[group.meaning] += group.count
    named = [(meaning, count) for meaning, count in shares.most_common() if meaning is not Meaning.OTHER]
    return named[0][0] if named and named[0][1] >= least * every else None


def of_meaning(groups: Sequence[Group], meaning: Meaning) -> Group | None:
    """The most frequent group about this."""
    return next((group for group in groups if group.meaning is meaning), None)


def _error_in(line: str) -> str:
    """What a line says, where it tells of an error; empty: it does not."""
    line = line.strip()
    if line.startswith("{"):
        said = _of_json(line)
        if said is not None:
            return said
    return line if _TELLS.search(line) and not line.startswith(("File ", "Traceback")) else ""


def _of_json(line: str) -> str | None:
    """None: it is no JSON object that tells of itself."""
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    level = next((str(found[key]).lower() for key in _LEVEL_KEYS if key in found), "")
    status = next((found[key] for key in ("status", "status_code") if key in found), None)
    failed = str(status).isdecimal() and len(str(status)) == 3 and str(status) >= "500"
    parts = [str(found[key])[:300] for key in _TEXT_KEYS if isinstance(found.get(key), str)]
    more = [f"{key}={found[key]}"[:200] for key in _MORE_KEYS if isinstance(found.get(key), str | int)]
    said = " ".join([*dict.fromkeys(parts), *more]).strip()
    if level in _BAD_LEVELS or failed:
        return said or line
    return "" if level else None


def _without_moment(line: str) -> str:
    """The line without the moment that the platform, and often the program, writes before it."""
    for _ in range(2):
        line = _MOMENT.sub("", line.lstrip(), count=1)
    return line


def _pattern(said: str) -> str:
    for pattern, instead in _SAME:
        said = pattern.sub(instead, said)
    return said[:_MOST_PATTERN]
