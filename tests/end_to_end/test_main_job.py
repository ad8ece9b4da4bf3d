"""The main job: a real alert about a really full disk, through everything, to bytes that are really free."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lab import troubles
from lab.alertmanager import AlertmanagerProcess
from lab.installation import Installation
from lab.patient_host import MIB, PatientHost
from nightshift.remediation.ledger.journal import Kind


def planned_files(installation: Installation, incident: int) -> set[str]:
    """Everything that the journal says was to be deleted."""
    intents = [row.entry["action"] for row in installation.ledger.journal.of(incident) if row.kind is Kind.INTENT]
    return {file["path"] for action in intents for file in action["arguments"]["files"]}


def test_alone_it_frees_the_disk_and_nothing_outside_the_plan(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost
) -> None:
    logs = troubles.old_rotated_logs(patient, "/data1/log/shop.log", count=6, size=3 * MIB)
    backups = troubles.backups(patient, "/data1/backups")
    troubles.fill_to(patient, "/data1", 90)

    alertmanager.fire({"alertname": "DiskAlone", "system": "shop", "instance": "web1", "mountpoint": "/data1"})
    incident = installation.incident("DiskAlone", "%2Fdata1").id
    ended = installation.ended(incident)

    assert ended.outcome == "resolved", installation.report(incident)
    assert troubles.used_percent(patient, "/data1") <= 60
    gone = {log for log in logs if not patient.path(log).exists()}
    assert gone == planned_files(installation, incident)
    assert logs[-1] in gone, "the oldest goes first"
    assert patient.path("/data1/ballast.bin").exists()
    assert all(patient.path(kept).exists() for kept in (*backups.unproven, *backups.verified[:2]))


def test_the_flow_run_is_named_and_tagged_for_people(
    installation: Installation, alertmanager: AlertmanagerProcess
) -> None:
    alertmanager.fire({"alertname": "DiskAlone", "system": "shop", "instance": "web1", "mountpoint": "/data2"})
    incident = installation.incident("DiskAlone", "%2Fdata2").id

    assert installation.ended(incident).outcome == "expected"
    installation.wait(lambda: installation.flow_run(incident)["state"]["type"] == "COMPLETED", "end of the flow run")
    run = installation.flow_run(incident)
    assert run["name"] == f"incident {incident} · shop · web1 /data2"
    assert {"DiskAlone", "shop", "critical"} <= set(run["tags"])
    assert run["state"]["name"] == "Nothing to do"


def test_nothing_happens_before_a_person_said_yes_on_the_command_line(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost
) -> None:
    logs = troubles.old_rotated_logs(patient, "/data3/log/shop.log", count=6, size=3 * MIB)
    troubles.fill_to(patient, "/data3", 90)

    alertmanager.fire({"alertname": "DiskAsks", "system": "shop", "instance": "web1", "mountpoint": "/data3"})
    incident = installation.incident("DiskAsks", "%2Fdata3").id
    installation.wait_for(incident, Kind.ASKED)
    installation.wait(lambda: installation.flow_run(incident)["state"]["name"] == "Suspended", "suspension")
    assert all(patient.path(log).exists() for log in logs)

    (notice,) = installation.ledger.deliveries.of(incident)
    assert (notice.kind, notice.channel) == ("notice", "oncall")
    assert f"nightshift approve {incident} --plan " in notice.body
    assert f"/runs/flow-run/{installation.flow_run(incident)['id']}" in notice.body
    installation.wait(lambda: installation.ledger.deliveries.of(incident)[0].delivered_at, "delivery of the notice")

    installation.cli("approve", str(incident), "--yes", "--comment", "go ahead; $(reboot) {{ 7*7 }}")

    assert installation.ended(incident).outcome == "resolved", installation.report(incident)
    gone = {log for log in logs if not patient.path(log).exists()}
    assert gone == planned_files(installation, incident)
    report = installation.cli("report", str(incident), "--markdown").stdout
    assert "**approved** by" in report
    assert f"freed {3 * len(gone)}.0 MiB" in report
    assert "49" not in report.split("go ahead", 1)[1].split("\n", 1)[0]


def test_a_no_leaves_everything_as_it_is_and_tells_a_person(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost
) -> None:
    logs = troubles.old_rotated_logs(patient, "/data4/log/shop.log", count=6, size=3 * MIB)
    troubles.fill_to(patient, "/data4", 90)

    alertmanager.fire({"alertname": "DiskAsks", "system": "shop", "instance": "web1", "mountpoint": "/data4"})
    incident = installation.incident("DiskAsks", "%2Fdata4").id
    installation.wait_for(incident, Kind.ASKED)
    installation.cli("deny", str(incident), "--yes", "--comment", "not tonight")

    assert installation.ended(incident).outcome == "not_approved"
    assert all(patient.path(log).exists() for log in logs)
    assert [row.channel for row in installation.ledger.deliveries.of(incident) if row.kind == "page"] == ["oncall"]


def test_silence_counts_as_no(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost
) -> None:
    logs = troubles.old_rotated_logs(patient, "/data5/log/shop.log", count=6, size=3 * MIB)
    troubles.fill_to(patient, "/data5", 90)

    alertmanager.fire({"alertname": "DiskHurries", "system": "shop", "instance": "web1", "mountpoint": "/data5"})
    incident = installation.incident("DiskHurries", "%2Fdata5").id

    ended = installation.ended(incident)
    assert (ended.outcome, ended.reason) == ("not_approved", "Nobody approved the plan in time.")
    assert all(patient.path(log).exists() for log in logs)
    installation.wait(lambda: installation.flow_run(incident)["state"]["name"] == "Not approved", "end of the flow run")


def test_low_risk_is_done_unless_somebody_denies_it_in_time(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost
) -> None:
    logs = troubles.old_rotated_logs(patient, "/data14/log/shop.log", count=6, size=3 * MIB)
    troubles.fill_to(patient, "/data14", 90)

    alertmanager.fire({"alertname": "DiskActs", "system": "shop", "instance": "web1", "mountpoint": "/data14"})
    incident = installation.incident("DiskActs", "%2Fdata14").id
    installation.wait_for(incident, Kind.ASKED)
    installation.wait(lambda: installation.flow_run(incident)["state"]["name"] == "Suspended", "suspension")
    assert all(patient.path(log).exists() for log in logs)
    assert "unless somebody denies" in installation.cli("incidents", "show", str(incident)).stdout
    (notice,) = installation.ledger.deliveries.of(incident)
    assert "Acts unless denied (low risk)" in notice.subject

    assert installation.ended(incident).outcome == "resolved", installation.report(incident)
    gone = {log for log in logs if not patient.path(log).exists()}
    assert gone == planned_files(installation, incident)
    (intent, *_) = [row for row in installation.ledger.journal.of(incident) if row.kind is Kind.INTENT]
    (approval,) = installation.ledger.approvals.of(incident)
    assert intent.at > approval.expires_at
    assert (
        "nobody denied it in time: **approved** by nobody"
        in installation.cli("report", str(incident), "--markdown").stdout
    )


def test_exactly_the_alternative_that_a_person_chose_is_carried_out(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost
) -> None:
    logs = troubles.old_rotated_logs(patient, "/data15/log/shop.log", count=2, size=3 * MIB)
    backups = troubles.backups(patient, "/data15/backups")
    troubles.fill_to(patient, "/data15", 90)

    alertmanager.fire({"alertname": "DiskAsks", "system": "shop", "instance": "web1", "mountpoint": "/data15"})
    incident = installation.incident("DiskAsks", "%2Fdata15").id
    installation.wait_for(incident, Kind.ASKED)
    installation.wait(lambda: installation.flow_run(incident)["state"]["name"] == "Suspended", "suspension")
    shown = installation.cli("approve", str(incident), "--yes", "--alternative", "1").stdout
    assert "Or 1  only low risk: 1 of 2 actions" in shown

    # Deleting the logs alone is not enough, and a person is told so; the backups were not chosen.
    assert installation.ended(incident).outcome == "escalated", installation.report(incident)
    assert [log for log in logs if patient.path(log).exists()] == []
    assert all(patient.path(kept).exists() for kept in (*backups.unproven, *backups.verified))
    assert [row.status for row in installation.ledger.approvals.of(incident)] == ["superseded", "approved"]
    assert "not part of the alternative that was chosen" in installation.report(incident)


def test_a_dry_run_by_hand_changes_nothing(installation: Installation, patient: PatientHost) -> None:
    logs = troubles.old_rotated_logs(patient, "/data6/log/shop.log", count=6, size=3 * MIB)
    troubles.fill_to(patient, "/data6", 90)

    started = installation.cli(
        "run", "disk-space-reclaim", "--system", "shop", "--target", "web1:/data6", "--dry-run", "--json"
    )
    incident = json.loads(started.stdout)["id"]

    assert installation.ended(incident).outcome == "expected"
    assert "rotated logs older than 7 days below /data6/log" in installation.report(incident)
    assert all(patient.path(log).exists() for log in logs)


@contextmanager
def writer(patient: PatientHost, mount: str) -> Iterator[None]:
    """Something that fills whatever becomes free, as a broken program does."""
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.2):
            troubles.fill_to(patient, mount, 90, name="runaway.bin")

    running = threading.Thread(target=write)
    running.start()
    try:
        yield
    finally:
        stop.set()
        running.join()


def test_a_disk_that_is_filled_again_during_the_watch_is_escalated_and_made_no_worse(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost
) -> None:
    logs = troubles.old_rotated_logs(patient, "/data7/log/shop.log", count=6, size=3 * MIB)
    troubles.fill_to(patient, "/data7", 90)

    with writer(patient, "/data7"):
        alertmanager.fire({"alertname": "DiskAlone", "system": "shop", "instance": "web1", "mountpoint": "/data7"})
        incident = installation.incident("DiskAlone", "%2Fdata7").id
        ended = installation.ended(incident)

    assert ended.outcome == "escalated", installation.report(incident)
    assert "above the target of 60 %" in ended.reason
    gone = {log for log in logs if not patient.path(log).exists()}
    assert gone == planned_files(installation, incident), "nothing more was deleted after the failure"
    assert patient.path("/data7/runaway.bin").exists()
    rows = installation.ledger.journal.of(incident)
    (judged,) = [row for row in rows if row.kind is Kind.JUDGED]
    assert (judged.entry["healthy"], judged.entry["inconclusive"]) == (False, False)
    begun = [row for row in rows if row.kind is Kind.INTENT]
    assert all(row.sequence < judged.sequence for row in begun), "deleted files cannot come back: nothing is undone"
    report = installation.report(incident)
    assert "It counts as solved when" in report
    assert "used by: 0 programs that can be seen" in report
    assert [row.channel for row in installation.ledger.deliveries.of(incident) if row.kind == "page"] == ["oncall"]
