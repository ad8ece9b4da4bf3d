"""The clock of the ledger's server is set while something is under way: that may delay or page, never double."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from lab.moved_clock import MovedClock
from lab.notebook import TARGET, Notebook, line, plan
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.errors import LeaseLostError
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.leases import Held
from nightshift.remediation.models import Action, Mode, Severity

DAY = 24 * 3600.0


@pytest.fixture
def clock(database_url: str) -> MovedClock:
    return MovedClock(database_url)


@pytest.fixture
def ledger(clock: MovedClock, database_url: str) -> Iterator[Ledger]:
    assert clock.seconds == 0
    ledger = Ledger.connect(database_url)
    yield ledger
    ledger.close()


def incident_of(ledger: Ledger, runbook: str) -> int:
    with ledger.engine.begin() as connection:
        trouble = Trouble("shop", runbook, "f", TARGET, Severity.WARNING, "t")
        return ledger.incidents.open(connection, trouble)[0]


def claim_of(ledger: Ledger, incident: int, attempt: int = 1, seconds: float = 30) -> Claim:
    claim = ledger.incidents.claim(incident, attempt, uuid4(), seconds)
    assert claim is not None
    return claim


def carry_out(ledger: Ledger, claim: Claim, notebook: Notebook) -> None:
    with ClaimKeeper(ledger, claim, 30) as keeper:
        gate = Gate(ledger, keeper, "X", notebook.kinds, {}, Mode.AUTO, lambda _: None, lease_margin=2)
        gate.carry_out(plan(line("one"), line("two")), enough=lambda: False)


@pytest.mark.parametrize("seconds", [DAY, -DAY])
def test_nobody_else_gets_a_target_on_which_something_is_under_way_and_nothing_is_done_twice(
    ledger: Ledger, clock: MovedClock, tmp_path: Path, seconds: float
) -> None:
    mine, other = incident_of(ledger, "Mine"), claim_of(ledger, incident_of(ledger, "Other"))
    refused: list[bool] = []

    def set_the_clock(_action: Action) -> None:
        if not refused:
            clock.jump(seconds)
            ledger.leases.end_silent()
            refused.append(isinstance(ledger.leases.acquire(other, TARGET, 8), Held))

    notebook = Notebook(tmp_path / "notebook", fail=set_the_clock)
    try:
        carry_out(ledger, claim_of(ledger, mine), notebook)
    except LeaseLostError:
        assert seconds > 0, "only a clock set forward ends a claim"
        with ledger.engine.begin() as connection:
            (lost,) = [row for row in ledger.incidents.lost(connection, 9) if row.id == mine]
            assert ledger.incidents.try_again(connection, lost, "its claim seems to be over", 0)
        carry_out(ledger, claim_of(ledger, mine, attempt=2), notebook)

    assert refused == [True]
    assert notebook.lines == ["one", "two"]
    assert ledger.journal.first_broken_link() is None


def test_a_clock_that_is_set_back_delays_neither_pages_nor_the_next_attempt_of_a_run_that_died(
    ledger: Ledger, clock: MovedClock
) -> None:
    dead, sent = incident_of(ledger, "Dead"), incident_of(ledger, "Sent")
    claim_of(ledger, dead)
    with ledger.engine.begin() as connection:
        for incident in ledger.dispatching.take(connection, 9):
            ledger.dispatching.sent(connection, [incident])
        ledger.deliveries.page(connection, dead, "#oncall", "s", "b")
    ledger.deliveries.take(9, 60)  # by a gateway that died

    clock.jump(-DAY)

    with ledger.engine.begin() as connection:
        assert [row.id for row in ledger.incidents.lost(connection, 9)] == [dead]
        assert [row.id for row in ledger.dispatching.take(connection, 9)] == [sent]
    assert len(ledger.deliveries.take(9, 60)) == 1
