"""Storms: 200 alerts about 200 targets at once, and 1,000 alerts of one cause within 10 seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.consumption import Meter
from bench.floor import EFFECT, REPAIRED, WATCHED, Floor, labels
from bench.posting import Posted, Sender, body, post_all, resolved
from bench.runs import FlowRun, Records, TookTooLongError, wait_for
from bench.timetable import LONGEST_STORM
from lab.installation import Installation
from nightshift.remediation.ledger.journal import Kind

ALERTS, EFFECTS = 200, 1000
_CONNECTIONS = 8
_PER_BODY, _SPAN_SECONDS = 50, 10.0
_LOST_SHOWN = 5


@dataclass
class Storms:
    """What they need."""

    installation: Installation
    records: Records
    floor: Floor
    say: Callable[[str], None]

    def many_targets(self, count: int, *, longest: float = LONGEST_STORM) -> dict[str, Any]:
        """So many alerts, one per body: what was done, in which time, and what it cost.

        Args:
            count: alerts, each with a target of its own.
            longest: seconds after which it is over; what is still at work then is unfinished, not lost.

        Raises:
            TookTooLongError: nothing was done at all.
        """
        mounts = self.floor.mounts(count)
        bodies = [body([labels(WATCHED, mount)]) for mount in mounts]
        with Meter(self.installation) as meter:
            begun = time.time()
            posted = post_all(self.installation.settings, bodies, connections=_CONNECTIONS)
            rows, runs = self._until_over(mounts, longest)
            self._until_processes_ended()
        reports = self.records.artifacts([run.id for run in runs])
        moments = self.records.moments(row.id for row in rows.values())
        good = [run for run in runs if run.state == "COMPLETED" and run.id in reports and run.ended is not None]
        done = {run.id for run in good} & {str(row.flow_run_id) for row in rows.values() if row.outcome == "escalated"}
        at_work = sum(row.status != "ended" and str(row.flow_run_id) not in done for row in rows.values())
        ended = max((run.ended or 0.0 for run in good), default=begun) - begun
        for line in self._not_done(mounts, rows, posted, done)[:_LOST_SHOWN]:
            self.say(line)
        return {
            "seconds": round(ended, 2),
            "cpu_seconds_per_alert": round(meter.cpu / count, 3),
            "peak_mib": round(meter.peak_mib),
            "done": len(done),
            "unfinished": at_work,
            "lost": count - len(done) - at_work,
            "second_attempts": sum(row.attempt > 1 for row in rows.values()),
            "timeline": {
                "accepted": sorted(each.at + each.seconds - begun for each in posted if each.accepted),
                "diagnosed": _since(begun, [said.get(Kind.DIAGNOSED) for said in moments.values()]),
                "reported": _since(begun, [run.ended for run in good]),
                "memory_mib": [(round(at - begun, 1), round(mib)) for at, mib in meter.memory],
            },
        }

    def _until_over(self, mounts: list[str], longest: float) -> tuple[dict[str, Any], list[FlowRun]]:
        """Their incidents and flow runs, once all have ended, or time is up."""
        told = -1
        until = time.monotonic() + longest
        while True:
            rows = self.records.incidents(WATCHED, mounts)
            ended = {mount: row for mount, row in rows.items() if row.status == "ended"}
            if len(ended) // 50 > told:
                told = len(ended) // 50
                self.say(f"{len(ended)} of {len(mounts)} have ended")
            if len(ended) == len(mounts) or time.monotonic() > until:
                break
            time.sleep(0.5)
        ids = [str(row.flow_run_id) for row in rows.values() if row.flow_run_id is not None]
        while True:
            runs = self.records.flow_runs(ids)
            if all(run.is_over for run in runs) or time.monotonic() > until:
                return rows, runs
            time.sleep(0.3)

    def _until_processes_ended(self) -> None:
        """Their processes end a moment after the runs; their costs count."""
        try:
            wait_for("the end of all processes", 30, lambda: not self.installation.flow_processes() or None, every=0.5)
        except TookTooLongError as late:
            self.say(str(late))

    @staticmethod
    def _not_done(mounts: list[str], rows: dict[str, Any], posted: list[Posted], done: set[str]) -> list[str]:
        refused = sum(not each.accepted for each in posted)
        lines = [f"{refused} alerts were not answered with 202"] if refused else []
        for mount in mounts:
            row = rows.get(mount)
            if row is None:
                lines.append(f"{mount}: no incident")
            elif str(row.flow_run_id) not in done:
                lines.append(f"{mount}: incident {row.id}, {row.status} {row.outcome}, attempt {row.attempt}")
        return lines

    def one_cause(self, name: str) -> dict[str, Any]:
        """A full disk, and 999 orders that fail because of it, over ten seconds; the first body holds the cause.

        Raises:
            TookTooLongError: the repair did not begin, or not all alerts were dealt with.
        """
        mount = self.floor.disk()
        before = self.records.newest_incident()
        alerts = [labels(REPAIRED, mount, storm=name)]
        alerts += [labels(EFFECT, mount, storm=name, order=str(number)) for number in range(1, EFFECTS)]
        bodies = [body(alerts[first : first + _PER_BODY]) for first in range(0, EFFECTS, _PER_BODY)]
        begun = time.time()
        refused = self._over_time(bodies)
        incident = wait_for("an incident", 30, lambda: next(iter(self.records.incidents_after(before)), None))
        repair = wait_for("the repair", 60, lambda: self.records.moment(incident, Kind.INTENT))
        wait_for("the last alert", 60, lambda: self._all_looked_at(name))
        accounted = self.records.alerts("storm", name).with_incident
        post_all(self.installation.settings, [resolved(content) for content in bodies], connections=1)
        outcome = wait_for("its end", 90, lambda: self._outcome(incident))
        if refused:
            self.say(f"{refused} bodies were not answered with 202")
        return {
            "incidents": len(self.records.incidents_after(before)),
            "flow_runs": len(self.records.flow_runs_of(incident, begun)),
            "accounted": accounted,
            "seconds_to_repair": round(repair - begun, 3),
            "outcome": outcome,
        }

    def _over_time(self, bodies: list[bytes]) -> int:
        """Post them at even intervals; how many were refused."""
        refused = 0
        begun = time.monotonic()
        with Sender(self.installation.settings) as sender:
            for number, content in enumerate(bodies):
                time.sleep(max(0.0, begun + number * _SPAN_SECONDS / len(bodies) - time.monotonic()))
                refused += not sender.timed(content).accepted
        return refused

    def _outcome(self, incident: int) -> str | None:
        row = self.installation.ledger.incidents.get(incident)
        return None if row is None else row.outcome

    def _all_looked_at(self, name: str) -> bool | None:
        found = self.records.alerts("storm", name)
        return found.taken_in == EFFECTS or None


def _since(begun: float, moments: list[float | None]) -> list[float]:
    return sorted(round(moment - begun, 3) for moment in moments if moment is not None)
