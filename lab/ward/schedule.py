"""Schedules: which faults meet which runs of which incidents, and where; deterministic ones, and random by seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from lab.ward.server import LIES

POINTS = (
    "before_claim",
    "after_claim",
    "before_lease",
    "after_lease",
    "before_approval",
    "after_approval",
    "before_precondition",
    "before_intent",
    "in_intent",
    "after_intent",
    "before_act",
    "after_act",
    "in_outcome",
    "after_outcome",
    "before_release",
    "before_finish",
    "after_finish",
)
"""Injection points in the order in which a run comes by them."""
PER_ACTION = POINTS[4:14]
"""Those that it comes by for each action."""
SETTLING = ("before_observation", "after_observation", "after_settling")
"""Those of a later attempt that finds an intent without an outcome."""
ASKING = ("before_asking", "after_asking")


class Workers(StrEnum):
    """Who works beside whom."""

    ALONE = "alone"
    TWICE = "twice"
    """Every attempt of the incident is started twice, as by a duplicate event."""
    SAME = "same target"
    TREE = "host and its filesystem"
    APART = "two targets"


class Faulty(StrEnum):
    """What happens to a process at a point."""

    KILL = "kill"
    FREEZE = "freeze"
    """Stopped until the next attempt is over, or for so many seconds: a zombie that believes it holds everything."""
    PAUSE = "pause"
    """Stopped for a moment in which the world changes (see :class:`Meanwhile`)."""


class Meanwhile(StrEnum):
    """How the world changes while a run stands still."""

    NOTHING = ""
    STOP = "stopped"
    MODE = "mode set to propose"
    CHANGED = "patient changed"
    CHANGED_FOR_A_WHILE = "patient changed until it wakes"
    OTHERS = "others finish"


@dataclass(frozen=True)
class Fault:
    """One fault of one run."""

    point: str
    what: Faulty
    attempt: int = 1
    times: int = 1
    """At which passing of the point."""
    case: int = 0
    """Which of two incidents."""
    seconds: float | None = None
    """How long a freeze lasts; None: until the next attempt is over."""

    def __str__(self) -> str:
        where = f"{self.point}{f' #{self.times}' if self.times > 1 else ''}"
        length = "" if self.seconds is None else f" for {self.seconds:.1f} s"
        return f"{self.what}{length} {where} in attempt {self.attempt}{' of the other' if self.case else ''}"


@dataclass(frozen=True)
class Schedule:
    """What is done to one or two incidents."""

    workers: Workers = Workers.ALONE
    faults: tuple[Fault, ...] = ()
    lies: tuple[str, ...] = ()
    """What the first commands of the first step meet."""
    undone: bool = False
    """Whether nothing of it helps, so that everything is taken back."""
    undo_lies: tuple[str, ...] = ()
    """What the first commands meet that take back, the last step first."""
    blind: int = 0
    """How many looks at the first incident's patient get no answer."""
    slow: float = 0
    """Seconds that every command takes."""
    steps: int = 2
    asked: bool = False
    """Whether a person has to approve."""
    at_most: int | None = None
    """Budget of actions for the system."""
    meanwhile: Meanwhile = Meanwhile.NOTHING
    claim_seconds: float = 1.5

    def __str__(self) -> str:
        parts = [str(self.workers), *map(str, self.faults), *(f"patient: {lie}" for lie in self.lies)]
        parts += ["taken back"] * self.undone + [f"taking back: {lie}" for lie in self.undo_lies]
        parts += [f"{self.blind} looks unanswered"] * bool(self.blind) + [str(self.meanwhile)] * bool(self.meanwhile)
        parts += ["slow"] * bool(self.slow) + ["asked"] * self.asked
        return ", ".join([*parts, *([f"budget {self.at_most}"] if self.at_most is not None else [])])

    @property
    def kinds(self) -> set[str]:
        """The kinds of fault in it."""
        kinds = {str(fault.what) for fault in self.faults} | set(self.lies) | ({"duplicate"} & {self._twice})
        return kinds | {f"undo {lie}" for lie in self.undo_lies} | ({"undone"} if self.undone else set())

    @property
    def _twice(self) -> str:
        return "duplicate" if self.workers is Workers.TWICE else ""

    @property
    def honest(self) -> bool:
        """Whether nothing but the process was disturbed: then every incident must be resolved."""
        return not (self.lies or self.undo_lies or self.blind or self.meanwhile or self.at_most is not None)


