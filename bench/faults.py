"""The fault matrix at length: every deterministic schedule, random ones, and every seeded bug.

    python bench/faults.py --seed 7 --schedules 300

Prints each schedule after which the patient was not as it should be. The last line is JSON: how many schedules were
played, with which kinds of fault, what was lost, doubled or done outside the plan, and how many of the seeded bugs were
caught. Ends with 1 when anything of it is wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from lab.postgres import PostgresServer
from lab.ward.bugs import BUGS
from lab.ward.ledger_killed import WITH_LEDGER_KILLED, play_with_ledger_killed
from lab.ward.matrix import PARTS, Played, play_all, play_bugs
from lab.ward.play import open_lab
from lab.ward.schedule import Schedule, randomly
from nightshift.remediation.ledger import migrate


def main() -> int:
    """Play everything; the exit code."""
    options = _options()
    print(f"seed {options.seed}")
    with PostgresServer() as server, tempfile.TemporaryDirectory(prefix="nightshift-ward-") as folder:
        url = server.create_database("matrix")
        migrate(url)
        with open_lab(url, Path(folder)) as lab:
            fixed: Iterable[Schedule] = () if options.only_random else chain.from_iterable(p() for p in PARTS.values())
            played = play_all(lab, [*fixed, *randomly(options.seed, options.schedules)])
            for workers in () if options.only_random else WITH_LEDGER_KILLED:
                played += play_with_ledger_killed(lab, server, workers)
            bugs = [] if options.only_random else play_bugs(lab)
    for game in played:
        if not game.count.clean:
            print(game)
    result = _result(played, bugs, options.seed)
    print(json.dumps(result))
    counted = (result[key] for key in ("lost", "doubled", "outside_plan", "wrong_ends"))
    return int(any(counted) or result["bugs"] != result["bugs_caught"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--schedules", type=int, default=200, help="random ones, beside the deterministic ones")
    parser.add_argument("--only-random", action="store_true", help="neither the deterministic ones nor seeded bugs")
    return parser.parse_args()


def _result(played: list[Played], bugs: list[Played], seed: int) -> dict[str, object]:
    return {
        "schedules": len(played),
        "kinds": dict(Counter(kind for game in played for kind in game.schedule.kinds)),
        "lost": sum(game.count.lost for game in played),
        "doubled": sum(game.count.doubled for game in played),
        "outside_plan": sum(game.count.outside_plan for game in played),
        "wrong_ends": sum(game.count.wrong_ends for game in played),
        "bugs": len(BUGS) if bugs else 0,
        "bugs_caught": len({game.bug for game in bugs if not game.count.clean}),
        "seed": seed,
    }


if __name__ == "__main__":
    sys.exit(main())
