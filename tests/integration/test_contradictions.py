"""An alert that fires on although there was nothing to do: people are told of both, once, and nothing is changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from nightshift.catalogue import Catalogue
from nightshift.gateway.contradictions import page_contradictions
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Alert, Outcome

ALL_CLEAR = ("[shop] Nothing to do", "Nobody is needed any more.")
LABELS = {"alertname": "HighDiskUsage", "system": "shop", "instance": "web1", "mountpoint": "/"}


class Story:
    """One alert, and what its flow found."""

    def __init__(self, ledger: Ledger, catalogue: Catalogue) -> None:
        self.ledger, self.catalogue = ledger, catalogue
        self._began = datetime.now(UTC) - timedelta(minutes=5)

    def alert(self, status: str = "firing") -> None:
        told: dict[str, Any] = {"status": status, "labels": LABELS, "starts_at": self._began}
        self.ledger.inbox.accept([Alert(source="alertmanager", fingerprint="1", **told)])
        take_in(self.ledger, self.catalogue, Metrics(self.ledger))

    def ends(self, outcome: Outcome) -> int:
        (incident,) = self.ledger.incidents.list()
        claim = self.ledger.incidents.claim(incident.id, incident.attempt, uuid4(), 60)
        assert claim is not None
        assert self.ledger.incidents.finish(claim, outcome, "/ is 40 % full, as it should be.", [], ALL_CLEAR)
        return int(incident.id)

    def called(self) -> None:
        (incident,) = self.ledger.incidents.list()
        with self.ledger.engine.begin() as connection:
            self.ledger.deliveries.page(connection, incident.id, "pager", "/ is full", "Look.")
        for page in self.ledger.deliveries.take(10, 60):
            self.ledger.deliveries.delivered(page.id)

    def all_clear(self) -> bool:
        (incident,) = self.ledger.incidents.list()
        return any(message.subject == ALL_CLEAR[0] for message in self.ledger.deliveries.of(incident.id))

    def told(self, watch: float = 0.0) -> list[str]:
        page_contradictions(self.ledger, self.catalogue, watch)
        (incident,) = self.ledger.incidents.list()
        return [page.body for page in self.ledger.deliveries.of(incident.id) if "Fires on" in page.subject]


@pytest.fixture
def story(ledger: Ledger, catalogue: Catalogue) -> Story:
    found = Story(ledger, catalogue)
    found.alert()
    return found


def test_people_are_told_once_what_was_measured_and_that_it_fires_on(story: Story) -> None:
    incident = story.ends(Outcome.EXPECTED)

    (body,) = story.told()

    assert "/ is 40 % full, as it should be." in body
    assert "alert and measurement contradict each other" in body
    assert story.told() == [body], "not again"
    assert "alert fires on, though there was nothing to do" in report_of(story.ledger, incident)


def test_an_expression_that_looks_back_gets_its_time(story: Story) -> None:
    story.ends(Outcome.EXPECTED)

    assert story.told(watch=900) == []


@pytest.mark.parametrize(
    ("outcome", "status", "over"),
    [
        (Outcome.EXPECTED, "firing", False),
        (Outcome.EXPECTED, "resolved", True),
        (Outcome.RESOLVED, "firing", True),
    ],
)
def test_nobody_is_sent_back_to_bed_by_a_measurement_while_the_alert_fires_on(
    story: Story, outcome: Outcome, status: str, over: bool
) -> None:
    story.called()
    story.alert(status)

    story.ends(outcome)

    assert story.all_clear() is over


def test_an_alert_that_ended_contradicts_nothing(story: Story) -> None:
    story.ends(Outcome.EXPECTED)
    story.alert("resolved")

    assert story.told() == []


@pytest.mark.parametrize("outcome", [Outcome.RESOLVED, Outcome.ESCALATED])
def test_what_was_repaired_or_is_with_people_is_told_otherwise(story: Story, outcome: Outcome) -> None:
    story.ends(outcome)

    assert story.told() == []


def test_who_has_acknowledged_it_knows(story: Story) -> None:
    incident = story.ends(Outcome.EXPECTED)
    assert story.ledger.incidents.acknowledge(incident, "ada")

    assert story.told() == []
