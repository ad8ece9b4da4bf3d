"""How far a server that starts up has come: its place in the log that it replays, over several looks. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.databases.down_signs import newest_place
from nightshift.remediation.durations import format_duration
from nightshift.remediation.text import printable

_STARTUP = re.compile(r"^postgres: (?:[^ ]+: )?startup\b\s*(.*)$")
"""The title that the server gives to the process that replays; a cluster's name may stand before it."""
BEGINNING = "its beginning"
"""There is such a process, and it has not said yet where it is."""


@dataclass(frozen=True)
class Place:
    """Where it was at one moment."""

    at: float
    where: str
    """Empty: it could not be told."""


@dataclass(frozen=True)
class Replay:
    """What several looks say together."""

    first: str
    last: str
    watched: float
    """Seconds from the first place to the last look."""
    stands: float
    """Seconds for which it has been at the last place."""

    @property
    def moves(self) -> bool:
        """Whether it got on while it was watched."""
        return self.first != self.last

    def __str__(self) -> str:
        here, still = printable(self.last, 120), f"for {format_duration(round(self.stands))}"
        if self.moves:
            got = f"it moved from {printable(self.first, 120)} to {here} in {format_duration(round(self.watched))}"
            return f"{got}, and is there {still}"
        return f"it stands at {here} {still}"

    def stuck(self, after: float) -> bool:
        """Whether it has stayed at one place for so long."""
        return not self.moves or self.stands >= after


def place_in(titles: Sequence[str], log: str) -> str:
    """Where it is, by the title of its process and by the newest place that its log names; empty: neither tells.

    Args:
        titles: of its processes; hostile text.
        log: its newest lines.
    """
    found = [match.group(1).strip() for title in titles if (match := _STARTUP.match(title.strip()))]
    place = " ".join(part for part in (*found[:1], newest_place(log)) if part)
    return printable(place or (BEGINNING if found else ""), 120)


def replay_of(places: Sequence[Place]) -> Replay | None:
    """How it got on; None where it was not seen twice."""
    seen = [one for one in places if one.where]
    if len(seen) < 2:
        return None
    # Between two files, and at its end, the title says no place.
    known = [one for one in seen if one.where != BEGINNING] or seen
    last = known[-1]
    since = last.at
    for one in reversed(known):
        if one.where != last.where:
            break
        since = one.at
    end = seen[-1].at
    return Replay(seen[0].where, last.where, end - seen[0].at, end - since)
