"""How fast it is and what it costs: ``make bench``, or ``make bench QUICK=1`` for the latency part alone.

Run as root: ``python -m bench [--quick | --flame]``. Prints the table of goals and writes ``bench/results/latest.json``
and ``latest.svg``. Exits with 1 if something could not be measured or an alert was lost; a goal that is missed is no
error. With ``--flame`` (``make bench FLAME=1``) it measures nothing and draws where the time of a small storm goes. See
``bench/README.md`` for how each figure is made.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from bench import machine
from bench.figures import Result, goals, nothing_measured
from bench.picture import picture
from bench.sampling import flames
from bench.speed import FailedError, installed, measure
from bench.telling import Screen
from bench.timetable import LONGEST_FLAME_SECONDS, LONGEST_QUICK_SECONDS, LONGEST_SECONDS

RESULTS = Path(__file__).parent / "results"


class OutOfTimeError(Exception):
    """The bench took longer than it may."""


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").split("\n", 1)[0])
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--quick", action="store_true", help="only the latency part, in under a minute")
    kinds.add_argument("--flame", action="store_true", help="flame graphs of a small storm, and no figures")
    asked = parser.parse_args()
    quick: bool = asked.quick
    screen = Screen()
    result: Result = {**nothing_measured(), "quick": quick, "failures": [], "spreads": {}}
    result |= {"machine": machine.facts(), "versions": machine.versions()}
    screen.facts(result["machine"], result["versions"])
    if asked.flame:
        _in_time(result, LONGEST_FLAME_SECONDS, lambda: _flames(result, screen))
        for failure in result["failures"]:
            screen.failure(failure)
        return 1 if result["failures"] else 0
    seconds = LONGEST_QUICK_SECONDS if quick else LONGEST_SECONDS
    _in_time(result, seconds, lambda: measure(result, screen, quick=quick))
    return _told(result, screen, quick=quick)


def _in_time(result: Result, seconds: int, work: Callable[[], None]) -> None:
    """Do it; what goes wrong is noted, and what was measured is told all the same."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends it early leaves nothing running
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(seconds)
    try:
        work()
    except OutOfTimeError:
        result["failures"].append("The bench took too long; what was measured by then is above.")
    except FailedError as error:
        result["failures"].append(str(error))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        result["failures"].append(f"Not everything could be taken down: {type(error).__name__}: {error}")
    finally:
        signal.alarm(0)


def _flames(result: Result, screen: Screen) -> None:
    with ExitStack() as stack:
        speed = installed(stack, result, screen)
        with speed.part("flame graphs"):
            print("Written:", ", ".join(str(path) for path in flames(speed, RESULTS)))


def _told(result: Result, screen: Screen, *, quick: bool) -> int:
    screen.spreads(result["spreads"])
    screen.goals(goals(result, quick=quick))
    for failure in result["failures"]:
        screen.failure(failure)
    RESULTS.mkdir(exist_ok=True)
    latest = RESULTS / "latest.json"
    latest.write_text(json.dumps(result, indent=2) + "\n")
    drawn = RESULTS / "latest.svg"
    drawn.write_text(picture(result))
    print(f"Written: {latest}, {drawn}")
    return 1 if result["failures"] else 0


def _out_of_time(_number: int, _frame: FrameType | None) -> None:
    raise OutOfTimeError


if __name__ == "__main__":
    sys.exit(main())