_BESIDE = (Workers.TWICE, Workers.SAME, Workers.TREE)


def killed_and_frozen(what: Faulty) -> Iterator[Schedule]:
    """At every point, alone, started twice, and beside another incident on the same target or above it."""
    for workers in (Workers.ALONE, *_BESIDE):
        for point in POINTS:
            yield Schedule(workers, (Fault(point, what),))
    yield from _later_and_asked(what)


def killed_and_frozen_in_turn(what: Faulty) -> Iterator[Schedule]:
    """At every point alone, and with one of the others in turn: another one when frozen than when killed."""
    for number, point in enumerate(POINTS, start=int(what is Faulty.FREEZE)):
        for workers in (Workers.ALONE, _BESIDE[number % len(_BESIDE)]):
            yield Schedule(workers, (Fault(point, what),))
    yield from _later_and_asked(what)


def _later_and_asked(what: Faulty) -> Iterator[Schedule]:
    for point in PER_ACTION:
        yield Schedule(faults=(Fault(point, what, times=2),))
    for point in SETTLING:
        for first in ("after_intent", "after_act"):
            killed = Fault(first, Faulty.KILL)
            yield Schedule(faults=(killed, Fault(point, what, attempt=2)))
            yield Schedule(
                faults=(killed, Fault(point, what, attempt=2), Fault("after_outcome", Faulty.KILL, attempt=3))
            )
    for point in (*ASKING, "before_approval", "after_approval", "before_intent", "after_act"):
        yield Schedule(asked=True, faults=(Fault(point, what),))


def briefly_frozen() -> Iterator[Schedule]:
    """Frozen for less than the lease, and for about as long, between the intent and the outcome."""
    for point in ("in_intent", "after_intent", "before_act", "after_act", "in_outcome"):
        for seconds in (1.2, 2.2, 3.2):
            yield Schedule(Workers.SAME, (Fault(point, Faulty.FREEZE, seconds=seconds),), slow=0.2)


def lied_to() -> Iterator[Schedule]:
    """Every kind of wrong or missing answer: alone, with kills around it, unanswered looks, and beside another."""
    for lie in LIES:
        yield Schedule(lies=(lie,))
        yield Schedule(lies=(lie,), blind=9)
        yield Schedule(lies=(lie, lie))
        yield Schedule(Workers.SAME, lies=(lie,))
        for point in ("after_act", "after_outcome", "before_finish"):
            yield Schedule(lies=(lie,), faults=(Fault(point, Faulty.KILL),))
        yield Schedule(lies=(lie,), faults=(Fault("after_outcome", Faulty.FREEZE),))
    for point in ("after_intent", "after_act"):
        yield Schedule(blind=1, faults=(Fault(point, Faulty.KILL),))


def overtaken() -> Iterator[Schedule]:
    """The world changes while a run stands still between two steps of the gate."""
    for meanwhile in (Meanwhile.STOP, Meanwhile.MODE, Meanwhile.CHANGED):
        for point in ("after_lease", "before_approval", "after_approval", "before_precondition"):
            yield Schedule(faults=(Fault(point, Faulty.PAUSE),), meanwhile=meanwhile, claim_seconds=5)
    for meanwhile in (Meanwhile.STOP, Meanwhile.MODE):
        yield Schedule(faults=(Fault("before_intent", Faulty.PAUSE),), meanwhile=meanwhile, claim_seconds=5)
    for point in ("after_claim", "before_lease", "before_approval", "before_intent", "in_intent"):
        yield Schedule(faults=(Fault(point, Faulty.FREEZE),), meanwhile=Meanwhile.CHANGED_FOR_A_WHILE)
    for point in ("before_approval", "before_precondition", "before_intent"):
        yield Schedule(
            Workers.APART,
            (Fault(point, Faulty.PAUSE),),
            meanwhile=Meanwhile.OTHERS,
            at_most=2,
            claim_seconds=5,
        )
    yield waits_beside_another()


