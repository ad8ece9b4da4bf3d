"""The parts of the speed bench, in their order, on one installation."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from http.client import HTTPException
from statistics import median

import httpx
import psutil
from sqlalchemy.exc import SQLAlchemyError

from bench import consumption, rulebook, stock, timetable
from bench.consumption import Meter
from bench.figures import Result, Spread, at, worse
from bench.floor import Floor, patient_host, write_catalogue
from bench.gate_steps import gate_steps
from bench.growth import grow
from bench.intake import Intake
from bench.latency import OURS, Bench, Way, rounds
from bench.rulebook import RULEBOOK, Rulebook
from bench.runs import Records, TookTooLongError
from bench.storms import ALERTS, EFFECTS, Storms
from bench.telling import Screen
from lab.installation import Installation
from lab.patient_host import CannotStartError, PatientHost
from lab.sinks import HttpSink
from nightshift.catalogue import Catalogue

_FLOW = "disk-space-reclaim"
_ALERTS = {
    True: {OURS: 5, RULEBOOK: 5, stock.TUNED: 2, stock.STOCK: 2},
    False: {OURS: 20, RULEBOOK: 20, stock.TUNED: 3, stock.STOCK: 3},
}
"""How many for each in the latency part, by whether it is quick. A stock worker takes ten times as long for one."""
_RATIOS = {name: f"ratio_to_{name}_worker" for name in stock.SETTINGS} | {RULEBOOK: "ratio_to_ansible_rulebook"}
_WARM_UP = 2
_SETTLE_SECONDS = 5.0
_ALONE = 12

_EXPECTED = (
    *(TookTooLongError, LookupError, ValueError, OSError, AssertionError),
    *(httpx.HTTPError, HTTPException, SQLAlchemyError, psutil.Error, subprocess.SubprocessError),
)
"""What can go wrong in a part without spoiling the next."""


class FailedError(Exception):
    """The bench cannot go on."""


@dataclass
class Speed:
    """What is measured, on what, and where it is noted."""

    installation: Installation
    records: Records
    floor: Floor
    oncall: HttpSink
    result: Result
    screen: Screen

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """One part of the bench; what goes wrong in it is noted, and the next part follows."""
        self.screen.say(f"— {name}")
        try:
            yield
        except _EXPECTED as error:
            line = f"{name}: {type(error).__name__}: {str(error)[:2000]}"
            self.result["failures"].append(line)
            self.screen.failure(line)

    def spread(self, name: str, values: Sequence[float]) -> Spread:
        """Note how these are spread."""
        spread = Spread.of(values)
        self.result["spreads"][name] = spread.told()
        return spread


def measure(result: Result, screen: Screen, *, quick: bool) -> None:
    """Start an installation, measure everything, take it down.

    Raises:
        FailedError: there is no installation to measure.
    """
    begun = time.monotonic()
    with ExitStack() as stack:
        speed = installed(stack, result, screen)
        latency(speed, quick=quick, begun=begun)
        if not quick:
            idle(speed)
            since = time.monotonic()
            before: Result = {}
            try:
                all_figures(speed, "as new", before)
                others, left = time.monotonic() - since, begun + timetable.GROWN_UNTIL - time.monotonic()
                storm(speed, before, "as new", ALERTS, longest=timetable.longest_storm(left, others))
            finally:  # what was measured is told, also when time is up
                _note(result, before)
            growth(speed, before, left=begun + timetable.GROWN_UNTIL - time.monotonic(), others=others)


def installed(stack: ExitStack, result: Result, screen: Screen) -> Speed:
    """An installation on a shop floor, until the stack ends.

    Raises:
        FailedError: there is none.
    """
    try:
        patient = _patient(stack, result, screen)
        floor = stack.enter_context(Floor(patient))
        oncall = stack.enter_context(HttpSink())
        installation = stack.enter_context(Installation("nightshift-speed-"))
        write_catalogue(installation.catalogue, floor.folder, patient, oncall.slack_url)
        screen.say("nightshift up, with the embedded PostgreSQL and no settings but folders and ports")
        installation.up(NIGHTSHIFT_PAGE_URL=oncall.apprise_url)
    except (AssertionError, OSError) as error:
        raise FailedError(f"There is no installation to measure: {error}") from error
    screen.say("up")
    return Speed(installation, Records(installation), floor, oncall, result, screen)


def _patient(stack: ExitStack, result: Result, screen: Screen) -> PatientHost | None:
    try:
        return stack.enter_context(patient_host())
    except CannotStartError as error:
        result["failures"].append(f"What needs a repair is not measured: {error}")
        screen.failure(result["failures"][-1])
        return None


def latency(speed: Speed, *, quick: bool, begun: float) -> None:
    """Our worker and Prefect's own side by side: one deployment, handed from pool to pool. Ansible beside them."""
    with speed.part("alert → first diagnostic task, with ours and others in turn"), ExitStack() as others:
        for name in stock.SETTINGS:
            others.enter_context(stock.stock_worker(speed.installation, speed.records, name))
        deployment, peer = speed.records.deployment(_FLOW), _rulebook(speed, others)
        bench = Bench(speed.installation, speed.records, speed.floor, deployment, speed.screen.say, peer)
        counts = {name: count for name, count in _ALERTS[quick].items() if peer or name != RULEBOOK}
        until = begun + timetable.QUICK_ROUNDS_UNTIL if quick else time.monotonic() + timetable.ROUNDS_SECONDS
        try:
            rounds(bench, counts, warm_up=_WARM_UP, until=until)
        finally:
            speed.records.assign(deployment["id"], OURS)
            _note_latency(speed, bench)


