"""Counts what really happened to the patients of a schedule, from the ward's log, and compares it with the plan."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.ward.schedule import Meanwhile, Schedule, Workers


@dataclass
class Case:
    """One incident of a schedule, and what is known of it from outside."""

    incident: int
    bed: str
    target: str
    runbook: str
    steps: tuple[str, ...]
    outcome: str = ""
    """Empty: it did not end."""
    ended_at: float = float("inf")
    crashes: list[str] = field(default_factory=list)
    """What runs that died of our own mistakes left behind."""


@dataclass
class World:
    """What the ward cannot know: from when on nothing was allowed any more, or from when on it was."""

    forbidden_from: float = float("inf")
    approved_from: float = 0


@dataclass(frozen=True)
class Count:
    """What an independent observer saw; all zero and no words is right."""

    lost: int = 0
    doubled: int = 0
    outside_plan: int = 0
    wrong_ends: int = 0
    unended: int = 0
    """Of the lost: incidents that did not end in time."""
    words: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.lost or self.doubled or self.outside_plan or self.wrong_ends)

    @property
    def too_slow(self) -> bool:
        """Whether nothing else was wrong than that it took too long."""
        return self.unended > 0 and self.lost == self.unended and not (self.doubled or self.outside_plan)


Row = dict[str, Any]


def read_log(path: Path, beds: Sequence[str]) -> list[Row]:
    """The ward's rows about these beds, oldest first."""
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return [row for row in rows if row["bed"] in beds]


def count(schedule: Schedule, cases: Sequence[Case], rows: Sequence[Row], world: World) -> Count:
    """Compare what the ward saw with what was planned and allowed."""
    lost: list[str] = []
    doubled: list[str] = []
    outside = [*_overlapping(rows), *_when_not_allowed(rows, world), *_beyond_budget(schedule, rows)]
    wrong: list[str] = []
    for case in cases:
        mine = [row for row in rows if row["bed"] == case.bed]
        raised, lowered = _effects(mine, "raise"), _effects(mine, "lower")
        missing = [step for step in case.steps if not raised[step]]
        kept = [step for step in case.steps if not lowered[step]] if schedule.undone else []
        lost += _lost(schedule, case, missing, kept)
        for what, effects in (("done", raised), ("taken back", lowered)):
            doubled += [f"{step} of {case.bed} {what} {n} times" for step, n in effects.items() if n > 1]
        outside += [f"{step} of {case.bed} was never planned" for step in raised if step not in case.steps]
        outside += _badly_taken_back(schedule, case, mine)
        outside += [
            f"{row['step']} of {case.bed} begun after the end of its incident"
            for row in mine
            if row["what"] == "begin" and row["at"] > case.ended_at
        ]
        if not schedule.asked and schedule.meanwhile is not Meanwhile.MODE:  # there it goes on in another process
            outside += _at_work_together(mine)
        wrong += [f"{case.bed}: {crash}" for crash in case.crashes]
        if schedule.honest and case.outcome not in ("", "escalated" if schedule.undone else "resolved"):
            wrong.append(f"{case.bed} ended as {case.outcome} without a reason")
    words = (*lost, *doubled, *outside, *wrong)
    unended = sum(not case.outcome for case in cases)
    return Count(len(lost), len(doubled), len(outside), len(wrong), unended, words)


def _effects(rows: Sequence[Row], do: str) -> Counter[str]:
    return Counter(row["step"] for row in rows if row["what"] == "effect" and row["do"] == do)


def _lost(schedule: Schedule, case: Case, missing: Sequence[str], kept: Sequence[str]) -> list[str]:
    """Nothing is lost if it was done, and taken back where it did not help, or if a person was paged for a reason."""
    if not case.outcome:
        return [f"{case.bed} did not end"]
    if case.outcome == "resolved" and (missing or schedule.undone):
        return [f"{case.bed} ended as resolved without {', '.join(missing) or 'help'}"]
    if not schedule.honest:
        return []
    lost = [f"{', '.join(missing)} of {case.bed} not done"] * bool(missing)
    return lost + [f"{', '.join(kept)} of {case.bed} not taken back"] * bool(kept)


def _badly_taken_back(schedule: Schedule, case: Case, rows: Sequence[Row]) -> list[str]:
    """What nobody wanted back, in a wrong order, or done anew when taking back had begun."""
    found, levels = [], Counter[str]()
    begun = False
    for row in rows:
        step = row["step"]
        if row["what"] == "begin":
            found += [f"{step} of {case.bed} begun after taking back had begun"] * (begun and row["do"] == "raise")
            begun = begun or row["do"] == "lower"
        elif row["what"] == "effect":
            levels[step] += 1 if row["do"] == "raise" else -1
            if row["do"] == "lower":
                found += [f"{step} of {case.bed} taken back, which helped"] * (not schedule.undone)
                found += [
                    f"{step} of {case.bed} taken back before {later}"
                    for later in _later(case, step)
                    if levels[later] > 0
                ]
    return found


def _later(case: Case, step: str) -> tuple[str, ...]:
    return case.steps[case.steps.index(step) + 1 :]


def _overlapping(rows: Sequence[Row]) -> list[str]:
    """Commands at work at the same time on one target, or on a target and what lies below it."""
    found, at_work = [], list[Row]()
    for row in rows:
        if row["what"] == "begin":
            found += [
                f"{row['step']} of {row['bed']} begun on {row['target']} while {other['step']} of {other['bed']} ran"
                for other in at_work
                if _related(row["target"], other["target"]) and row["at"] < other["until"]
            ]
            at_work.append(row)
        elif row["what"] == "end":
            same = [other for other in at_work if all(other[key] == row[key] for key in ("bed", "step", "who"))]
            at_work.remove(same[0])
    return found


def _related(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _when_not_allowed(rows: Sequence[Row], world: World) -> list[str]:
    begun = [row for row in rows if row["what"] == "begin"]
    late = [row for row in begun if row["at"] > world.forbidden_from]
    early = [row for row in begun if row["at"] < world.approved_from]
    return [f"{row['step']} of {row['bed']} begun when it was not allowed any more" for row in late] + [
        f"{row['step']} of {row['bed']} begun before it was approved" for row in early
    ]


def _beyond_budget(schedule: Schedule, rows: Sequence[Row]) -> list[str]:
    begun = sum(row["what"] == "begin" for row in rows)
    most = schedule.at_most
    return [f"{begun} actions begun, the budget allows {most}"] if most is not None and begun > most else []


def _at_work_together(rows: Sequence[Row]) -> list[str]:
    """Two runs that both took the same attempt."""
    runs: dict[str, set[str]] = {}
    for row in rows:
        if row["what"] == "measured":
            attempt, _, process = str(row["who"]).rpartition("/")
            runs.setdefault(attempt, set()).add(process)
    return [f"attempt {attempt} taken by {len(found)} runs" for attempt, found in runs.items() if len(found) > 1]


def expects_two(workers: Workers) -> bool:
    """Whether a schedule has a second incident."""
    return workers in (Workers.SAME, Workers.TREE, Workers.APART)
