"""PostgreSQL killed while runs stand at every step of the gate: nothing lost, doubled or outside the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lab.postgres import PostgresServer
from lab.ward.ledger_killed import WITH_LEDGER_KILLED, play_with_ledger_killed
from lab.ward.matrix import told
from lab.ward.play import Lab, open_lab
from lab.ward.schedule import Workers
from nightshift.remediation.ledger import migrate

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def mortal() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def lab(mortal: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    url = mortal.create_database("ledger")
    migrate(url)
    with open_lab(url, tmp_path_factory.mktemp("ward")) as lab:
        yield lab


@pytest.mark.parametrize("workers", WITH_LEDGER_KILLED)
def test_whatever_step_runs_stand_at_when_the_ledger_dies_every_effect_is_there_once(
    lab: Lab, mortal: PostgresServer, workers: Workers, record_property: Callable[[str, object], None]
) -> None:
    played = play_with_ledger_killed(lab, mortal, workers)

    record_property("counted", told(f"PostgreSQL killed, {workers}", played))
    assert [str(game) for game in played if not game.count.clean] == []
    assert lab.ledger.journal.first_broken_link() is None