def _rulebook(speed: Speed, others: ExitStack) -> Rulebook | None:
    """Event-Driven Ansible, if it is installed and starts."""
    try:
        program = rulebook.executable(os.environ)
        if program is not None:
            peer = others.enter_context(rulebook.running(program))
            for _ in range(_WARM_UP):
                peer.one()
            peer.effects.clear()
            return peer
    except _EXPECTED as error:
        speed.result["failures"].append(f"{RULEBOOK} is not compared: {error}")
        speed.screen.failure(speed.result["failures"][-1])
    else:
        speed.screen.say(f"{RULEBOOK} is not installed, and is not compared")
    return None


def _note_latency(speed: Speed, bench: Bench) -> None:
    speed.result["failures"] += [f"An alert of the latency part was lost: {why}" for why in bench.lost]
    speed.result["ways"] = {pool: [vars(way) for way in ways] for pool, ways in bench.ways.items()}
    speed.result["first_task_s"] = bench.firsts
    medians = {name: speed.spread(f"first task, {name}, s", values).median for name, values in bench.firsts.items()}
    if bench.rulebook and bench.rulebook.effects:
        speed.spread(f"first task has its effect, {RULEBOOK}, s", bench.rulebook.effects)
    if OURS not in medians:
        return
    speed.result["alert_to_first_step_s"] = speed.result["spreads"][f"first task, {OURS}, s"]
    for name, key in _RATIOS.items():
        if name in medians:
            speed.result[key] = round(medians[name] / medians[OURS], 2)
    for field in fields(Way):
        speed.spread(f"{field.name}, s", [getattr(way, field.name) for way in bench.ways[OURS]])


def idle(speed: Speed) -> None:
    """A while in which nothing happens, after the first alerts: everything is loaded, nothing is asked."""
    with speed.part(f"idle for {timetable.IDLE_SECONDS:.0f} s"):
        time.sleep(_SETTLE_SECONDS)
        with Meter(speed.installation, every=10) as meter:
            time.sleep(timetable.IDLE_SECONDS)
        memory = median(mib for _, mib in meter.memory)
        speed.result["idle"] = {
            "core_percent": round(100 * meter.cpu / meter.seconds, 2),
            "mib": round(memory),
            "parts": consumption.by_part(speed.installation),
        }


