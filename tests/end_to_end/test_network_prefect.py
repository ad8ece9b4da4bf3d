"""The network between a worker and Prefect breaks while flows work; it counts what is gone from the patient's disks."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab.flaky_network import FlakyNetwork, Weather
from lab.full_disk import FullDisk
from lab.installation import Installation
from lab.patient_host import PatientHost
from nightshift.remediation.ledger.journal import Kind
from nightshift.running.up import WORKER
from tests.end_to_end.test_kills import Case, assert_prefect_knows_of_no_run_at_work

pytestmark = pytest.mark.timeout(300)

WEATHERS = {"stalled": (Weather.STALL,), "reset, then refused": (Weather.RESET, Weather.GONE)}
OUTAGE_SECONDS = 20.0


@pytest.fixture(scope="module")
def network(installation: Installation) -> Iterator[FlakyNetwork]:
    """Between Prefect's API and the only worker: another one, while the installation's own stands still."""
    url = installation.settings.prefect_api_url
    assert url is not None
    log = installation.home / "logs/second-worker.log"
    before = log.stat().st_size if log.exists() else 0
    with (
        FlakyNetwork.before(url) as network,
        installation.second_worker(PREFECT_API_URL=network.url(url)) as second,
    ):
        installation.wait(lambda: b"started" in log.read_bytes()[before:], "second worker")
        with installation.standing_still(WORKER):
            yield network
            network.become(Weather.PASS)
        assert second.is_running(), log.read_text()


class Outage:
    """Begins when two flows have claimed their incidents: from then on they work, and have not said so to Prefect."""

    def __init__(self, network: FlakyNetwork, *weathers: Weather) -> None:
        self._network, self._weathers = network, weathers
        self.began: float | None = None

    def begin(self) -> None:
        """From now on."""
        self.began = time.monotonic()
        self._network.become(self._weathers[0])

    def turn(self) -> None:
        """After half of its time it gets worse, or stays as it is."""
        self._last(OUTAGE_SECONDS / 2)
        self._network.become(self._weathers[-1])

    def end(self) -> None:
        """Until it has lasted long enough; then the network is as it was."""
        self._last(OUTAGE_SECONDS)
        self._network.become(Weather.PASS)

    def _last(self, seconds: float) -> None:
        assert self.began is not None
        time.sleep(max(0, self.began + seconds - time.monotonic()))


@pytest.mark.parametrize("how", WEATHERS)
def test_a_flow_cut_off_from_prefect_goes_on_and_what_needs_prefect_goes_on_afterwards(
    installation: Installation, network: FlakyNetwork, patient: PatientHost, how: str
) -> None:
    first = 1 + 4 * list(WEATHERS).index(how)
    disks = [FullDisk(patient, f"/cut{number}") for number in range(first, first + 4)]
    alerts = ("DiskAsks", "DiskAlone", "DiskAsks", "DiskAlone")
    waiting, acting, asking, late = (Case(installation, disk, alert) for disk, alert in zip(disks, alerts, strict=True))
    installation.post(waiting.labels)
    waiting.wait_until_suspended()

    outage = Outage(network, *WEATHERS[how])
    installation.post(acting.labels, asking.labels)
    installation.wait(lambda: acting.count(Kind.CLAIMED) and asking.count(Kind.CLAIMED), "two flows at work")
    outage.begin()
    installation.post(late.labels)
    waiting.approve()
    outage.turn()

    # What needs nothing of Prefect goes on without it: several actions, the watch, the end.
    acting.assert_ended_well(attempts=1)
    assert acting.count(Kind.DONE) > 1
    assert late.disk.gone == waiting.disk.gone == asking.disk.gone == set()
    assert late.count(Kind.CLAIMED) == 0
    outage.end()

    installation.wait(lambda: late.count(Kind.CLAIMED), "new run after the outage", timeout=20)
    for each in (waiting, late):
        each.assert_ended_well(attempts=1)
    asking.wait_until_suspended()
    assert asking.count(Kind.ASKED) == 1
    asking.approve()
    asking.assert_ended_well(attempts=1)
    assert_prefect_knows_of_no_run_at_work(installation)
