"""A picture of backup sizes over time, as block characters for Markdown and terminals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from nightshift.remediation.backups.facts import DumpFact
from nightshift.remediation.models import format_bytes

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def sizes_chart(dumps: Sequence[DumpFact], usual: int | None) -> str:
    """One line per backup, oldest first: day, bar, size; the usual size below. Fixed-width text."""
    if not dumps:
        return "No backups for a picture."
    largest = max(dump.file.size for dump in dumps) or 1
    lines = [f"{_day(dump)} {_bar(dump.file.size / largest)} {format_bytes(dump.file.size)}" for dump in dumps[::-1]]
    return "\n".join([*lines, f"usual: {format_bytes(usual)}" if usual else "usual: too few backups to say"])


def _bar(share: float) -> str:
    eighths = round(share * 20 * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(20)


def _day(dump: DumpFact) -> str:
    return datetime.fromtimestamp(dump.file.modified_ns / 1e9, UTC).strftime("%m-%d %H:%M")
