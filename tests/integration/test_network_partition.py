"""A worker that is cut off from the ledger in the middle of its work stops before its lease can pass to another."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from lab.contender import Contender
from lab.flaky_network import FlakyNetwork, Weather
from lab.postgres import PostgresServer
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Severity, Target

LINES = 5
AFTER = 2
"""The network breaks while this line is written."""


@dataclass(frozen=True)
class Break:
    """When the network breaks, by what the worker says, and how."""

    name: str
    weather: Weather
    at: Callable[[bytes], bool]
    """Whether the worker says now what it is cut off at; asked from the intent of the chosen line on."""
    later: float = 0.0
    """Seconds after that."""
    lines: int = LINES
    """How many the worker wants to write."""


def _commits(said: bytes) -> bool:
    return b"COMMIT" in said


BREAKS = [
    Break("in the transaction of the intent", Weather.STALL, lambda _said: True),
    Break("the commit of the intent does not arrive", Weather.STALL, _commits),
    Break("the commit of the intent is not answered", Weather.STALL_ANSWERS, _commits),
    Break("during the act", Weather.GONE, _commits, later=0.02),
    Break("the outcome is not answered", Weather.STALL_ANSWERS, lambda said: b'"summary"' in said),
    Break("while the claim is renewed", Weather.STALL, lambda said: b"greatest" in said, lines=16),
    Break("reset in the transaction of the intent", Weather.RESET, lambda _said: True),
]


class Case:
    """One notebook, the worker that is cut off, and one that wants the same target all the while."""

    def __init__(self, database_url: str, folder: Path, number: int, broken: Break) -> None:
        self.database_url, self.broken = database_url, broken
        self.ledger = Ledger.connect(database_url)
        self.notebook = folder / f"notebook{number}"
        self.target = Target(system="shop", path=("host", f"web{number}"))
        self.mine, self.other = (self._incident(runbook) for runbook in ("Mine", "Other"))
        self.broke_at = 0.0

    def _incident(self, runbook: str) -> int:
        with self.ledger.engine.begin() as connection:
            trouble = Trouble("shop", runbook, "f", self.target, Severity.WARNING, "t")
            return self.ledger.incidents.open(connection, trouble)[0]

    def worker(self, who: str, incident: int, attempt: int, url: str) -> BaseProcess:
        lines = tuple(f"{incident}-{number}" for number in range(self.broken.lines))
        return Contender(who, url, incident, attempt, self.target.key, self.notebook, lines).start()

    @property
    def record(self) -> list[tuple[float, str, str, str]]:
        path = self.notebook.with_suffix(".record")
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, who: str, what: str) -> None:
        give_up_at = time.monotonic() + 60
        while not any(entry[1:3] == (who, what) for entry in self.record):
            assert time.monotonic() < give_up_at, f"{self.broken.name}: {who} has not {what}: {self.record}"
            time.sleep(0.05)

    def run(self) -> float:
        """Play it; returns how many seconds lay between the last effect of the one and the lease of the other."""
        with FlakyNetwork.before(self.database_url) as network:
            cut_off = self.worker("cut off", self.mine, 1, network.url(self.database_url))
            self.wait_for("cut off", "granted")
            network.watch = self._break(network)
            other = self.worker("other", self.other, 1, self.database_url)
            self.wait_for("other", "finished")
            network.become(Weather.PASS)
            network.reset()
            cut_off.join(60)
            other.join(30)
            assert other.exitcode == 0
        self._next_attempt()
        self._assert_all_once()
        self.ledger.close()
        granted = next(entry[0] for entry in self.record if entry[1:3] == ("other", "granted"))
        theirs = [entry[0] for entry in self.record if entry[1:3] == ("cut off", "wrote")]
        assert [at for at in theirs if at >= granted] == [], self.broken.name
        assert self.broke_at, f"{self.broken.name}: never came to it"
        return granted - max(theirs)

    def _break(self, network: FlakyNetwork) -> Callable[[bytes], None]:
        intended = f'"{self.mine}-{AFTER}"'.encode()
        seen = False

        def watch(said: bytes) -> None:
            nonlocal seen
            seen = seen or intended in said
            if seen and not self.broke_at and self.broken.at(said):
                self.broke_at = time.monotonic()
                if self.broken.later:
                    threading.Timer(self.broken.later, network.become, (self.broken.weather,)).start()
                else:
                    network.become(self.broken.weather)

        return watch

    def _next_attempt(self) -> None:
        give_up_at = time.monotonic() + 30
        while (row := self.ledger.incidents.get(self.mine)) is not None and row.attempt == 1:
            assert time.monotonic() < give_up_at
            with self.ledger.engine.begin() as connection:
                for lost in self.ledger.incidents.lost(connection, limit=1):
                    if lost.id == self.mine:
                        self.ledger.incidents.try_again(connection, lost, "cut off", 0)
            time.sleep(0.1)
        following = self.worker("next", self.mine, 2, self.database_url)
        following.join(60)
        assert following.exitcode == 0

    def _assert_all_once(self) -> None:
        wanted = {f"{incident}-{number}" for incident in (self.mine, self.other) for number in range(self.broken.lines)}
        written = self.notebook.read_text().splitlines()
        assert sorted(written) == sorted(wanted), f"{self.broken.name}: {self.record}"
        assert self.ledger.journal.unsettled(self.mine) == []
        done = [row.action_id for row in self.ledger.journal.of(self.mine) if row.kind is Kind.DONE]
        assert len(done) == len(set(done)) == self.broken.lines
        assert self.ledger.journal.first_broken_link() is None


@pytest.fixture
def databases(postgres: PostgresServer) -> Iterator[list[str]]:
    """A ledger for each case: whoever is cut off holds up the others of its own for a while."""
    names = [f"partition_{number}" for number in range(len(BREAKS))]
    yield [postgres.create_database(name, template="migrated") for name in names]
    for name in names:
        postgres.drop_database(name)


def test_a_partitioned_worker_stops_before_its_lease_passes_and_nothing_is_done_twice_or_lost(
    databases: list[str], tmp_path: Path
) -> None:
    cases = [Case(databases[number], tmp_path, number, broken) for number, broken in enumerate(BREAKS)]
    with ThreadPoolExecutor(len(cases)) as threads:
        margins = list(threads.map(Case.run, cases))

    for case, margin in zip(cases, margins, strict=True):
        print(f"{margin:6.2f} s between its last effect and the other's lease: {case.broken.name}")  # noqa: T201
