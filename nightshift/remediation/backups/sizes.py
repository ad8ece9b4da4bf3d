"""Is the size of a backup plausible, beside those before it?"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from statistics import median

from nightshift.remediation.backups.facts import DumpFact
from nightshift.remediation.backups.policy import BackupSet

ENOUGH = 3
"""Of fewer earlier backups nothing is concluded."""
ROOM = 1.5
"""How much more than usual a new backup may take."""


class Size(StrEnum):
    """What a size says."""

    USUAL = "usual"
    SHRUNK = "shrunk"
    GROWN = "grown"
    UNKNOWN = "unknown"
    """There are too few earlier ones."""


def usual_size(dumps: Sequence[DumpFact], rule: BackupSet) -> int | None:
    """Median of the backups before the newest, in bytes; None when there are too few.

    A median, because one broken backup of the last week must not move what is usual.
    """
    earlier = [dump.file.size for dump in dumps[1 : 1 + rule.usual_of] if dump.file.size > 0]
    return round(median(earlier)) if len(earlier) >= ENOUGH else None


def size_of_newest(dumps: Sequence[DumpFact], rule: BackupSet) -> Size:
    """The newest backup beside the usual size (for BackupSizeAnomaly, of which the document says nothing)."""
    usual = usual_size(dumps, rule)
    if usual is None:
        return Size.UNKNOWN
    share = dumps[0].file.size / usual
    if share < rule.shrinks_to:
        return Size.SHRUNK
    return Size.GROWN if share > rule.grows_to else Size.USUAL


def room_needed(dumps: Sequence[DumpFact], database_bytes: int) -> int:
    """Bytes that must be free before another backup is begun: half more than the largest one.

    Without any, the size of the database itself, which a dump with its compression hardly exceeds.
    """
    largest = max((dump.file.size for dump in dumps), default=0)
    return round(largest * ROOM) if largest else database_bytes


def growing_pauses(first: float, times: int) -> tuple[float, ...]:
    """Seconds to wait before each further try; each twice the one before."""
    return tuple(first * 2**number for number in range(times))
