"""The whole fault matrix, in parts of similar length, and how it is played: many schedules at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab.ward.bugs import BUGS
from lab.ward.observer import Count
from lab.ward.play import Lab, Play, pace_of
from lab.ward.schedule import (
    Faulty,
    Schedule,
    briefly_frozen,
    killed_and_frozen,
    killed_and_frozen_in_turn,
    lied_to,
    overtaken,
    taken_back,
    taken_back_otherwise,
)

PARTS: dict[str, Callable[[], Iterable[Schedule]]] = {
    "killed": lambda: killed_and_frozen(Faulty.KILL),
    "frozen": lambda: killed_and_frozen(Faulty.FREEZE),
    "briefly frozen": briefly_frozen,
    "lied to": lied_to,
    "overtaken": overtaken,
    "taken back, killed": lambda: taken_back(Faulty.KILL),
    "taken back, frozen": lambda: taken_back(Faulty.FREEZE),
    "taken back otherwise": taken_back_otherwise,
}
EVERY_DAY = PARTS | {
    "killed": lambda: killed_and_frozen_in_turn(Faulty.KILL),
    "frozen": lambda: killed_and_frozen_in_turn(Faulty.FREEZE),
}
"""What the tests play; ``bench/faults.py`` plays all."""
_PLAYS_OF_A_BUG = 3
_AT_A_TIME = 16
"""Schedules mostly wait for claims and leases to run out."""


@dataclass(frozen=True)
class Played:
    """A schedule, the bug that was sown in its runs, and what the observer counted."""

    schedule: Schedule
    bug: str | None
    count: Count

    def __str__(self) -> str:
        return f"[{self.schedule}] {'; '.join(self.count.words)}"


def play_all(lab: Lab, schedules: Iterable[Schedule], bug: str | None = None) -> list[Played]:
    """Play these, with a seeded bug or without."""
    return list(_play(lab, [(schedule, bug) for schedule in schedules]))


def play_bugs(lab: Lab) -> list[Played]:
    """Play each seeded bug with the schedules that must show it, up to three times: who is first is for the machine."""
    return list(_play(lab, [(schedule, name) for name, bug in BUGS.items() for schedule in bug.caught_by]))


def _play(lab: Lab, games: Sequence[tuple[Schedule, str | None]]) -> Iterator[Played]:
    def play(game: tuple[Schedule, str | None]) -> Played:
        schedule, bug = game
        pace = pace_of(lab)
        count = Play(lab, schedule, bug, pace).count()
        if count.too_slow:  # the machine became busy meanwhile; what never ends does not end then either
            count = Play(lab, schedule, bug, 4 * max(pace, pace_of(lab))).count()
        return Played(schedule, bug, count)

    def until_seen(game: tuple[Schedule, str | None]) -> Played:
        played = play(game)
        for _ in range(_PLAYS_OF_A_BUG - 1 if game[1] is not None else 0):
            if not (played.count.clean or played.count.too_slow):
                break
            played = play(game)
        return played

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        yield from pool.map(until_seen, games)


def missed(played: Sequence[Played]) -> list[str]:
    """Seeded bugs that one of their schedules did not show."""
    seen = [not (game.count.clean or game.count.too_slow) for game in played]
    return [
        f"{game.bug}: not seen by [{game.schedule}]" for game, is_seen in zip(played, seen, strict=True) if not is_seen
    ]


def told(what: str, played: Sequence[Played]) -> str:
    """How many schedules were played, for the summary of the tests."""
    wrong = sum(not game.count.clean for game in played)
    return f"{what}: {len(played)} schedules, {wrong} not clean"
