"""The fault matrix at length: every deterministic schedule, random ones, and every seeded bug.

    python bench/faults.py --seed 7 --schedules 300
    python bench/faults.py --services

Prints each schedule after which the patient was not as it should be. The last line is JSON: how many schedules were
played, with which kinds of fault, what was lost, doubled or done outside the plan, and how many of the seeded bugs were
caught. Ends with 1 when anything of it is wrong. With ``--services`` it is a whole installation instead (as root): each
service is killed while runs stand at every step of the gate, with one worker and with two.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from itertools import chain, product
from pathlib import Path

from lab.postgres import PostgresServer
from lab.services.night import Night
from lab.services.rounds import DISKS, SERVICES, play
from lab.ward.bugs import BUGS
from lab.ward.matrix import PARTS, Played, play_all, play_bugs
from lab.ward.play import open_lab
from lab.ward.schedule import Schedule, randomly
from nightshift.remediation.ledger import migrate


def main() -> int:
    """Play everything; the exit code."""
    options = _options()
    if options.services:
        return _services([options.workers] if options.workers else [1, 2])
    print(f"seed {options.seed}")
    with PostgresServer() as server, tempfile.TemporaryDirectory(prefix="nightshift-ward-") as folder:
        url = server.create_database("matrix")
        migrate(url)
        with open_lab(url, Path(folder)) as lab:
            fixed: Iterable[Schedule] = () if options.only_random else chain.from_iterable(p() for p in PARTS.values())
            played = play_all(lab, [*fixed, *randomly(options.seed, options.schedules)])
            bugs = [] if options.only_random else play_bugs(lab)
    for game in played:
        if not game.count.clean:
            print(game)
    result = _result(played, bugs, options.seed)
    print(json.dumps(result))
    counted = (result[key] for key in ("lost", "doubled", "outside_plan", "wrong_ends"))
    return int(any(counted) or result["bugs"] != result["bugs_caught"])


def _services(workers_in_turn: list[int]) -> int:
    """Kill each service at every step, with so many workers in turn; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends it early leaves nothing running
    rounds = []
    with Night(len(workers_in_turn) * len(SERVICES) * DISKS) as night:
        for workers, service in product(workers_in_turn, SERVICES):
            played = play(night, service, workers=workers)
            rounds.append(played)
            print(f"{service}, workers: {workers}, runs that stood: {len(played.steps)}", *played.words, sep="\n  ")
        broken = night.installation.ledger.journal.first_broken_link()
    counts = [count for played in rounds for count in played.counts]
    result = {
        "schedules": sum(len(played.steps) for played in rounds),
        "rounds": len(rounds),
        "lost": sum(len(count.lost) for count in counts),
        "doubled": sum(len(count.doubled) for count in counts),
        "outside_plan": sum(len(count.outside_plan) for count in counts),
        "wrong_ends": sum(len(played.wrong_ends) for played in rounds),
        "journal": "whole" if broken is None else f"broken at {broken}",
    }
    print(json.dumps(result))
    return int(broken is not None or any(played.words for played in rounds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--schedules", type=int, default=200, help="random ones, beside the deterministic ones")
    parser.add_argument("--only-random", action="store_true", help="neither the deterministic ones nor seeded bugs")
    parser.add_argument("--services", action="store_true", help="kill whole services instead, at every step")
    parser.add_argument("--workers", type=int, choices=(1, 2), help="with --services: only so many workers")
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
