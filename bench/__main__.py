"""How fast it is and what it costs: ``make bench``, or ``make bench QUICK=1`` for the latency part alone.

Run as root: ``python -m bench [--quick]``. Prints the table of goals and writes ``bench/results/latest.json``, and
``latest.svg`` beside it. Exits with 1 if something could not be measured or an alert was lost; a goal that is missed
is no error. See ``bench/README.md`` for how each figure is made.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from bench import machine
from bench.figures import Result, goals, nothing_measured
from bench.picture import picture
from bench.speed import FailedError, measure
from bench.telling import Screen
from bench.timetable import LONGEST_SECONDS

RESULTS = Path(__file__).parent / "results"


class OutOfTimeError(Exception):
    """The bench took longer than it may."""


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="only the latency part, in under a minute")
    quick: bool = parser.parse_args().quick
    screen = Screen()
    result: Result = {**nothing_measured(), "quick": quick, "failures": [], "spreads": {}}
    result |= {"machine": machine.facts(), "versions": machine.versions()}
    screen.facts(result["machine"], result["versions"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends it early leaves nothing running
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(LONGEST_SECONDS[quick])
    try:
        measure(result, screen, quick=quick)
    except OutOfTimeError:
        result["failures"].append("The bench took too long; what was measured by then is above.")
    except FailedError as error:
        result["failures"].append(str(error))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        # What was measured is told all the same.
        result["failures"].append(f"Not everything could be taken down: {type(error).__name__}: {error}")
    finally:
        signal.alarm(0)
    return _told(result, screen, quick=quick)


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
