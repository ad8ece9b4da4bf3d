"""An installation whose services are killed, its patient, and the troubles that are reported to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
import psutil
from sqlalchemy import func, update

from lab.arrests import Arrests, Standing
from lab.installation import Installation
from lab.patient_host import PatientHost
from lab.services.shop import ALONE, SIZE, Count, Disk, count, witness_of, write_catalogue
from lab.witness import Witness
from nightshift.remediation.ledger import schema
from nightshift.remediation.models import Outcome

CLAIM_SECONDS = 30
_WELL = (Outcome.RESOLVED, Outcome.EXPECTED)
_LONGEST_START_SECONDS = 300.0
"""Of some forty flow runs at once."""
_LONGEST_END_SECONDS = 300.0


@dataclass(eq=False)
class Case:
    """A full disk and what was reported of it."""

    disk: Disk
    witness: Witness
    alert: str = ALONE
    incidents: dict[str, int] = field(default_factory=dict)
    """Numbers, by the name of the alert."""

    @property
    def incident(self) -> int:
        """The first one."""
        return self.incidents[self.alert]


class Night:
    """Everything that is there while services are killed.

    Args:
        disks: how many will be needed.
    """

    def __init__(self, disks: int) -> None:
        self._mounts = [f"/disk{number}" for number in range(1, disks + 1)]
        self._stack = ExitStack()
        self._stood: dict[str, int] = {}
        """Processes that stood when a service was killed, by flow run."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._host = stack.enter_context(PatientHost(dict.fromkeys(self._mounts, SIZE)))
            limits = {"NIGHTSHIFT_ACTIONS_PER_HOUR": "100000", "NIGHTSHIFT_CLAIM_SECONDS": str(CLAIM_SECONDS)}
            self.installation = stack.enter_context(Installation("nightshift-services-", **limits))
            self.arrests = Arrests(self.installation.home / "faults")
            self.arrests.folder.mkdir()
            write_catalogue(self.installation.catalogue, self._host)
            self.installation.up(NIGHTSHIFT_FAULTS=str(self.arrests.folder))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def cases(self, alerts: Sequence[str]) -> list[Case]:
        """A full disk for each of these alerts, watched from now on."""
        disks = [Disk(self._host, self._mounts.pop()) for _ in alerts]
        witness = self._stack.enter_context(witness_of(disks))
        return [Case(disk, witness, alert) for disk, alert in zip(disks, alerts, strict=True)]

    def report(self, cases: Sequence[Case], alert: str | None = None) -> None:
        """Let their alerts fire, all in one delivery, and learn the numbers of their incidents."""
        self.deliver(cases, alert)
        for case in cases:
            self.learn_number(case, alert or case.alert)

    def deliver(self, cases: Sequence[Case], alert: str | None = None) -> None:
        """Let their alerts fire, as far as to the gateway's word that it has them."""
        self.installation.post(*(case.disk.labels(alert or case.alert) for case in cases)).raise_for_status()

    def learn_number(self, case: Case, alert: str) -> None:
        """Wait until an alert has an incident."""
        case.incidents[alert] = int(self.installation.incident(alert, f"%2F{case.disk.mount.strip('/')}").id)

    def start_again(self, cases: Sequence[Case]) -> None:
        """Have a second run made for each, as when the first is believed lost and is not."""
        for case in cases:
            self.installation.start_again(case.incident)

    def standing(self, cases: Sequence[Case], point: str, alert: str | None = None) -> dict[Case, Standing]:
        """Wait until the runs that claimed these cases stand at this point."""
        found: dict[Case, Standing] = {}

        def all_stand() -> bool:
            self.let_time_pass(cases)
            by_run = {standing.flow_run: standing for standing in self.arrests.at(point)}
            for case in cases:
                row = self.installation.ledger.incidents.get(case.incidents[alert or case.alert])
                if row is not None and str(row.flow_run_id) in by_run:
                    found[case] = by_run[str(row.flow_run_id)]
            return len(found) == len(cases)

        self.installation.wait(
            all_stand,
            f"runs of {[case.incident for case in cases if case not in found]} at {point}",
            timeout=_LONGEST_START_SECONDS,
        )
        return found

    def wait_for(self, standing: Sequence[Standing]) -> None:
        """Wait until they all stand where they were sent."""
        for one in standing:
            self.installation.wait(partial(self.arrests.has_come, one), f"{one.point} of {one.pid}")

    def wait_until_asked(self, case: Case) -> None:
        """Wait until a person is asked about it."""

        def asked() -> bool:
            row = self.installation.ledger.incidents.get(case.incident)
            return row is not None and row.status == "waiting"

        self.installation.wait(asked, f"question about incident {case.incident}")

    def finish(self, cases: Sequence[Case]) -> None:
        """Wait until these have ended, or a long time has passed."""
        give_up_at = time.monotonic() + _LONGEST_END_SECONDS
        while (left := [case for case in cases if not self.has_ended(case)]) and time.monotonic() < give_up_at:
            self._approve(left)
            self.let_time_pass(left)
            time.sleep(1)

    def wait_for_rest(self) -> None:
        """Wait until Prefect shows no run of an incident as at work: none that died does so for ever.

        Not those of a schedule: whether one is due while a worker is killed depends on the time of day.
        """
        states = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}
        busy = {"flow_runs": {"state": states, "name": {"like_": "incident "}}}
        url = f"{self.installation.settings.prefect_api_url}/flow_runs/filter"
        self.installation.wait(lambda: httpx.post(url, json=busy, trust_env=False).json() == [], "rest in Prefect")

    def has_ended(self, case: Case) -> bool:
        """All that was reported of it."""
        rows = (self.installation.ledger.incidents.get(number) for number in case.incidents.values())
        return all(row is not None and row.status == "ended" for row in rows)

    def _approve(self, cases: Sequence[Case]) -> None:
        for case in cases:
            row = self.installation.ledger.incidents.get(case.incident)
            if row is not None and row.status == "waiting":
                self.installation.cli("approve", str(case.incident), "--yes", "--comment", "go ahead", check=False)

    def let_time_pass(self, cases: Sequence[Case]) -> None:
        """Let claims and leases of runs that died where they stood run out now: that they do is proven elsewhere.

        Nothing that such a run began is still at work on the target: where it stood, no command was under way.
        """
        incident, lease = schema.incident, schema.lease
        numbers = [number for case in cases for number in case.incidents.values()]
        dead = [UUID(run) for run, pid in self._stood.items() if not psutil.pid_exists(pid)]
        theirs = incident.c.id.in_(numbers) & incident.c.flow_run_id.in_(dead)
        held = theirs & incident.c.status.in_(("working", "verifying"))
        with self.installation.ledger.engine.begin() as connection:
            run_out = update(incident).where(held).values(claimed_until=func.now()).returning(incident.c.id)
            found = connection.execute(run_out).scalars().all()
            connection.execute(update(lease).where(lease.c.incident_id.in_(found)).values(seconds=0.5))

    def remember(self, runs: Sequence[Standing]) -> None:
        """Note who stood when a service was killed."""
        self._stood |= {run.flow_run: run.pid for run in runs}

    def count(self, case: Case) -> Count:
        """What the kernel saw happen to a disk, compared with what was planned."""
        journal = self.installation.ledger.journal
        rows = [row for number in case.incidents.values() for row in journal.of(number)]
        return count(case.disk, case.witness.seen, rows)

    def wrong_ends(self, case: Case) -> list[str]:
        """Nobody but services was disturbed: everything must end well, and no action may be left open."""
        ledger, words = self.installation.ledger, []
        for number in case.incidents.values():
            row = ledger.incidents.get(number)
            if row is None or row.outcome not in _WELL:
                how = "is lost" if row is None else f"ended as {row.outcome or row.status}"
                words.append(f"incident {number} {how}:\n{self.installation.report(number)}")
            words += [f"incident {number}: an action is left open"] * bool(ledger.journal.unsettled(number))
        return words
