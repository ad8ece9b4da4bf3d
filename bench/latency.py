"""From an alert to the first task: how long it takes with our worker, with Prefect's own, and with a peer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.floor import WATCHED, Floor, labels
from bench.posting import Sender, body
from bench.rulebook import RULEBOOK, Rulebook
from bench.runs import Records, TookTooLongError, wait_for
from lab.installation import Installation
from nightshift.remediation.ledger.journal import Kind

OURS = "nightshift"
_LONGEST_SECONDS = 60.0
_PAUSE_SECONDS = (0.3, 1.3)
"""Random, so that alerts do not keep step with polls."""


@dataclass
class Way:
    """One alert's way, in seconds since just before it was posted."""

    accepted: float
    """The gateway answered 202."""
    sent: float
    """The event went to Prefect."""
    created: float
    """Prefect made the flow run."""
    begun: float
    """The flow run was running."""
    first_task: float
    """Its first diagnostic task was running: what is measured."""
    diagnosed: float
    """The diagnosis is in the ledger."""


@dataclass
class Bench:
    """What the latency part needs."""

    installation: Installation
    records: Records
    floor: Floor
    deployment: dict[str, Any]
    say: Callable[[str], None]
    rulebook: Rulebook | None = None
    """Event-Driven Ansible beside us, where it is installed."""
    ways: dict[str, list[Way]] = field(default_factory=dict)
    firsts: dict[str, list[float]] = field(default_factory=dict)
    """Seconds to the first task, by pool, and of Ansible by its own name."""
    lost: list[str] = field(default_factory=list)
    """Alerts that did not come to their end as they should, and why."""

    def first(self, name: str) -> float:
        """One alert for a pool, or for Ansible; seconds to the first task.

        Raises:
            TookTooLongError: a step did not come.
            LookupError: it ended otherwise than it should.
        """
        time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311 - no secret
        seconds = self.rulebook.one() if self.rulebook and name == RULEBOOK else self.one(name).first_task
        self.firsts.setdefault(name, []).append(seconds)
        return seconds

    def one(self, pool: str) -> Way:
        """One alert about a fresh filesystem, repaired by a worker of this pool; waits until the run is over.

        Raises:
            TookTooLongError: a step did not come.
            LookupError: the run ended otherwise than it should.
        """
        self.records.assign(self.deployment["id"], pool)
        (mount,) = self.floor.mounts(1)
        with Sender(self.installation.settings) as sender:
            content = body([labels(WATCHED, mount)])
            begun = time.time()
            status = sender.post(content)
            accepted = time.time()
        if status != 202:
            raise LookupError(f"the gateway answered {status}")
        way = self._way(mount, begun, accepted)
        self.ways.setdefault(pool, []).append(way)
        return way

    def _way(self, mount: str, begun: float, accepted: float) -> Way:
        def ended() -> Any:
            row = self.records.incidents(WATCHED, [mount]).get(mount)
            return row if row is not None and row.status == "ended" else None

        incident = wait_for("the end of the incident", _LONGEST_SECONDS, ended)
        if incident.outcome != "escalated" or incident.attempt != 1:
            raise LookupError(f"incident {incident.id} ended as {incident.outcome}, attempt {incident.attempt}")
        run_id = str(incident.flow_run_id)

        def over() -> Any:
            (run,) = self.records.flow_runs([run_id])
            return run if run.is_over else None

        run = wait_for("the end of the flow run", _LONGEST_SECONDS, over)
        first = wait_for("the first task", _LONGEST_SECONDS, lambda: self.records.first_task(run_id))
        sent = self.records.moment(incident.id, Kind.DISPATCHED)
        diagnosed = self.records.moment(incident.id, Kind.DIAGNOSED)
        if sent is None or diagnosed is None or run.started is None:
            raise LookupError(f"incident {incident.id} has no complete record")
        moments = (accepted, sent, run.created, run.started, first, diagnosed)
        return Way(*(moment - begun for moment in moments))


def rounds(bench: Bench, counts: Mapping[str, int], *, warm_up: int, until: float) -> None:
    """Alerts for each in turn, spread evenly, so that what else the machine does hits all alike.

    Args:
        bench: where.
        counts: how many alerts for each pool, and for Ansible by its own name.
        warm_up: alerts for our worker before, which do not count.
        until: moment of the monotonic clock after which no other round begins, but the first of each pool.
    """
    for _ in range(warm_up):
        bench.first(OURS)
    bench.ways.clear()
    bench.firsts.clear()
    turns = sorted((number / count, name) for name, count in counts.items() for number in range(count))
    for _, name in turns:
        if time.monotonic() > until and bench.firsts.get(name):
            continue
        try:
            seconds = bench.first(name)
        except (TookTooLongError, LookupError) as error:
            bench.lost.append(f"{name}: {error}")
            bench.say(bench.lost[-1])
        else:
            bench.say(f"{name}: {seconds:.2f} s to the first task")
