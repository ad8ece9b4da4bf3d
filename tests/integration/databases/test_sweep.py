"""What wears a real PostgreSQL server out: a slot that nobody reads, transaction ids, dead rows."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from lab.postgres import PostgresServer
from nightshift.remediation.connections import PostgresConnection
from nightshift.remediation.sweeps.measures import Level, judge
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.tasks import sweeping

SLOT = "nobody_reads_it"


@pytest.fixture
def worn(postgres: PostgresServer) -> Iterator[str]:
    """A database with a forgotten slot, and a table most of whose rows are dead."""
    url = postgres.create_database("worn")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select pg_create_physical_replication_slot(%s, true)", [SLOT])
        connection.execute("create table trades with (autovacuum_enabled = false) as select generate_series(1, 100000)")
        connection.execute("delete from trades where generate_series <= 60000")
        connection.execute("select pg_switch_wal()")
    yield url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select pg_drop_replication_slot(%s)", [SLOT])
    postgres.drop_database("worn")


def test_forgotten_slots_and_dead_rows_are_found(worn: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("secrets") / "url"
    file.write_text(worn)
    connection = PostgresConnection.model_validate({"type": "postgres", "url": {"file": str(file)}})
    look = sweeping.sweep_postgres.__wrapped__  # type: ignore[attr-defined]

    found = look("main", connection, SweepRule.model_validate({"wal_kept": 1}), ("SlowQueries",))

    judged = {one.key: judge(one, [], time.time()) for one in found}
    slot = judged[f"slot/main/{SLOT}"]
    assert (slot.level, slot.why) == (Level.FINDING, "more than 1 B")
    assert slot.measure.what.endswith("which nobody reads")
    dead = judged["dead-rows/main"]
    assert (dead.level, dead.measure.value) == (Level.FINDING, 60.0)
    assert dead.measure.flows == ("database-query-performance",)
    assert judged["transaction-ids/main"].level is Level.WELL
