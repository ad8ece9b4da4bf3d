"""Two workers race, with two runbooks for each target and every run twice: each effect is seen exactly once.

Who counts is the kernel of the patient host, and whatever is deleted is followed by another file of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.alertmanager import AlertmanagerProcess
from lab.full_disk import FullDisk
from lab.installation import Installation
from lab.patient_host import PatientHost
from lab.witness import WRITTEN_AFTERWARDS, Seen, Witness, directories_below
from nightshift.remediation.ledger.journal import Kind, Row

pytestmark = pytest.mark.timeout(400)

Disk = Callable[[int], FullDisk]


@pytest.fixture
def disk(patient: PatientHost) -> Disk:
    """Fills one of the small filesystems."""
    return lambda number: FullDisk(patient, f"/kill{number}")


@contextmanager
def watched(disks: list[FullDisk]) -> Iterator[Seen]:
    """What happens to the files of these filesystems, as the kernel tells."""
    places: dict[str, Path] = {}
    for disk in disks:
        places |= dict(directories_below(disk.host.path(disk.mount), disk.mount))
    with Witness(places, lambda path: not path.endswith(".sha256")) as witness:
        yield witness.seen
        witness.check()


def labels(disk: FullDisk, alert: str) -> dict[str, str]:
    return {"alertname": alert, "system": "shop", "instance": "web1", "mountpoint": disk.mount}


def incident(installation: Installation, disk: FullDisk, alert: str) -> int:
    return int(installation.incident(alert, f"%2F{disk.mount.strip('/')}").id)


def intended(rows: list[Row]) -> set[str]:
    listed = [row.entry["action"]["arguments"]["files"] for row in rows if row.kind is Kind.INTENT]
    return {file["path"] for files in listed for file in files}


def assert_each_effect_once(installation: Installation, disk: FullDisk, seen: Seen, *numbers: int) -> None:
    """Repaired by what the plans of these incidents listed, each file once; all else is as it was."""
    rows = sorted(
        (row for number in numbers for row in installation.ledger.journal.of(number)), key=lambda row: row.sequence
    )
    deleted = {path: times for path, times in seen.deleted.items() if path.startswith(f"{disk.mount}/")}
    story = "\n".join(installation.report(number) for number in numbers)
    assert deleted, story
    assert set(deleted.values()) == {1}, deleted
    assert deleted.keys() <= intended(rows), story
    assert [path for path in seen.otherwise if path.startswith(f"{disk.mount}/")] == []
    now = disk.seen()
    for path, before in disk.before.items():
        if path not in deleted:
            assert now[path] == before
        elif not path.endswith(".sha256"):
            assert disk.host.path(path).read_bytes() == WRITTEN_AFTERWARDS
    assert now.keys() <= disk.before.keys()
    assert disk.used_percent <= 60.5, story
    fences = [row.fence for row in rows if row.fence is not None]
    assert fences == sorted(fences), "an older holder of the lease acted after a newer one"
    assert all(installation.ledger.journal.unsettled(number) == [] for number in numbers)


def test_two_workers_two_runbooks_and_every_run_twice_make_one_repair_of_each_target(
    installation: Installation, alertmanager: AlertmanagerProcess, disk: Disk
) -> None:
    disks = [disk(30), disk(31)]
    with watched(disks) as seen, installation.second_worker() as second:
        installation.wait(
            lambda: "started" in (installation.home / "logs/second-worker.log").read_text(), "second worker"
        )
        for full in disks:
            for alert in ("DiskAlone", "DiskTwin"):
                alertmanager.fire(labels(full, alert))
        pairs = {full.mount: [incident(installation, full, a) for a in ("DiskAlone", "DiskTwin")] for full in disks}
        for number in (number for pair in pairs.values() for number in pair):
            installation.start_again(number)

        for full in disks:
            outcomes = [installation.ended(number).outcome for number in pairs[full.mount]]
            story = "\n".join(installation.report(number) for number in pairs[full.mount])
            assert set(outcomes) <= {"resolved", "expected"}, story
            assert_each_effect_once(installation, full, seen, *pairs[full.mount])
        assert second.is_running()
