"""What goes on while a part is dead, and what is taken up when it is back; nothing outside the plan is gone.

That each part may be killed while flow runs stand at any step is the subject of ``test_services_killed.py``.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial

import httpx
import psutil
import pytest

from lab.alertmanager import AlertmanagerProcess
from lab.full_disk import FullDisk
from lab.installation import Installation
from lab.patient_host import PatientHost
from nightshift.remediation.ledger.journal import Kind, Row

pytestmark = pytest.mark.timeout(400)


class Case:
    """One full disk, its alert and its incident."""

    def __init__(self, installation: Installation, disk: FullDisk, alert: str = "DiskAlone") -> None:
        self.installation = installation
        self.disk = disk
        self.labels = {"alertname": alert, "system": "shop", "instance": "web1", "mountpoint": disk.mount}

    @cached_property
    def incident(self) -> int:
        """Number of its incident."""
        key = f"%2F{self.disk.mount.strip('/')}"
        return int(self.installation.incident(self.labels["alertname"], key).id)

    @property
    def rows(self) -> list[Row]:
        """Its journal."""
        return self.installation.ledger.journal.of(self.incident)

    @property
    def status(self) -> str:
        """Status of the incident."""
        return str(self.installation.ledger.incidents.get(self.incident).status)  # type: ignore[union-attr]

    def count(self, kind: Kind) -> int:
        """How many rows of this kind its journal has."""
        return sum(row.kind is kind for row in self.rows)

    def wait_until_suspended(self) -> None:
        """A person is asked, and no process waits for the answer."""
        self.installation.wait_for(self.incident, Kind.ASKED)

        def suspended() -> bool:
            state = self.installation.flow_run(self.incident)["state"]["name"]
            return self.status == "waiting" and state == "Suspended"

        self.installation.wait(suspended, f"suspension of incident {self.incident}")

    def approve(self) -> None:
        """A person says yes on the command line."""
        self.installation.cli("approve", str(self.incident), "--yes", "--comment", "go ahead")

    def assert_ended_well(self, attempts: int | None = None) -> None:
        """Repaired, by the plan alone, by one run at a time, with every action settled and counted once."""
        ended = self.installation.ended(self.incident)
        story = self.installation.report(self.incident)
        assert ended.outcome == "resolved", story
        assert attempts is None or ended.attempt == attempts, story
        assert self.disk.used_percent <= 60
        assert self.disk.gone == planned(self.rows, done=True)
        assert self.disk.gone <= {*self.disk.logs, *self.disk.backups.verified[4:], *checksums(self.disk)}
        assert self.disk.spoiled == set()
        assert self.installation.ledger.journal.unsettled(self.incident) == []
        assert_one_at_a_time(self.rows)
        assert self.installation.ledger.journal.first_broken_link() is None


def checksums(disk: FullDisk) -> set[str]:
    """Checksum files of the backups that may go."""
    return {f"{backup}.sha256" for backup in disk.backups.verified[4:]}


def planned(rows: list[Row], *, done: bool) -> set[str]:
    """The files of every action that was intended, or only of those that were done."""
    finished = {row.action_id for row in rows if row.kind is Kind.DONE}
    return {
        file["path"]
        for row in rows
        if row.kind is Kind.INTENT and (not done or row.action_id in finished)
        for file in row.entry["action"]["arguments"]["files"]
    }


def assert_one_at_a_time(rows: list[Row]) -> None:
    """Only the attempt that claimed last acts, fences only grow, and no action is done twice."""
    attempt, fence, done = 0, 0, []
    for row in rows:
        if row.kind is Kind.CLAIMED:
            attempt = row.entry["attempt"]
        if row.kind is Kind.INTENT:
            assert row.entry["attempt"] == attempt, "a run that had lost its claim went on"
        if row.fence is not None:
            assert row.fence >= fence, "an older holder of the lease acted after a newer one"
            fence = row.fence
        if row.kind is Kind.DONE:
            done.append(row.action_id)
    assert len(done) == len(set(done))
    assert done, "nothing was done"


@pytest.fixture
def full_disk(patient: PatientHost) -> Callable[[int], FullDisk]:
    """Fills one of the small filesystems."""
    return lambda number: FullDisk(patient, f"/kill{number}")


@pytest.fixture
def case(installation: Installation, full_disk: Callable[[int], FullDisk]) -> Callable[..., Case]:
    """A case on the small filesystem with this number."""
    return lambda number, alert="DiskAlone": Case(installation, full_disk(number), alert)


def as_they_start(*cases: Case) -> Iterator[tuple[Case, psutil.Process]]:
    """Each case with the process that works on it, in the order in which they begin."""
    waiting = list(cases)
    while waiting:
        case, process = waiting[0].installation.wait(
            lambda: next(((c, p) for c in waiting if (p := c.installation.flow_process_now(c.incident))), None),
            "flow run of another case",
        )
        waiting.remove(case)
        yield case, process


def frozen(points: Mapping[Case, str]) -> dict[Case, psutil.Process]:
    """The processes that work on these cases, each standing still at an injection point of the gate."""
    runs = {}
    for case, process in as_they_start(*points):
        case.installation.arm(points[case], process, signal.SIGSTOP)
        runs[case] = process
    for case, process in runs.items():
        stopped = partial(_is_stopped, process)
        case.installation.wait(stopped, f"incident {case.incident} at {points[case]}")
    return runs


def _is_stopped(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_STOPPED


def test_a_flow_that_dies_before_or_after_its_changes_or_wakes_up_too_late_is_followed_by_one_that_ends_it(
    installation: Installation, alertmanager: AlertmanagerProcess, case: Callable[..., Case]
) -> None:
    scanning, watching, frozen = case(1), case(2), case(3)
    everything = (scanning, watching, frozen)
    for each in everything:
        alertmanager.fire(each.labels)

    runs = {}
    for each, process in as_they_start(*everything):
        runs[each] = process
        if each is scanning:
            process.kill()
        elif each is frozen:
            installation.arm("before_approval", process, signal.SIGSTOP)  # holds no long lease yet
    installation.wait(lambda: watching.status == "verifying", "watching")
    runs[watching].kill()

    # A run that was frozen for longer than its claim wakes up while another one works, and stops by itself.
    installation.wait(lambda: frozen.count(Kind.CLAIMED) == 2, "second attempt at the frozen one")
    runs[frozen].send_signal(signal.SIGCONT)

    for each in everything:
        each.assert_ended_well(attempts=2)
    assert psutil.wait_procs([runs[frozen]], timeout=30)[1] == []


def test_the_worker_killed_before_during_and_after_a_run(
    installation: Installation, alertmanager: AlertmanagerProcess, case: Callable[..., Case]
) -> None:
    orphan, with_its_run, waiting, late = case(10), case(11), case(12, "DiskAsks"), case(13)
    alertmanager.fire(waiting.labels)
    waiting.wait_until_suspended()
    for each in (orphan, with_its_run):
        alertmanager.fire(each.labels)
    dying = frozen({with_its_run: "before_approval"})[with_its_run]  # holds no long lease yet

    installation.kill("worker")
    dying.kill()
    alertmanager.fire(late.labels)
    installation.wait_for(late.incident, Kind.DISPATCHED)
    waiting.approve()
    assert late.disk.gone == waiting.disk.gone == set()
    installation.up()

    # The orphan may end its work alone, or die of having nobody to tell about it.
    for each, attempts in ((orphan, None), (with_its_run, 2), (waiting, 1), (late, 1)):
        each.assert_ended_well(attempts)
    assert_prefect_knows_of_no_run_at_work(installation)


def test_the_gateway_killed_between_any_two_steps(
    installation: Installation, alertmanager: AlertmanagerProcess, case: Callable[..., Case]
) -> None:
    taken, working, decided = case(14), case(15), case(16, "DiskAsks")
    for each in (decided, working):
        alertmanager.fire(each.labels)
    decided.wait_until_suspended()

    gateway = psutil.Process(installation.pid("gateway"))
    answer = installation.post(taken.labels)
    gateway.kill()
    assert answer.is_success, answer.text
    decided.approve()
    working.assert_ended_well(attempts=1)
    assert decided.disk.gone == taken.disk.gone == set()
    installation.up()

    taken.assert_ended_well(attempts=1)
    decided.assert_ended_well(attempts=1)


def test_the_prefect_server_killed_before_during_and_after_a_run(
    installation: Installation, alertmanager: AlertmanagerProcess, case: Callable[..., Case]
) -> None:
    waits_in_ledger, working, asking, waiting = case(17), case(18), case(19, "DiskAsks"), case(20, "DiskAsks")
    alertmanager.fire(waiting.labels)
    waiting.wait_until_suspended()
    for each in (working, asking):
        alertmanager.fire(each.labels)
    stopped = frozen({working: "before_intent", asking: "before_approval"})

    installation.kill("prefect-server")
    for process in stopped.values():
        process.send_signal(signal.SIGCONT)
    alertmanager.fire(waits_in_ledger.labels)
    waiting.approve()
    installation.wait(lambda: working.status == "ended", "end of what needs no server")
    assert waits_in_ledger.status == "open"
    assert waits_in_ledger.disk.gone == waiting.disk.gone == asking.disk.gone == set()
    installation.up()

    working.assert_ended_well(attempts=1)
    waiting.assert_ended_well(attempts=1)
    waits_in_ledger.assert_ended_well(attempts=1)
    asking.wait_until_suspended()
    assert asking.count(Kind.ASKED) == 1
    asking.approve()
    asking.assert_ended_well()
    assert_prefect_knows_of_no_run_at_work(installation)


def assert_prefect_knows_of_no_run_at_work(installation: Installation) -> None:
    """A run of an incident that died does not show as running for ever; a schedule may be due at any time."""
    states = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}
    busy = {"flow_runs": {"state": states, "name": {"like_": "incident "}}}

    def none() -> bool:
        answer = httpx.post(f"{installation.settings.prefect_api_url}/flow_runs/filter", json=busy, trust_env=False)
        answer.raise_for_status()
        return list(answer.json()) == []

    installation.wait(none, "rest in Prefect")
