"""The whole flow on a real server, ledger and Prefect: a volume that is relieved, and one that only people can help."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import preloaded
from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer
from lab.trading_database import TradingDatabase
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of

SYSTEM: dict[str, Any] = {
    "id": "cryptofunk",
    "display": "CryptoFunk",
    "title": "Trading",
    "mode": "auto",
    "severities": {"critical": {}, "warning": {}, "info": {}},
    "connections": {
        "main": {"type": "postgres", "url": {"env": "TRADING_DATABASE_URL"}},
        "cluster": {"type": "kubernetes", "namespace": "cryptofunk"},
    },
}
_RUN = """
from nightshift.flows.database_volume_reclaim import database_volume_reclaim
state = database_volume_reclaim("cryptofunk", "cryptofunk/database/main/claim/postgres-pvc", return_state=True)
print("outcome:", state.name)
"""


@pytest.fixture
def trading() -> Iterator[TradingDatabase]:
    """A server of its own, so that everything on its volume is known."""
    with PostgresServer({"max_wal_size": "32MB", "min_wal_size": "32MB"}) as server:
        database = TradingDatabase(server.url())
        database.fill(old=20, young=0)
        yield database


def used(database: TradingDatabase) -> int:
    ((size,),) = database.execute(
        "select ((select sum(pg_database_size(oid)) from pg_database) + (select sum(size) from pg_ls_waldir()))::bigint"
    )
    assert isinstance(size, int)
    return size


def run(database: TradingDatabase, prefect: PrefectServer, ledger_url: str, folder: Path) -> str:
    """Run the flow on a volume that is 70 % full and may be 50 %; the name of the state it ends in."""
    rule = {
        "table": "trading_sessions",
        "time_column": "created_at",
        "older_than": "90d",
        "to": str(folder / "archive"),
    }
    # The write-ahead log shrinks to its usual size now, not during the run.
    database.execute("checkpoint")
    policy = {
        "volume": "database",
        "size": {"capacity": int(used(database) / 0.7)},
        "alert_used_percent": 50,
        "target_used_percent": 50,
        "watch": "2s",
        "refill_horizon": "1s",
        "archive_rows": [rule],
        "expand": {"cluster": "cluster", "ceiling": "500GiB"},
    }
    runbook = {
        "summary": "the volume is nearly full",
        "severity": "warning",
        "flow": "database-volume-reclaim",
        "target": {"database": {"default": "main"}, "claim": {"default": "postgres-pvc", "among": ["postgres-pvc"]}},
        "policy": policy,
    }
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "cryptofunk.yaml").write_text(
        json.dumps(SYSTEM | {"runbooks": {"DiskSpaceWarning": runbook}})
    )
    environment = {
        **os.environ,
        "TRADING_DATABASE_URL": database.url,
        "NIGHTSHIFT_DATABASE_URL": ledger_url,
        "NIGHTSHIFT_HOME": str(folder),
        "NIGHTSHIFT_RUNBOOKS": str(folder / "runbooks"),
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(folder / "prefect"),
    }
    code, said = preloaded.run(_RUN, environment=environment, seconds=120)
    assert code == 0, said
    return said.rpartition("outcome: ")[2].strip()


def test_rows_at_the_end_of_the_table_relieve_the_volume(
    trading: TradingDatabase, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    trading.execute(
        "insert into {table} ({time}, padding) select '2025-06-01', repeat('x', 1000) from generate_series(1, 100000)"
    )

    outcome = run(trading, prefect, database_url, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Resolved", report
    assert trading.execute("select count(*) from {table}") == [(0,)]
    assert sum(trading.archived(tmp_path / "archive").values()) == 100_020
    assert "100,020 rows archived in 21 files, read back, then deleted" in report
    assert "Usage of the volume fell from " in report


def test_room_inside_the_table_alone_is_escalated_with_the_patch(
    trading: TradingDatabase, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    trading.execute(
        "insert into {table} ({time}, padding) select now(), repeat('x', 1000) from generate_series(1, 100000)"
    )
    trading.execute("analyze {table}")

    outcome = run(trading, prefect, database_url, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert trading.execute("select count(*) from {table}") == [(100_000,)]
    assert sum(trading.archived(tmp_path / "archive").values()) == 20
    assert "older than 90 days (about 2" in report
    assert "that does not solve it" in report
    assert "Grow the claim postgres-pvc from" in report
    assert '{"spec":{"resources":{"requests":{"storage":"' in report
