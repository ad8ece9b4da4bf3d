"""PostgreSQL killed with SIGKILL while runs stand at every step of the gate: one kill meets all, each at another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.arrests import Arrests, Standing
from lab.postgres import PostgresServer
from lab.ward.matrix import Played
from lab.ward.play import Lab, Play, pace_of
from lab.ward.schedule import Fault, Faulty, Schedule, Workers, standing_at_every_step

WITH_LEDGER_KILLED = (Workers.ALONE, Workers.TWICE, Workers.SAME)
"""Who works beside whom; one kill for each."""
_PACE = 5.0
"""Slow enough that nothing runs out while the last ones come to stand."""
_IN_TRANSACTION = {"in_intent": "before_intent", "in_outcome": "after_act"}
"""The server ends a transaction in which nothing is done after 4 seconds: where their runs wait for all others."""
_LONGEST_SECONDS = 300.0


def play_with_ledger_killed(lab: Lab, server: PostgresServer, workers: Workers) -> list[Played]:
    """Let runs come to stand, kill the ledger's server, start it again, and let everything go on.

    Raises:
        TimeoutError: a run did not come to its step.
    """
    pace = min(_PACE * pace_of(lab), 8)
    plays = [_Standing(schedule, lab, pace) for schedule in standing_at_every_step(workers)]
    for one in plays:
        one.play.open()
    _tend(plays, lambda: all(one.stands for one in plays))
    _all_stand(plays)
    for step in _IN_TRANSACTION:
        late = next(one for one in plays if one.step == step)
        late.go_on_to(step)
        _wait_for(late)
    _all_stand(plays)
    for one in plays:
        one.play.has_stood = True
    server.kill()
    server.start()
    _tend(plays, lambda: all(one.play.over for one in plays), let_go=True)
    return [Played(one.schedule, None, one.play.close()) for one in plays]


@dataclass
class _Standing:
    """A schedule one of whose runs comes to stand."""

    schedule: Schedule
    lab: Lab
    pace: float
    run: Standing | None = None

    def __post_init__(self) -> None:
        self.fault = self.schedule.faults[-1]
        self.arrests = Arrests(self.lab.runs.folder)
        place = Fault(_IN_TRANSACTION.get(self.step, self.step), Faulty.STAND, attempt=self.fault.attempt)
        playing = Schedule(self.schedule.workers, (*self.schedule.faults[:-1], place), asked=self.schedule.asked)
        self.play = Play(self.lab, playing, None, self.pace)
        self.point = place.point

    @property
    def step(self) -> str:
        """Where it stands when the server is killed."""
        return self.fault.point

    @property
    def stands(self) -> bool:
        """Whether it has come to where it was sent."""
        standing = (Standing(self.point, pid) for pid in self.play.pids)
        self.run = next((one for one in standing if self.arrests.has_come(one)), None)
        return self.run is not None

    def go_on_to(self, point: str) -> None:
        """Let it go on to another point."""
        if self.run is not None:
            self.point = self.arrests.move(self.run, point).point

    def let_go(self) -> None:
        """Let it go on for good, and whoever came to stand in its place meanwhile."""
        for pid in self.play.pids:
            self.arrests.release(Standing(self.point, pid))


def _tend(plays: list[_Standing], enough: Callable[[], bool], *, let_go: bool = False) -> None:
    give_up_at = time.monotonic() + _LONGEST_SECONDS
    while not enough() and time.monotonic() < give_up_at:
        for one in plays:
            one.play.tend()
            if let_go:
                one.let_go()
        time.sleep(0.05)


def _wait_for(late: _Standing) -> None:
    give_up_at = time.monotonic() + _LONGEST_SECONDS
    while not late.stands and time.monotonic() < give_up_at:
        time.sleep(0.01)


def _all_stand(plays: list[_Standing]) -> None:
    if missing := [str(one.schedule) for one in plays if not one.stands]:
        raise TimeoutError(f"not where they were to stand: {missing}")
