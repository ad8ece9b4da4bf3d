"""The same looks and changes on a host over SSH, with its own systemd, journal and package cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import troubles
from lab.patient_host import MIB, PatientHost
from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.host import Host, open_host
from nightshift.remediation.clients.host_probe.disk import diagnose_disk_space, read_usage
from nightshift.remediation.clients.host_probe.disk_changes import (
    clean_package_cache,
    cut_log,
    observe_journal,
    observe_package_cache,
    release_deleted_file,
    vacuum_journal,
)
from nightshift.remediation.disk_space.arguments import (
    CleanPackageCache,
    CutLog,
    ListedFile,
    ReleaseDeletedFile,
    VacuumJournal,
)
from nightshift.remediation.disk_space.diagnosis import DiskSpaceDiagnosis
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.errors import TargetChangedError

PLENTY = 1 << 40
POLICY = DiskSpacePolicy.model_validate(
    {"live_logs": [{"directory": "/data/log", "patterns": ["*.log"], "larger_than": "1MiB", "keep_tail": "64KiB"}]}
)


@pytest.fixture(scope="module")
def patient() -> Iterator[PatientHost]:
    with PatientHost({"/data": 64 * MIB, "/var": 128 * MIB}) as host:
        yield host


@pytest.fixture(scope="module")
def remote(patient: PatientHost) -> Iterator[Host]:
    with open_host("patient", patient.connection()) as host:
        yield host


def look(host: Host, mount: str) -> DiskSpaceDiagnosis:
    return diagnose_disk_space(host, mount, POLICY, interval=0)


def archived(patient: PatientHost) -> int:
    return sum(file.stat().st_blocks * 512 for file in Path(patient.path("/var/log/journal")).glob("*/*@*"))


def test_a_log_of_a_service_is_cut_while_it_is_written(patient: PatientHost, remote: Host) -> None:
    unit = troubles.runaway_log(patient, size=8 * MIB)
    log = patient.path("/data/log/shop.log")

    (file,) = look(remote, "/data").live_logs[0].files
    arguments = CutLog(root="/data/log", file=ListedFile.of(file), keep_tail=64 * 1024)
    freed = cut_log(remote, arguments, max_bytes=PLENTY)

    assert [holder.unit for holder in file.open_by] == [unit]
    assert freed.method == "collapse"
    assert freed.freed_bytes > 7 * MIB
    assert log.stat().st_size < 4 * MIB
    assert b"\0" not in log.read_bytes()
    patient.run("systemctl", "is-active", unit)
    patient.run("systemctl", "stop", unit)


def test_a_deleted_log_of_a_service_gives_its_space_back(patient: PatientHost, remote: Host) -> None:
    unit = troubles.deleted_open_file(patient, size=8 * MIB)
    before = read_usage(remote, "/data").used_bytes

    (file,) = look(remote, "/data").deleted_open
    freed = release_deleted_file(remote, ReleaseDeletedFile.of(file), max_bytes=PLENTY)

    assert (file.path, file.process.unit) == ("/data/log/worker.log", unit)
    assert freed.freed_bytes == 8 * MIB
    assert before - read_usage(remote, "/data").used_bytes == 8 * MIB
    patient.run("systemctl", "is-active", unit)
    patient.run("systemctl", "stop", unit)


def test_the_journal_keeps_what_the_policy_says(patient: PatientHost, remote: Host) -> None:
    really = troubles.fill_journal(patient, 24 * MIB)
    fact = look(remote, "/var").journal
    assert fact is not None
    assert fact.archived == really
    arguments = VacuumJournal(directory=fact.directory, keep=fact.allocated - fact.archived + 8 * MIB)
    assert observe_journal(remote, arguments) is Observation.NOT_DONE

    freed = vacuum_journal(remote, arguments, max_bytes=PLENTY)

    assert observe_journal(remote, arguments) is Observation.DONE
    assert freed.freed_bytes == really - archived(patient)
    assert 0 < archived(patient) <= 8 * MIB
    assert look(remote, "/data").journal is None


def test_the_journal_loses_no_more_than_was_approved(patient: PatientHost, remote: Host) -> None:
    before = troubles.fill_journal(patient, 24 * MIB)
    arguments = VacuumJournal(directory="/var/log/journal", keep=0)

    freed = vacuum_journal(remote, arguments, max_bytes=9 * MIB)

    assert 0 < freed.freed_bytes <= 9 * MIB
    assert archived(patient) == before - freed.freed_bytes


def test_the_package_cache_is_emptied_by_the_package_manager(patient: PatientHost, remote: Host) -> None:
    paths = troubles.package_cache(patient, count=3, size=MIB)
    fact = look(remote, "/var").package_cache
    assert fact is not None
    assert (fact.allocated, fact.files) == (3 * MIB, 3)
    arguments = CleanPackageCache(manager=fact.manager, directory=fact.directory)
    assert observe_package_cache(remote, arguments) is Observation.NOT_DONE

    with pytest.raises(TargetChangedError, match="grew beyond the approved"):
        clean_package_cache(remote, arguments, max_bytes=MIB)
    freed = clean_package_cache(remote, arguments, max_bytes=PLENTY)

    assert freed.freed_bytes == 3 * MIB
    assert not any(patient.path(path).exists() for path in paths)
    assert observe_package_cache(remote, arguments) is Observation.DONE
