"""One flow hands over to another's runbook, on a real ledger with the gateway's intake beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from nightshift.catalogue import Catalogue
from nightshift.flows.handing_over import HandingOver
from nightshift.gateway.causes import correlate
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.errors import WaitsForCauseError
from nightshift.remediation.handing_over import SOURCE
from nightshift.remediation.ledger import Ledger, schema
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import HandOver, Outcome, Plan, Proposal, Severity, Target

DISK = "shop/host/{0}/filesystem/%2F"


@dataclass
class Shop:
    """Two disks, whose flows say what the test has them say."""

    ledger: Ledger
    catalogue: Catalogue
    metrics: Metrics

    def incident(self, host: str, severity: Severity = Severity.WARNING) -> int:
        """One about this host's disk, which a flow works on."""
        target = Target.from_key(DISK.format(host))
        trouble = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", target, severity, "a disk is full")
        with self.ledger.engine.begin() as connection:
            number, _ = self.ledger.incidents.open(connection, trouble)
        self.claim(number)
        return number

    def claim(self, number: int) -> Any:
        row = self.ledger.incidents.get(number)
        assert row is not None
        claim = self.ledger.incidents.claim(number, row.attempt, uuid4(), 60)
        assert claim is not None
        return claim

    def round(self) -> None:
        """What the gateway does all the time."""
        take_in(self.ledger, self.catalogue, self.metrics)
        correlate(self.ledger, self.catalogue)

    @contextmanager
    def gateway(self) -> Iterator[None]:
        ends = threading.Event()

        def rounds() -> None:
            while not ends.wait(0.05):
                self.round()

        thread = threading.Thread(target=rounds)
        thread.start()
        try:
            yield
        finally:
            ends.set()
            thread.join()

    def hand_over(self, incident: int, host: str) -> str:
        """The flow of an incident finds that this host's disk is the cause."""
        wanted = HandOver(runbook="HighDiskUsage", place={"host": host, "filesystem": "/"}, why="its disk is full")
        plan = Plan(
            goal="x", target=Target.from_key(DISK.format("x")), proposals=(Proposal(title="x", hand_over=wanted),)
        )
        system = self.catalogue.systems["shop"]
        return HandingOver(self.ledger, self.catalogue, system, incident).of(plan)

    def alerts(self) -> int:
        query = select(func.count()).where(schema.alert.c.source == SOURCE)
        with self.ledger.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())


@pytest.fixture
def shop(ledger: Ledger, catalogue: Catalogue) -> Shop:
    return Shop(ledger, catalogue, Metrics(ledger))


def test_the_other_ones_incident_is_opened_with_this_ones_urgency_and_waited_for(shop: Shop) -> None:
    first = shop.incident("web1", Severity.CRITICAL)

    with shop.gateway(), pytest.raises(WaitsForCauseError) as waits:
        shop.hand_over(first, "web2")

    cause = shop.ledger.incidents.get(waits.value.cause)
    effect = shop.ledger.incidents.get(first)
    assert cause is not None
    assert effect is not None
    assert (cause.target, cause.flow, cause.severity) == (DISK.format("web2"), "disk-space-reclaim", "critical")
    assert (effect.cause_id, effect.cause_rule, effect.next_step_at) == (cause.id, "handed over", None)
    assert "handed over to the runbook HighDiskUsage: its disk is full" in report_of(shop.ledger, first)
    assert f"pauses until incident {cause.id} is over" in report_of(shop.ledger, first)
    (alert,) = shop.ledger.inbox.of(cause.id)
    assert alert.status == "resolved", "it holds nothing when its incident has ended"


def test_it_is_never_handed_back_to_whom_it_came_from(shop: Shop) -> None:
    first = shop.incident("web1")
    with shop.gateway(), pytest.raises(WaitsForCauseError) as waits:
        shop.hand_over(first, "web2")
    second = waits.value.cause
    shop.claim(second)

    said = shop.hand_over(second, "web1")

    assert said == f"Not handed over to the runbook HighDiskUsage: incident {first} is about just that, and led here."
    assert shop.alerts() == 1
    row = shop.ledger.incidents.get(second)
    assert row is not None
    assert row.cause_id is None


def test_an_incident_that_is_open_already_is_joined(shop: Shop) -> None:
    first, second = shop.incident("web1"), shop.incident("web2")

    with shop.gateway(), pytest.raises(WaitsForCauseError) as waits:
        shop.hand_over(first, "web2")

    assert waits.value.cause == second
    assert len(shop.ledger.incidents.list()) == 2


def test_what_could_not_be_repaired_there_goes_on_here_and_is_not_handed_over_again(shop: Shop) -> None:
    first = shop.incident("web1")
    with shop.gateway(), pytest.raises(WaitsForCauseError) as waits:
        shop.hand_over(first, "web2")
    shop.ledger.incidents.finish(shop.claim(waits.value.cause), Outcome.ESCALATED, "nothing to delete", [])
    no_settling = shop.catalogue.correlation.model_copy(update={"settle": 0.0})
    shop.catalogue = Catalogue(shop.catalogue.systems, no_settling)
    shop.round()
    row = shop.ledger.incidents.get(first)
    assert row is not None
    assert row.under_cause_since is None, "it stands for itself again"

    with shop.gateway():
        said = shop.hand_over(first, "web2")

    words = f"incident {waits.value.cause}, which ended as escalated."
    assert said == f"Handed over to the runbook HighDiskUsage: {words}"
    assert shop.alerts() == 1


def test_whoever_dies_after_writing_it_down_sends_it_the_next_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shop.incident("web1")
    with monkeypatch.context() as patched:
        patched.setattr(shop.ledger.inbox, "accept", lambda _: (_ for _ in ()).throw(ConnectionError))
        with pytest.raises(ConnectionError):
            shop.hand_over(first, "web2")
    assert shop.alerts() == 0

    with shop.gateway(), pytest.raises(WaitsForCauseError):
        shop.hand_over(first, "web2")

    assert [row.kind for row in shop.ledger.journal.of(first)].count(Kind.HANDED_OVER) == 1


def test_without_a_gateway_the_flow_goes_on_and_says_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightshift.flows.handing_over._WAIT_SECONDS", 0.1)
    first = shop.incident("web1")

    said = shop.hand_over(first, "web2")

    assert said == "Handed over to the runbook HighDiskUsage; nobody has taken it in yet."