def waits_beside_another() -> Schedule:
    """Slow to measure: its lease lapses, another incident takes the target, and it comes back."""
    fault = Fault("after_approval", Faulty.FREEZE, seconds=1.5)
    return Schedule(Workers.SAME, (fault,), slow=0.3, steps=5, claim_seconds=8)


_UNDOING = dict.fromkeys(PER_ACTION, 3) | dict.fromkeys(("before_lease", "after_lease", "before_release"), 2)
"""At which passing of a point a run takes back the first of two actions, or begins and ends to."""


def taken_back(what: Faulty) -> Iterator[Schedule]:
    """Killed or frozen at every step of taking back what did not help: alone, and beside who would take over."""
    for workers in (Workers.ALONE, Workers.TWICE if what is Faulty.KILL else Workers.SAME):
        for point, times in _UNDOING.items():
            yield Schedule(workers, (Fault(point, what, times=times),), undone=True)
    for point in PER_ACTION:
        yield Schedule(faults=(Fault(point, what, times=4),), undone=True)
    for point in ("before_finish", "after_finish"):
        yield Schedule(faults=(Fault(point, what),), undone=True)
    for point in SETTLING:
        for first in ("after_intent", "after_act"):
            killed = Fault(first, Faulty.KILL, times=3)
            yield Schedule(faults=(killed, Fault(point, what, attempt=2)), undone=True)


def taken_back_otherwise() -> Iterator[Schedule]:
    """Wrong and missing answers to what takes back, unanswered looks, and a world that changes meanwhile."""
    for lie in LIES:
        yield Schedule(undone=True, undo_lies=(lie,))
        yield Schedule(undone=True, undo_lies=(lie, lie))
        yield Schedule(undone=True, lies=(lie,))
        yield Schedule(undone=True, undo_lies=(lie,), faults=(Fault("after_act", Faulty.KILL, times=4),))
    for meanwhile in (Meanwhile.STOP, Meanwhile.MODE, Meanwhile.CHANGED):
        for point in ("after_lease", "before_approval", "after_approval", "before_precondition"):
            yield overtaken_while_undoing(point, meanwhile)
    for meanwhile in (Meanwhile.STOP, Meanwhile.MODE):
        yield overtaken_while_undoing("before_intent", meanwhile)


def overtaken_while_undoing(point: str, meanwhile: Meanwhile) -> Schedule:
    """The world changes while a run stands still in the middle of taking back."""
    fault = Fault(point, Faulty.PAUSE, times=_UNDOING[point])
    return Schedule(faults=(fault,), meanwhile=meanwhile, claim_seconds=5, undone=True)


def randomly(seed: int, count: int) -> Iterator[Schedule]:
    """Several faults at once. The same seed makes the same schedules."""
    dice = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    for _ in range(count):
        workers = dice.choice(list(Workers))
        undone = dice.random() < 0.2
        faults = tuple(_some_faults(dice, workers, passings=4 if undone else 2))
        schedule = Schedule(workers, faults, asked=dice.random() < 0.15, undone=undone)
        if dice.random() < 0.3:
            schedule = replace(schedule, lies=tuple(dice.choice(LIES) for _ in range(dice.randint(1, 2))))
        if dice.random() < 0.15:
            schedule = replace(schedule, blind=dice.randint(1, 3))
        if dice.random() < 0.3:
            schedule = replace(schedule, slow=0.2)
        yield schedule


def _some_faults(dice: random.Random, workers: Workers, passings: int) -> Iterator[Fault]:
    two = workers in (Workers.SAME, Workers.TREE, Workers.APART)
    taken = set()
    for _ in range(dice.randint(1, 4)):
        attempt, case = dice.randint(1, 3), dice.randint(0, 1) if two else 0
        point = dice.choice(POINTS if attempt == 1 else (*POINTS, *SETTLING))
        if (attempt, case) in taken:
            continue  # one fault for each run: the first one ends it, or ends what a second would meet
        taken.add((attempt, case))
        what = dice.choice((Faulty.KILL, Faulty.FREEZE))
        seconds = round(dice.uniform(0.1, 5), 1) if what is Faulty.FREEZE and dice.random() < 0.6 else None
        yield Fault(
            point, what, attempt, dice.choice((1, *range(1, passings + 1))) if point in PER_ACTION else 1, case, seconds
        )
