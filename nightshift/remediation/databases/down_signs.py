"""What the log of a PostgreSQL server says about why it does not run. Pure; the log is hostile text.

Follows bybit_strategy_tester.DatabaseDown.d2, d3, d5-d7 and the hazards beside them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from nightshift.remediation.inventory import serves
from nightshift.remediation.text import printable


class Sign(StrEnum):
    """What a line means, worst first."""

    CORRUPTION = "corruption"
    DISK_FULL = "disk full"
    PERMISSIONS = "wrong permissions"
    STALE_PID = "another server, or a stale pid file"
    CONFIGURATION = "configuration"
    MEMORY = "no memory"
    RECOVERING = "recovery"


_WORDS = {
    Sign.CORRUPTION: (
        r"invalid page|checksum|could not read block|unexpected data beyond EOF|invalid (primary )?checkpoint"
        r"|could not locate a valid checkpoint|incorrect checksum in control file|corrupt|missing chunk number"
        r"|control file .*(is|appears).*(invalid|corrupt)|invalid memory alloc request"
        r"|could not find WAL|incorrect resource manager|requested WAL segment .* removed"
        r"|database files are incompatible|could not open file \"global/|could not read file \"global/pg_control"
        r"|xlog flush request|replication checkpoint has wrong magic|could not open file .base/"
    ),
    Sign.DISK_FULL: r"no space left on device|disk quota exceeded|could not (write|extend) file.*space",
    Sign.PERMISSIONS: r"invalid permissions|has wrong ownership|could not (open|access|read) .*permission denied",
    Sign.STALE_PID: r"lock file .*(already exists|is empty)|pre-existing shared memory block|another postmaster",
    Sign.CONFIGURATION: r"configuration file .* contains errors|unrecognized configuration|invalid value for parameter",
    Sign.MEMORY: r"out of memory|could not map anonymous shared memory|cannot allocate memory|could not fork",
    Sign.RECOVERING: r"automatic recovery in progress|redo (starts|in progress)|not properly shut down|starting up",
}
_PATTERNS = {sign: re.compile(words, re.IGNORECASE) for sign, words in _WORDS.items()}
_SAID = re.compile(r"\b(FATAL|PANIC|ERROR|LOG|WARNING):")
_REPLAYED = re.compile(r"in progress, elapsed time: .*, current (?:LSN|file|path): ([^,\s]{1,100})")
_FATAL = re.compile(r"\b(FATAL|PANIC):")
_OF_A_START = (Sign.PERMISSIONS, Sign.STALE_PID, Sign.CONFIGURATION)
"""What counts only where it ended the server: as an error of a statement it is the application's daily life."""


@serves("bybit_strategy_tester.DatabaseDown: d6")
def signs_of(log: str) -> dict[Sign, str]:
    """The newest line for each sign, worst sign first; only what the server itself says, never a statement it quotes.

    It looks at the mode and the owner of its data directory at each start, so that its log tells them (d6) without a
    container to run in: that one has stopped.

    Args:
        log: the newest lines of the server, as it wrote them.
    """
    found: dict[Sign, str] = {}
    for line in log.splitlines():
        if not _SAID.search(line):
            continue
        for sign, pattern in _PATTERNS.items():
            if pattern.search(line) and (sign not in _OF_A_START or _FATAL.search(line)):
                found[sign] = printable(line.strip(), 300)
    return {sign: found[sign] for sign in Sign if sign in found}


def newest_place(log: str) -> str:
    """The newest place in its own log that the server says it has replayed to; empty: it says none."""
    found = [match.group(1) for line in log.splitlines() if _SAID.search(line) and (match := _REPLAYED.search(line))]
    return found[-1] if found else ""


def last_words(log: str, most: int = 6) -> Sequence[str]:
    """The newest lines in which the server says that something is severe."""
    severe = [line for line in log.splitlines() if _FATAL.search(line)]
    return [printable(line.strip(), 300) for line in severe[-most:]]
