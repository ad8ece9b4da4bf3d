"""The parts of the speed bench, in their order, on one installation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields

import httpx

from bench import stock
from bench.figures import Result, Spread
from bench.floor import Floor, write_catalogue
from bench.latency import OURS, Bench, Way, rounds
from bench.runs import Records, TookTooLongError
from bench.telling import Screen
from lab.installation import Installation
from lab.sinks import HttpSink

_FLOW = "disk-space-reclaim"
_QUICK_ROUNDS_UNTIL = 42.0
"""Seconds after the start in which the quick bench begins no other round."""
_ROUNDS_SECONDS = 200.0


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
        except (TookTooLongError, LookupError, ValueError, OSError, AssertionError, httpx.HTTPError) as error:
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
        speed = _speed(stack, result, screen)
        latency(speed, quick=quick, begun=begun)


def _speed(stack: ExitStack, result: Result, screen: Screen) -> Speed:
    try:
        floor = stack.enter_context(Floor())
        oncall = stack.enter_context(HttpSink())
        installation = stack.enter_context(Installation("nightshift-speed-"))
        write_catalogue(installation.catalogue, floor.folder, oncall.slack_url)
        screen.say("nightshift up, with the embedded PostgreSQL and no settings but folders and ports")
        installation.up(NIGHTSHIFT_PAGE_URL=oncall.apprise_url)
    except (AssertionError, OSError) as error:
        raise FailedError(f"There is no installation to measure: {error}") from error
    screen.say("up")
    return Speed(installation, Records(installation), floor, oncall, result, screen)


def latency(speed: Speed, *, quick: bool, begun: float) -> None:
    """Our worker and Prefect's own side by side: one deployment, handed from pool to pool."""
    with speed.part("alert → first diagnostic task, with our worker and Prefect's own in turn"), ExitStack() as workers:
        for name in stock.SETTINGS:
            workers.enter_context(stock.stock_worker(speed.installation, speed.records, name))
        bench = Bench(speed.installation, speed.records, speed.floor, speed.records.deployment(_FLOW), speed.screen.say)
        counts = {OURS: 5, stock.TUNED: 2, stock.STOCK: 2} if quick else {OURS: 40, stock.TUNED: 8, stock.STOCK: 8}
        until = begun + _QUICK_ROUNDS_UNTIL if quick else time.monotonic() + _ROUNDS_SECONDS
        try:
            rounds(bench, counts, warm_up=2, until=until)
        finally:
            speed.records.assign(bench.deployment["id"], OURS)
            _note_latency(speed, bench)


def _note_latency(speed: Speed, bench: Bench) -> None:
    medians: dict[str, float] = {}
    for pool, ways in bench.ways.items():
        medians[pool] = speed.spread(f"first task, {pool} worker, s", bench.first_tasks(pool)).median
        speed.result.setdefault("ways", {})[pool] = [vars(way) for way in ways]
    if OURS not in medians:
        return
    told = speed.result["spreads"][f"first task, {OURS} worker, s"]
    speed.result["alert_to_first_step_s"] = told
    for pool in stock.SETTINGS:
        if pool in medians:
            speed.result[f"ratio_to_{pool}_worker"] = round(medians[pool] / medians[OURS], 2)
    for field in fields(Way):
        speed.spread(f"{field.name}, s", [getattr(way, field.name) for way in bench.ways[OURS]])
