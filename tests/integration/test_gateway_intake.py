"""Intake: every alert ends up on an incident or with a person, once, whatever it says."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select, text

from nightshift.catalogue import Catalogue
from nightshift.gateway.intake import MOST_UNANSWERED, page_unreadable, take_in
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.ledger import Ledger, schema
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Alert, Outcome, Severity, Target

LONG_AGO = datetime.now(UTC) - timedelta(hours=2)
"""When an alert began whose beginning does not matter; a test whose does says so with :func:`ago`."""
DISK = {"alertname": "HighDiskUsage", "job": "shop", "instance": "web1:9100", "mountpoint": "/data"}


def alert(status: str = "firing", starts_at: datetime = LONG_AGO, fingerprint: str = "a1", **labels: str) -> Alert:
    return Alert.model_validate(
        {
            "source": "alertmanager",
            "fingerprint": fingerprint,
            "status": status,
            "labels": {**DISK, **labels},
            "starts_at": starts_at,
        }
    )


def ago(**time: float) -> datetime:
    """A moment before now. The tests run for long, so "now" is never when this file was read."""
    return datetime.now(UTC) - timedelta(**time)


class Intake:
    """Takes alerts in and looks at what came of them."""

    def __init__(self, ledger: Ledger, catalogue: Catalogue) -> None:
        self.ledger, self.catalogue, self.metrics = ledger, catalogue, Metrics(ledger)

    def take(self, *alerts: Alert) -> None:
        self.ledger.inbox.accept(alerts)
        while take_in(self.ledger, self.catalogue, self.metrics):
            pass

    def incidents(self) -> list[Row[Any]]:
        return self.ledger.incidents.list(limit=1000)[::-1]

    def note(self, fingerprint: str = "a1") -> str:
        with self.ledger.engine.connect() as connection:
            query = select(schema.alert.c.note).where(schema.alert.c.fingerprint == fingerprint)
            return str(connection.execute(query.order_by(schema.alert.c.starts_at.desc())).scalars().first())

    def pages(self, incident_id: int) -> list[tuple[str, str]]:
        return [(row.channel, row.subject) for row in self.ledger.deliveries.of(incident_id) if row.kind == "page"]

    def kinds(self, incident_id: int) -> list[Kind]:
        return [row.kind for row in self.ledger.journal.of(incident_id)]

    def end(self, incident_id: int, outcome: Outcome, ago: timedelta = timedelta(0)) -> None:
        with self.ledger.engine.begin() as connection:
            self.ledger.incidents.end(connection, incident_id, outcome, "for the test")
            where = schema.incident.c.id == incident_id
            connection.execute(schema.incident.update().where(where).values(ended_at=datetime.now(UTC) - ago))


@pytest.fixture
def intake(ledger: Ledger, catalogue: Catalogue) -> Intake:
    return Intake(ledger, catalogue)


def test_an_alert_with_a_runbook_opens_an_incident_for_its_flow(intake: Intake) -> None:
    intake.take(alert())

    (incident,) = intake.incidents()
    assert (incident.system, incident.runbook, incident.flow) == ("shop", "HighDiskUsage", "disk-space-reclaim")
    assert incident.target == "shop/host/web1/filesystem/%2Fdata"
    assert (incident.status, incident.severity) == ("open", "warning")
    assert intake.note() == f"Opened incident {incident.id}."
    assert intake.pages(incident.id) == []


def test_the_same_trouble_again_joins_and_repeats_add_nothing_to_the_journal(intake: Intake) -> None:
    intake.take(alert())
    intake.take(alert(), alert(fingerprint="b2", replica="b"))
    intake.take(alert())

    (incident,) = intake.incidents()
    assert intake.kinds(incident.id) == [Kind.OPENED, Kind.ALERT, Kind.ALERT]
    assert len(intake.ledger.inbox.of(incident.id)) == 2
    assert intake.note("b2").startswith(f"Joined incident {incident.id}")


def test_a_more_urgent_alert_that_joins_raises_the_severity(intake: Intake) -> None:
    intake.take(alert())
    intake.take(alert(fingerprint="b2", severity="critical"))
    intake.take(alert(fingerprint="c3", severity="info"))

    assert [incident.severity for incident in intake.incidents()] == ["critical"]


def test_resolved_is_noted_and_never_believed(intake: Intake) -> None:
    intake.take(alert())
    intake.take(alert("resolved"))

    (incident,) = intake.incidents()
    assert incident.status == "open"
    assert intake.ledger.journal.of(incident.id)[-1].entry["status"] == "resolved"
    assert "decides by measuring" in intake.note()


def test_an_alert_that_resolved_before_anybody_looked_is_looked_at_all_the_same(intake: Intake) -> None:
    intake.ledger.inbox.accept([alert()])
    intake.take(alert("resolved"))

    assert [incident.status for incident in intake.incidents()] == ["open"]


def test_an_alert_only_ever_seen_resolved_opens_nothing(intake: Intake) -> None:
    intake.take(alert("resolved"))

    assert intake.incidents() == []
    assert intake.note() == "Resolved before it was ever seen firing; nothing was opened."


@pytest.mark.parametrize(
    ("labels", "system", "reason"),
    [
        ({"system": "nowhere"}, "unknown", "names no system of the catalogue"),
        ({"job": "other"}, "unknown", "no system of the catalogue matches"),
        ({"alertname": "NeverHeardOf"}, "shop", "no runbook for the alert"),
        ({"instance": "web9:9100"}, "shop", "names no host of Shop"),
        ({"mountpoint": "../../etc"}, "shop", "is no mount point"),
        ({"alertname": ""}, "shop", "no label 'alertname'"),
    ],
)
def test_an_alert_that_no_runbook_covers_pages_at_once(
    intake: Intake, labels: dict[str, str], system: str, reason: str
) -> None:
    intake.take(alert(**labels))

    (incident,) = intake.incidents()
    assert (incident.system, incident.flow, incident.status, incident.outcome) == (system, None, "ended", "escalated")
    assert reason in incident.reason
    channels = [channel for channel, _ in intake.pages(incident.id)]
    assert channels == (["default"] if system == "unknown" else channels)
    assert channels
    assert reason in intake.note()


def test_an_alert_whose_flow_is_only_planned_pages_and_says_so(intake: Intake) -> None:
    intake.take(alert(alertname="QueueBacklog"))

    (incident,) = intake.incidents()
    assert intake.pages(incident.id) == [("critical", "[shop] a queue grows (Shop, QueueBacklog)")]
    assert "queue-backlog is planned" in incident.reason


def test_a_storm_of_one_unknown_alert_is_one_incident_and_one_page(intake: Intake) -> None:
    intake.take(*[alert(fingerprint=f"f{n}", alertname="Unknown", instance=f"i{n}") for n in range(120)])

    (incident,) = intake.incidents()
    assert len(intake.ledger.inbox.of(incident.id)) == 120
    assert len(intake.pages(incident.id)) == 1


def test_a_storm_of_different_unknown_alerts_ends_in_one_page_for_the_rest(intake: Intake) -> None:
    intake.take(*[alert(fingerprint=f"f{n}", alertname=f"Unknown{n}", job="x") for n in range(MOST_UNANSWERED + 60)])

    incidents = intake.incidents()
    assert len(incidents) == MOST_UNANSWERED + 1
    assert incidents[-1].title == "Many different alerts are not covered by a runbook"
    assert len(intake.ledger.inbox.of(incidents[-1].id)) == 60
    assert sum(len(intake.pages(incident.id)) for incident in incidents) == MOST_UNANSWERED + 1


def test_what_comes_back_after_a_repair_pages_once_and_is_not_repaired_again(intake: Intake) -> None:
    intake.take(alert())
    (incident,) = intake.incidents()
    intake.end(incident.id, Outcome.RESOLVED, ago=timedelta(minutes=12))

    intake.take(alert(starts_at=ago(seconds=2)))
    intake.take(alert(starts_at=ago(seconds=1), fingerprint="b2", replica="b"))

    assert [row.id for row in intake.incidents()] == [incident.id]
    ((channel, subject),) = intake.pages(incident.id)
    assert channel == "warning"
    assert "Came back 12 minutes after the repair" in subject
    assert "as a person was told already" in intake.note("b2")


def test_an_alert_whose_window_has_not_passed_did_not_come_back(ledger: Ledger, runbooks: Path) -> None:
    file = runbooks / "shop.yaml"
    file.write_text(file.read_text().replace("    policy: {}\n", "    policy: {}\n    windows: { range: 30m }\n", 1))
    intake = Intake(ledger, Catalogue.load(runbooks))
    intake.take(alert(starts_at=ago(hours=2)))
    (incident,) = intake.incidents()
    intake.end(incident.id, Outcome.RESOLVED, ago=timedelta(minutes=20))

    again = alert(starts_at=ago(minutes=10))
    intake.take(again)
    assert intake.pages(incident.id) == []
    assert intake.note().startswith("Fires within the time that its expression looks back")
    (known,) = ledger.inbox.known("alertmanager", [again])
    assert known.looks_back, "somebody has to see whether it still fires later"

    intake.end(incident.id, Outcome.RESOLVED, ago=timedelta(minutes=40))
    intake.take(again)
    ((_, subject),) = intake.pages(incident.id)
    assert "Came back 40 minutes after the repair" in subject


def test_an_alert_that_lags_behind_the_repair_does_not_count_as_come_back(intake: Intake) -> None:
    intake.take(alert())
    (incident,) = intake.incidents()
    intake.end(incident.id, Outcome.RESOLVED)

    intake.take(alert())

    assert [row.id for row in intake.incidents()] == [incident.id]
    assert intake.pages(incident.id) == []
    assert intake.note().startswith("Still firing")


@pytest.mark.parametrize("outcome", [Outcome.ESCALATED, Outcome.NOT_APPROVED])
def test_what_is_a_persons_already_is_not_started_again_within_the_cool_down(intake: Intake, outcome: Outcome) -> None:
    intake.take(alert())
    (incident,) = intake.incidents()
    intake.end(incident.id, outcome)

    intake.take(alert(starts_at=datetime.now(UTC)))

    assert [row.id for row in intake.incidents()] == [incident.id]
    assert f"({outcome})" in intake.note()


def test_a_more_urgent_alert_within_the_cool_down_pages_again_once(intake: Intake) -> None:
    intake.take(alert(alertname="Unknown", severity="warning"))
    (incident,) = intake.incidents()
    assert intake.pages(incident.id) == [("warning", "[shop] Alert 'Unknown' is not covered by a runbook")]

    for number in range(3):
        intake.take(alert(fingerprint=f"c{number}", alertname="Unknown", severity="critical"))

    assert len(intake.incidents()) == 1
    assert intake.pages(incident.id)[1:] == [
        ("critical", "[shop] Now critical: Alert 'Unknown' is not covered by a runbook")
    ]


def test_where_all_was_well_an_alert_that_starts_afterwards_is_new(intake: Intake) -> None:
    intake.take(alert())
    (incident,) = intake.incidents()
    intake.end(incident.id, Outcome.EXPECTED)

    intake.take(alert())
    assert len(intake.incidents()) == 1
    intake.take(alert(starts_at=datetime.now(UTC)))

    assert [row.status for row in intake.incidents()] == ["ended", "open"]


def test_a_dry_run_answers_no_alert_neither_while_it_runs_nor_afterwards(intake: Intake) -> None:
    target = Target(system="shop", path=("host", "web1", "filesystem", "/data"))
    by_hand = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", target, Severity.WARNING, "by hand")
    with intake.ledger.engine.begin() as connection:
        dry_run, _ = intake.ledger.incidents.open(connection, by_hand, options={"dry_run": True})
    intake.take(alert())
    assert len(intake.incidents()) == 1

    intake.end(dry_run, Outcome.EXPECTED)
    intake.take()

    assert [row.status for row in intake.incidents()] == ["ended", "open"]
    assert intake.note() == f"Opened incident {intake.incidents()[-1].id}."


def test_after_the_cool_down_a_firing_alert_is_a_new_incident(intake: Intake) -> None:
    intake.take(alert())
    (incident,) = intake.incidents()
    intake.end(incident.id, Outcome.ESCALATED, ago=timedelta(minutes=61))

    intake.take(alert())

    assert [row.status for row in intake.incidents()] == ["ended", "open"]


def test_one_alert_that_makes_intake_fail_is_paged_and_blocks_no_other(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    match = Catalogue.match

    def stumble(self: Catalogue, alert: Alert) -> Any:
        if alert.fingerprint == "poison":
            raise RuntimeError("a mistake of ours")
        return match(self, alert)

    monkeypatch.setattr(Catalogue, "match", stumble)
    others = [alert(fingerprint=f"f{n}", mountpoint=f"/m{n}") for n in range(4)]

    intake.take(*others[:2], alert(fingerprint="poison"), *others[2:])

    incidents = intake.incidents()
    assert [row.runbook for row in incidents].count("HighDiskUsage") == 4
    (failed,) = [row for row in incidents if row.runbook == "IntakeFailed"]
    assert intake.pages(failed.id) == [("default", "[unknown] Nightshift could not deal with an alert")]
    assert intake.note("poison") == "Nightshift itself failed: RuntimeError."
    assert intake.metrics.registry.get_sample_value("nightshift_intake_failures_total") == 1


def test_an_alert_the_database_stumbles_over_rolls_back_alone(intake: Intake) -> None:
    with intake.ledger.engine.begin() as connection:
        connection.execute(
            text("alter table incident add constraint test_only check (target <> 'shop/host/web1/filesystem/%2Fbad')")
        )

    intake.take(alert(fingerprint="bad", mountpoint="/bad"), alert(fingerprint="good", mountpoint="/good"))

    assert {row.runbook for row in intake.incidents()} == {"HighDiskUsage", "IntakeFailed"}
    assert intake.note("good").startswith("Opened")
    assert intake.ledger.journal.first_broken_link() is None


def test_new_trouble_does_not_wait_behind_what_is_looked_at_again_or_is_over(intake: Intake) -> None:
    many = [alert(fingerprint=f"old{number}", mountpoint=f"/m{number}") for number in range(600)]
    intake.ledger.inbox.accept(many)
    with intake.ledger.engine.begin() as connection:
        connection.execute(schema.alert.update().values(note="Waits a moment for its cause."))
    intake.ledger.inbox.accept([alert("resolved", fingerprint="gone", mountpoint="/gone")])
    intake.ledger.inbox.accept([alert(fingerprint="new", mountpoint="/new")])

    take_in(intake.ledger, intake.catalogue, intake.metrics)

    assert intake.note("new").startswith("Opened incident")
    assert intake.note("gone") == "None", "nobody looked at it yet"


def test_two_gateways_taking_in_at_once_double_and_lose_nothing(ledger: Ledger, catalogue: Catalogue) -> None:
    intakes = [Intake(ledger, catalogue) for _ in range(4)]
    ledger.inbox.accept([alert(fingerprint=f"f{n}", mountpoint=f"/m{n % 30}") for n in range(150)])
    barrier = threading.Barrier(4)

    def work(intake: Intake) -> int:
        barrier.wait()
        taken = 0
        while True:
            taken += take_in(ledger, catalogue, intake.metrics)
            with ledger.engine.connect() as connection:
                if not connection.execute(text("select 1 from alert where not taken_in limit 1")).first():
                    return taken

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(work, intakes)) == 150

    assert len(ledger.incidents.list(limit=1000)) == 30
    assert sum(len(ledger.inbox.of(row.id)) for row in ledger.incidents.list(limit=1000)) == 150


def test_unreadable_alerts_page_once_per_source_and_hour(intake: Intake) -> None:
    for _ in range(3):
        page_unreadable(intake.ledger, "am-1", "1 alert could not be read")
    page_unreadable(intake.ledger, "am-2", "1 alert could not be read")

    assert [len(intake.pages(row.id)) for row in intake.incidents()] == [1, 1]


def test_hostile_labels_reach_titles_and_notes_only_escaped(intake: Intake) -> None:
    hostile = "<script>{{7*7}}</script>`$(id)`\x1b[31m @channel"

    intake.take(alert(alertname=hostile, instance=hostile))

    (incident,) = intake.incidents()
    shown = incident.title + incident.reason + intake.note() + "".join(s for _, s in intake.pages(incident.id))
    assert not set("<>{}`\x1b") & set(shown)
    (stored,) = intake.ledger.inbox.of(incident.id)
    assert stored.labels["alertname"] == hostile
