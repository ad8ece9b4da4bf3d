"""Hosts in trouble and alerts that mean nothing: one clear finding, a page, never a crash, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from lab import troubles
from lab.alertmanager import AlertmanagerProcess
from lab.full_disk import FullDisk
from lab.installation import Installation
from lab.patient_host import MIB, PatientHost
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.journal import Kind

pytestmark = pytest.mark.timeout(300)

CONNECTIONS = {
    "new-key": "it was reinstalled, or someone is in between",
    "wrong-key": "refused",
    "down": "does not answer",
    "hangs": "did not end within",
}
"""Hosts of the catalogue that cannot be worked on, and words of what the report says about each."""
MOUNTS = {
    "/trouble3": "mounted read-only",
    "/trouble4": "mounted read-only",
    "/trouble5": "it runs out of inodes",
    "/nowhere": "no filesystem is mounted there",
}
"""Filesystems on which nothing can be done, and words of what the report says about each."""
HOSTILE = (
    "$(touch /trouble6/owned)",
    "`touch /trouble6/owned`",
    "/trouble6; touch /trouble6/owned",
    "'; drop table journal; --",
    "{{ 7 * 191 }}{% raw %}",
    "<script>alert(1)</script>",
    "/trouble6/../../../etc",
    "\u202egnp.exe\x1b[2J\r\n",
    "x" * 4000,
)


def labels(mount: str, *, instance: str = "web1", name: str = "DiskAlone", system: str = "shop") -> dict[str, str]:
    return {"alertname": name, "system": system, "instance": instance, "mountpoint": mount}


@pytest.fixture(scope="module")
def disks(patient: PatientHost) -> dict[str, FullDisk]:
    """Every filesystem in its trouble, and what was on it before."""
    made = {f"/trouble{number}": FullDisk(patient, f"/trouble{number}") for number in (1, 3, 4, 6)}
    made["/trouble2"] = FullDisk(patient, "/trouble2", percent=100, log_size=2 * MIB)
    troubles.read_only(patient, "/trouble3")
    troubles.damaged(patient, "/trouble4")
    troubles.many_small_files(patient, "/trouble5/sessions", percent=100)
    made["/trouble5"] = FullDisk.as_it_is(patient, "/trouble5")
    return made


@pytest.fixture(scope="module")
def fired(installation: Installation, alertmanager: AlertmanagerProcess, disks: dict[str, FullDisk]) -> Installation:
    """All alerts at once: what has to wait for a time-out waits beside the others."""
    del disks  # the troubles come before the alerts
    for instance in CONNECTIONS:
        alertmanager.fire(labels("/trouble6", instance=instance))
    for mount in (*MOUNTS, "/trouble2"):
        alertmanager.fire(labels(mount))
    alertmanager.fire(labels("/trouble1", instance="german"))
    return installation


def incident_of(installation: Installation, wanted: dict[str, str]) -> int:
    """The incident that an alert with these labels was joined to."""
    alert = schema.alert
    query = select(alert.c.incident_id).where(alert.c.labels == wanted, alert.c.incident_id.is_not(None))

    def found() -> Any:
        with installation.ledger.engine.connect() as connection:
            return connection.execute(query).scalar()

    return int(installation.wait(found, f"incident of {wanted}"))


def assert_handed_to_a_person(installation: Installation, incident: int, words: str) -> None:
    """Ended as escalated, with the finding in the report, and somebody is paged."""
    ended = installation.ended(incident)
    report = installation.report(incident)
    assert ended.outcome == "escalated", report
    assert words in f"{ended.reason} {ended.title}", report
    assert words in report, report
    assert "Nightshift itself failed" not in report
    assert "Traceback" not in report
    assert [page.kind for page in installation.ledger.deliveries.of(incident)] == ["page"], report
    assert not any(row.kind is Kind.INTENT for row in installation.ledger.journal.of(incident))


@pytest.mark.parametrize(("mount", "words"), MOUNTS.items())
def test_a_filesystem_that_cannot_be_repaired_goes_to_a_person(
    fired: Installation, disks: dict[str, FullDisk], mount: str, words: str
) -> None:
    assert_handed_to_a_person(fired, incident_of(fired, labels(mount)), words)
    if mount in disks:
        assert disks[mount].gone == disks[mount].spoiled == set()


@pytest.mark.parametrize(("mount", "instance"), [("/trouble1", "german"), ("/trouble2", "web1")])
def test_neither_another_language_nor_a_disk_without_a_free_byte_hinders_the_repair(
    fired: Installation, disks: dict[str, FullDisk], mount: str, instance: str
) -> None:
    incident = incident_of(fired, labels(mount, instance=instance))

    assert fired.ended(incident).outcome == "resolved", fired.report(incident)
    disk = disks[mount]
    assert disk.used_percent <= 60
    assert disk.gone <= {*disk.logs, *disk.backups.verified[4:]}
    assert disk.spoiled == set()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (labels("/trouble6", name="NeverHeardOf"), "has no runbook for the alert"),
        (labels("/trouble6", name="NobodyKnows"), "No flow answers this alert"),
        (labels("/trouble6", name="DiskHurries", instance="web9"), "names no host of Shop"),
        (labels("/trouble6", name="OfAnother", system="ghost"), "names no system of the catalogue"),
        ({"alertname": "OfNobody", "instance": "web1"}, "no system of the catalogue matches its labels"),
        (labels("relative/path", name="DiskAsks"), "is no mount point"),
    ],
    ids=["alert", "no flow", "host", "system", "no labels", "mount point"],
)
def test_an_alert_that_means_nothing_known_pages(
    fired: Installation, alertmanager: AlertmanagerProcess, wanted: dict[str, str], words: str
) -> None:
    alertmanager.fire(wanted)

    assert_handed_to_a_person(fired, incident_of(fired, wanted), words)


@pytest.mark.parametrize("place", ["alertname", "system", "instance", "mountpoint"])
def test_hostile_labels_are_only_ever_text(
    fired: Installation,
    alertmanager: AlertmanagerProcess,
    disks: dict[str, FullDisk],
    place: str,
    hostile: Callable[[str], list[dict[str, str]]],
) -> None:
    alerts = hostile(place)
    for alert in alerts:
        alertmanager.fire(alert)

    for alert in alerts:
        incident = incident_of(fired, alert)
        assert_handed_to_a_person(fired, incident, "No runbook can be started")
        report = fired.report(incident)
        assert "1337" not in report
        assert "<script>" not in report
    (script,) = (alert for alert in alerts if "<script>" in alert[place])
    printed = fired.cli("report", str(incident_of(fired, script)), "--markdown").stdout
    assert printed.strip()
    assert "<script>" not in printed
    assert disks["/trouble6"].gone == disks["/trouble6"].spoiled == set()
    assert fired.ledger.journal.first_broken_link() is None


@pytest.fixture
def hostile() -> Callable[[str], list[dict[str, str]]]:
    """An alert for each hostile text in one of the labels."""
    return lambda place: [labels("/trouble6", name=f"Hostile{place}") | {place: text} for text in HOSTILE]


def test_a_label_that_cannot_be_written_down_pages_and_keeps_no_good_alert_out(
    fired: Installation, disks: dict[str, FullDisk]
) -> None:
    good = labels("/trouble6", name="BesideABadOne")

    answer = fired.post(labels("/trouble6\0; reboot"), good)

    assert answer.status_code < 500
    assert_handed_to_a_person(fired, incident_of(fired, good), "has no runbook for the alert")
    unreadable = fired.wait(
        lambda: [row for row in fired.ledger.incidents.list(limit=500) if row.runbook == "UnreadableAlerts"], "page"
    )
    assert_handed_to_a_person(fired, unreadable[0].id, "NUL")
    assert disks["/trouble6"].gone == disks["/trouble6"].spoiled == set()


# Last: it takes three quarters of a minute until a host that hangs is given up, and the tests above use them.
@pytest.mark.parametrize(("instance", "words"), CONNECTIONS.items())
def test_a_host_that_cannot_be_worked_on_goes_to_a_person(fired: Installation, instance: str, words: str) -> None:
    incident = incident_of(fired, labels("/trouble6", instance=instance))

    assert_handed_to_a_person(fired, incident, words)
    assert fired.ledger.incidents.get(incident).attempt == 1  # type: ignore[union-attr]
