"""Rounds: flow runs stand at every step of the gate, one service is killed, and everything goes on.

One kill meets all runs at once, each at another step. Beside them a plan waits for its approval, and an alert was
accepted a moment before.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import psutil

from lab.arrests import Standing
from lab.services.night import Night
from lab.services.shop import ALONE, ASKS, TWIN, Count
from lab.ward.schedule import ASKING, POINTS, SETTLING

FLOW, EVERYTHING = "flow processes", "everything at once"
SERVICES = (FLOW, "postgresql", EVERYTHING, "worker", "prefect-server", "gateway")
STEPS = (*POINTS, *SETTLING, *ASKING)
DISKS = len(STEPS) + 2
"""What a round needs."""
_GATHERED = "before_lease"
"""Where runs wait for each other: their claim lives on, and no lease runs out."""
_IN_TRANSACTION = {"in_intent": "before_intent", "in_outcome": "after_act"}
"""The server ends a transaction in which nothing is done after 4 seconds: where their runs wait for all others."""
_EARLY = ("before_claim", "after_claim")
"""Here nobody renews the claim: their runs come last."""


@dataclass(frozen=True)
class Round:
    """What became of one round."""

    service: str
    workers: int
    steps: tuple[str, ...]
    """At which runs stood when the service was killed."""
    counts: tuple[Count, ...]
    wrong_ends: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """Everything that was wrong."""
        return [*(word for count in self.counts for word in count.words), *self.wrong_ends]


def steps_for_every_day(service: str) -> tuple[str, ...]:
    """About half of the steps, so that each is met by half of the services; those in a transaction by all of them."""
    first = SERVICES.index(service) % 2
    return tuple(step for number, step in enumerate(STEPS) if number % 2 == first or step in _IN_TRANSACTION)


def play(night: Night, service: str, *, workers: int, steps: Sequence[str] = STEPS) -> Round:
    """Play one round.

    Args:
        night: where.
        service: what is killed.
        workers: 2: a second worker, every event twice, and another runbook for each disk.
        steps: at which of them a run stands.
    """
    with ExitStack() as stack:
        if workers > 1:
            stack.enter_context(night.installation.second_worker())
        standing = _Standing(night, steps)
        standing.gather(twice=workers > 1)
        come_to = standing.come_to_their_steps()
        night.remember(standing.runs)
        night.deliver([standing.taken])
        _kill(night, service, standing.runs)
        for run in standing.runs:
            night.arrests.release(run)
        night.installation.up()
        night.learn_number(standing.taken, standing.taken.alert)
        night.finish(standing.cases)
    counts = tuple(night.count(case) for case in standing.cases)
    wrong = tuple(word for case in standing.cases for word in night.wrong_ends(case))
    return Round(service, workers, come_to, counts, wrong)


class _Standing:
    """Runs that come to stand, each at a step of its own."""

    def __init__(self, night: Night, steps: Sequence[str]) -> None:
        self._night = night
        self.cases = night.cases([*(ASKS if step in ASKING else ALONE for step in steps), ASKS, ALONE])
        *cases, self._waiting, self.taken = self.cases
        """Besides the steps': a plan that waits for its approval, and an alert that comes a moment before."""
        self._at = dict(zip(steps, cases, strict=True))
        self._contested = [case for step, case in self._at.items() if step in POINTS and step not in _EARLY]
        self._stand: dict[str, Standing] = {}
        self._rivals: list[Standing] = []

    @property
    def runs(self) -> list[Standing]:
        """All that stand, those of the other runbook included."""
        return [*self._stand.values(), *self._rivals]

    def gather(self, *, twice: bool) -> None:
        """Let the runs begin, and wait for each other."""
        night, first = self._night, [case for step, case in self._at.items() if step not in _EARLY]
        with night.arrests.everybody(_GATHERED):
            night.report([*first, self._waiting])
            if twice:
                night.start_again(first)
                night.report(self._contested, TWIN)
            gathered = night.standing([*first, self._waiting], _GATHERED)
            if twice:
                self._rivals = list(night.standing(self._contested, _GATHERED, TWIN).values())
        night.arrests.release(gathered[self._waiting])
        self._stand = {step: gathered[case] for step, case in self._at.items() if case in gathered}
        self._leave_unsettled([step for step in SETTLING if step in self._at])

    def _leave_unsettled(self, steps: Sequence[str]) -> None:
        """Kill the runs of these in the middle, so that the next ones stand before they look what became of it."""
        night, cases = self._night, [self._at[step] for step in steps]
        killed = [night.arrests.move(self._stand[step], "after_act") for step in steps]
        night.wait_for(killed)
        night.remember(killed)
        _kill(night, FLOW, killed)
        with night.arrests.everybody("before_observation"):
            again = night.standing(cases, "before_observation")
        self._stand |= {step: again[self._at[step]] for step in steps}

    def come_to_their_steps(self) -> tuple[str, ...]:
        """Let each run go on to its step; those last that cannot stand for long."""
        night, move = self._night, self._night.arrests.move
        self._stand = {step: move(run, _IN_TRANSACTION.get(step, step)) for step, run in self._stand.items()}
        night.wait_for(list(self._stand.values()))
        night.wait_until_asked(self._waiting)
        for step in (step for step in _EARLY if step in self._at):
            self._stand[step] = self._early(step)
        for step in (step for step in _IN_TRANSACTION if step in self._at):
            self._stand[step] = move(self._stand[step], step)
            night.wait_for([self._stand[step]])
        return tuple(run.point for run in self._stand.values())

    def _early(self, step: str) -> Standing:
        night = self._night
        with night.arrests.everybody(step):
            night.report([self._at[step]])
            run: Standing = night.installation.wait(lambda: next(iter(night.arrests.at(step)), None), f"run at {step}")
        return run


def _kill(night: Night, service: str, runs: Sequence[Standing]) -> None:
    if service == EVERYTHING:
        night.installation.kill_everything()
    elif service == FLOW:
        for run in runs:
            psutil.Process(run.pid).kill()
    else:
        night.installation.kill(service)
