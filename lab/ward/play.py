"""Plays schedules: starts runs, lets faults happen, dispatches again as reconciliation does, until all has ended."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Row
from sqlalchemy.exc import OperationalError

from lab.ward.observer import Case, Count, World, count, expects_two, read_log
from lab.ward.patient import Patient
from lab.ward.run import Order
from lab.ward.runs import REPOSITORY, Run, Runs
from lab.ward.schedule import Fault, Faulty, Meanwhile, Schedule, Workers
from nightshift.remediation.decisions import Decision
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.switches import Scope
from nightshift.remediation.models import Mode, Outcome, Severity, Target

_numbers = itertools.count(1)
_GIVE_UP_SECONDS = 30.0
_MOST_ATTEMPTS = 12
_LATE_COMMANDS_SECONDS = 1.0
"""After the last run has gone, what it left on the ward gets this long to end."""
_QUIET_SECONDS = 0.1
"""What a run that has nothing to do takes on a quiet machine."""
_LONGEST_PACE = 10.0
_STEPS = ("one", "two", "three", "four", "five")


@dataclass(frozen=True)
class Lab:
    """Everything that schedules are played with."""

    ledger: Ledger
    database_url: str
    runs: Runs
    port: int
    log: Path


@contextmanager
def open_lab(database_url: str, folder: Path) -> Iterator[Lab]:
    """A ward and a place to fork runs from, on a migrated ledger."""
    log = folder / "ward.log"
    with ExitStack() as stack:
        ward = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "lab.ward.server", str(log)], stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
            )
        )
        stack.callback(ward.kill)
        port = int(ward.stdout.readline()) if ward.stdout else 0
        runs = stack.enter_context(Runs(folder))
        ledger = Ledger.connect(database_url, pool_size=20)
        stack.callback(ledger.close)
        over = threading.Event()
        watching = threading.Thread(target=_watch_leases, args=(ledger, over))
        watching.start()
        stack.callback(watching.join)
        stack.callback(over.set)
        yield Lab(ledger, database_url, runs, port, log)


def _watch_leases(ledger: Ledger, over: threading.Event) -> None:
    """As the gateway does."""
    while not over.wait(0.2):
        ledger.leases.end_silent()


def pace_of(lab: Lab) -> float:
    """How busy the machine is: how long a run that has nothing to do takes, compared with a quiet machine."""
    began = time.monotonic()
    run = lab.runs.start(Order(lab.database_url, lab.port, 0, 1, str(uuid4()), "", "", "", ()))
    while run.state:
        time.sleep(0.01)
    return min(max((time.monotonic() - began) / _QUIET_SECONDS, 1), _LONGEST_PACE)


@dataclass
class _Started:
    """One process of an attempt."""

    attempt: int
    run: Run
    run_id: str
    faults: list[Fault]
    """Freezes that it has not come to."""
    stands: tuple[float, Fault] | None = None
    """Since when it stands still, and by which fault."""

    @property
    def at_work(self) -> bool:
        """Neither gone nor standing still."""
        return self.run.state not in ("", "T")


@dataclass
class _Incident:
    case: Case
    number: int
    started: list[_Started] = field(default_factory=list)

    def of(self, attempt: int) -> list[_Started]:
        return [started for started in self.started if started.attempt == attempt]

    @property
    def ended(self) -> bool:
        return bool(self.case.outcome)


@dataclass
class Play:
    """One schedule being played, with a seeded bug in its runs or without."""

    lab: Lab
    schedule: Schedule
    bug: str | None = None
    pace: float = 1
    """By how much everything takes longer than on a quiet machine: time-outs, claims, leases, freezes."""
    _world: World = field(default_factory=World)
    _incidents: list[_Incident] = field(default_factory=list)

    def count(self) -> Count:
        """Play it, and let the observer count."""
        self._open()
        give_up_at = time.monotonic() + _GIVE_UP_SECONDS * self.pace
        while not self._over and time.monotonic() < give_up_at:
            for incident in self._incidents:
                self._tend(incident)
            time.sleep(0.04 * self.pace)
        for started in self._all:
            started.run.send(signal.SIGKILL)
        if self.schedule.faults or self.schedule.lies:
            time.sleep(_LATE_COMMANDS_SECONDS * self.pace)
        cases = [incident.case for incident in self._incidents]
        for incident in self._incidents:
            ends = (started.run.end for started in incident.started)
            incident.case.crashes += [end for end in ends if end.startswith("crashed")]
        return count(self.schedule, cases, read_log(self.lab.log, [case.bed for case in cases]), self._world)

    @property
    def _over(self) -> bool:
        return all(incident.ended for incident in self._incidents) and not any(s.run.state for s in self._all)

    @property
    def _all(self) -> list[_Started]:
        return [started for incident in self._incidents for started in incident.started]

    def _open(self) -> None:
        system = f"ward{next(_numbers)}"
        paths: list[tuple[str, ...]] = [("host", "h", "filesystem", "/a")]
        if expects_two(self.schedule.workers):
            other: dict[Workers, tuple[str, ...]] = {
                Workers.SAME: paths[0],
                Workers.TREE: ("host", "h"),
                Workers.APART: ("host", "other"),
            }
            paths.append(other[self.schedule.workers])
        for number, path in enumerate(paths):
            target, runbook = Target(system=system, path=path), f"Ill{number}"
            trouble = Trouble(system, runbook, "raise-levels", target, Severity.WARNING, "levels are low")
            for _ in range(2):  # the same trouble twice is one incident
                with self.lab.ledger.engine.begin() as connection:
                    opened, _ = self.lab.ledger.incidents.open(connection, trouble)
            case = Case(opened, f"{system}/{number}", target.key, runbook, _STEPS[: self.schedule.steps])
            Patient(self.lab.port, case.bed).set(slow=self.schedule.slow * self.pace)
            self._incidents.append(_Incident(case, number))
        first = Patient(self.lab.port, self._incidents[0].case.bed)
        last = self._incidents[0].case.steps[-1]
        lies = {"raise one": list(self.schedule.lies), f"lower {last}": list(self.schedule.undo_lies)}
        first.set(lies=lies, blind=self.schedule.blind)
        self._world.approved_from = float("inf") if self.schedule.asked else 0

    def _tend(self, incident: _Incident) -> None:
        """What dispatch, reconciliation and people do about one incident."""
        if (row := self.lab.ledger.incidents.get(incident.case.incident)) is None:
            raise KeyError(incident.case.incident)
        for started in incident.started:
            self._look_at(incident, started, row)
        if row.status == "ended" and not incident.ended:
            incident.case.outcome, incident.case.ended_at = str(row.outcome), row.ended_at.timestamp()
        elif row.status == "open":
            self._dispatch(incident, row)
        elif row.status == "waiting":
            self._answer(incident, row)
        elif row.status in ("working", "verifying") and self._ran_out(row):
            self._try_again(row)

    @staticmethod
    def _ran_out(row: Row[Any]) -> bool:
        """Whether its claim did; there may be none for a moment, while a seeded bug gives it to somebody else."""
        return row.claimed_until is not None and row.claimed_until < datetime.now(UTC)

    def _dispatch(self, incident: _Incident, row: Row[Any]) -> None:
        """Start the attempt; again when what was started is gone and has not claimed."""
        if any(one.at_work for one in incident.of(row.attempt)):
            return
        for _ in range(2 if self.schedule.workers is Workers.TWICE else 1):
            self._start(incident, row.attempt, str(uuid4()))

    def _start(self, incident: _Incident, attempt: int, run_id: str) -> None:
        first = not incident.of(attempt)
        faults = [
            fault
            for fault in self.schedule.faults
            if first and fault.attempt == attempt and fault.case == incident.number
        ]
        signals = {Faulty.KILL: "SIGKILL", Faulty.FREEZE: "SIGSTOP", Faulty.PAUSE: "SIGSTOP"}
        order = Order(
            self.lab.database_url,
            self.lab.port,
            incident.case.incident,
            attempt,
            run_id,
            incident.case.bed,
            incident.case.target,
            incident.case.runbook,
            incident.case.steps,
            mode="propose" if self.schedule.asked else "auto",
            undone=self.schedule.undone,
            at_most=self.schedule.at_most,
            claim_seconds=self.schedule.claim_seconds * self.pace,
            pace=self.pace,
            bug=self.bug,
            faults=tuple((fault.point, f"{signals[fault.what]} {fault.times}") for fault in faults),
            folder=str(self.lab.runs.folder),
        )
        run = self.lab.runs.start(order)
        freezes = [fault for fault in faults if fault.what is not Faulty.KILL]
        incident.started.append(_Started(attempt, run, run_id, freezes))

    def _try_again(self, row: Row[Any]) -> None:
        # A run that stands still may hold the journal; the gateway looks again a moment later, too.
        with suppress(OperationalError), self.lab.ledger.engine.begin() as connection:
            again = self.lab.ledger.incidents.try_again(connection, row, "its run died", 0)
            if again and row.attempt >= _MOST_ATTEMPTS:
                self.lab.ledger.incidents.end(connection, row.id, Outcome.ESCALATED, "attempts used up")

    def _answer(self, incident: _Incident, row: Row[Any]) -> None:
        """A person decides, and the run goes on; one that died while asking is followed by another."""
        if any(one.at_work for one in incident.of(row.attempt)):
            return
        asked = self.lab.ledger.approvals.open_one(row.id)
        if asked is not None:
            approve = self.schedule.meanwhile is not Meanwhile.MODE
            self._world.approved_from = min(self._world.approved_from, time.time())
            self.lab.ledger.approvals.decide(row.id, asked.digest, Decision("ann", "test", approve))
        self._start(incident, row.attempt, str(row.flow_run_id))

    def _look_at(self, incident: _Incident, started: _Started, row: Row[Any]) -> None:
        """Let a run that stands still wake up in its time."""
        if started.run.state != "T":
            return
        if started.stands is None:
            started.stands = (time.monotonic(), started.faults.pop(0))
            self._change_world(incident)
        if self._time_to_wake(incident, started, *started.stands, row):
            if self.schedule.meanwhile is Meanwhile.CHANGED_FOR_A_WHILE:
                Patient(self.lab.port, incident.case.bed).set(changed=False)
            started.stands = None
            started.run.send(signal.SIGCONT)

    def _time_to_wake(self, incident: _Incident, started: _Started, since: float, fault: Fault, row: Row[Any]) -> bool:
        if fault.what is Faulty.PAUSE:
            others = [other for other in self._incidents if other is not incident]
            return self.schedule.meanwhile is not Meanwhile.OTHERS or all(other.ended for other in others)
        if fault.seconds is not None:
            return time.monotonic() - since >= fault.seconds * self.pace
        later = [one for one in incident.started if one.attempt > started.attempt]
        twin_took_over = incident.ended or row.status == "waiting"
        return twin_took_over or (bool(later) and not any(one.at_work for one in later))

    def _change_world(self, incident: _Incident) -> None:
        case, ledger = incident.case, self.lab.ledger
        system = Target.from_key(case.target).system
        match self.schedule.meanwhile:
            case Meanwhile.STOP:
                ledger.switches.stop(Scope(system=system), reason="enough", author="ann", seconds=60)
            case Meanwhile.MODE:
                ledger.modes.set(Mode.PROPOSE, system, None, reason="careful", author="ann")
            case Meanwhile.CHANGED | Meanwhile.CHANGED_FOR_A_WHILE:
                Patient(self.lab.port, case.bed).set(changed=True)
        if self.schedule.meanwhile in (Meanwhile.STOP, Meanwhile.MODE, Meanwhile.CHANGED):
            self._world.forbidden_from = time.time()