def all_figures(speed: Speed, name: str, figures: Result) -> None:
    """Everything but storms of many targets that is measured twice: on a ledger as new, and on one that has grown.

    Args:
        speed: on what.
        name: tells the two apart.
        figures: where they are noted.
    """
    installation, records, floor, say = speed.installation, speed.records, speed.floor, speed.screen.say
    storms = Storms(installation, records, floor, say)
    word = name.replace(" ", "-")
    with speed.part(f"alert → first diagnostic task, alone, {name}"):
        bench = Bench(installation, records, floor, records.deployment(_FLOW), lambda _: None)
        rounds(bench, {OURS: _ALONE}, warm_up=1, until=time.monotonic() + 60)
        speed.result["failures"] += [f"An alert was lost, {name}: {why}" for why in bench.lost]
        figures["first_task_alone_s"] = speed.spread(f"first task, alone, {name}, s", bench.firsts[OURS]).median
    with speed.part(f"the gate, {name}"):
        catalogue = Catalogue.load(installation.catalogue)
        steps = gate_steps(installation.ledger, catalogue, installation.settings, word)
        figures["gate_steps_ms"] = {step: round(milliseconds, 3) for step, milliseconds in steps.items()}
        figures["gate_ms"] = round(sum(steps.values()), 2)
    with speed.part(f"1,000 alerts of one cause in 10 s, {name}"):
        figures["storm_one_cause_1000"] = storms.one_cause(word)
    with speed.part(f"intake, {name}"):
        told, bodies, singles = Intake(installation, records, floor, say).measure(word)
        figures["intake"] = told
        speed.spread(f"a body of 50, {name}, s", bodies.values)
        speed.spread(f"a single alert, {name}, s", singles.values)


def storm(speed: Speed, figures: Result, name: str, count: int, *, longest: float = timetable.LONGEST_STORM) -> None:
    """So many alerts about as many targets at once, into the figures: as ``storm``, and that of 200 by its name too."""
    with speed.part(f"{count} alerts about {count} targets at once, {name}"):
        storms = Storms(speed.installation, speed.records, speed.floor, speed.screen.say)
        figures["storm"] = storms.many_targets(count, longest=longest)
        if count == ALERTS:
            figures["storm_200"] = figures["storm"]
        if lost := figures["storm"]["lost"]:
            speed.result["failures"].append(f"The storm of {count} lost {lost} alerts, {name}.")


def _note(result: Result, figures: Result) -> None:
    """Into the result; an alert that was lost is a failure."""
    result |= {name: found for name, found in figures.items() if name != "storm"}
    if (accounted := at(figures, "storm_one_cause_1000.accounted")) not in (None, EFFECTS):
        result["failures"].append(f"The storm of one cause lost {EFFECTS - accounted} alerts.")


def growth(speed: Speed, before: Result, *, left: float, others: float) -> None:
    """The same on a ledger that has grown: how many times worse each figure is.

    Args:
        speed: on what.
        before: the figures as new.
        left: seconds that are left for it.
        others: seconds that all but storms of many targets took as new.
    """
    count = timetable.storm_again(left - timetable.FILL_SECONDS - timetable.MARGIN * others, before.get("storm"))
    if count != ALERTS:
        before = {name: found for name, found in before.items() if name != "storm"}
    if 0 < count < ALERTS:
        speed.screen.say(f"no time for another storm of {ALERTS}: one of {count} is measured before and after growth")
        storm(speed, before, "as new", count)
    with speed.part("growth: 100,000 ended incidents and 1,000 open ones"):
        grown: Result = {"rows": grow(speed.installation.ledger, speed.installation.settings.ledger_url())}
        speed.result["grown"] = grown
        speed.screen.say(", ".join(f"{rows:,} {table}" for table, rows in grown["rows"].items()))
        grown |= {"storm_alerts": count, "storm_before": before.get("storm")}
        after: Result = {}
        try:
            all_figures(speed, "grown", after)
            if count:
                storm(speed, after, "grown", count)
            else:
                speed.screen.say("no time left for a storm on the grown ledger: it is not part of the ratio")
        finally:  # what was measured is told, also when time is up
            grown |= {**after, "ratios": worse(before, after)}
            speed.result["growth_ratio"] = max(grown["ratios"].values())
