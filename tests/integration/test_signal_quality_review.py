"""The whole review on a real database: who rejected what, each signal once, and not a row changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab import preloaded
from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.clients.signal_tables import read_signals
from nightshift.remediation.connections import PostgresConnection, SecretReference
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.signals.policy import SignalQualityPolicy

TABLES = """
create table signals (id bigint primary key, instrument text, side text, source text, created_at timestamptz);
create table approvals (signal_id bigint, decision int);
create table trade_results (signal_id bigint, profit numeric);
"""
# id, instrument, source, hours ago, decisions about it
SIGNALS = [
    *((number, "EUR/USD", "rsi", 0.4, [0, 0, 1]) for number in range(1, 13)),
    *((number, "BTC|USD", "ma", 0.5, [1]) for number in range(13, 15)),
    (15, "EUR/USD", "rsi", 0.2, [0, 1]),
    *((number, "EUR/USD", "ma", 0.3, []) for number in range(16, 20)),
    *((number, "EUR/USD", "rsi", 1.5, [0]) for number in range(20, 32)),
    (32, "EUR/USD", "rsi", 200, [0]),
]
RESULTS = [(13, 5), (14, -2), (14, 1), (1, 99)]
POLICY = {
    "tables": {"source": "source", "results": {"table": "trade_results"}},
}
_RUN = """
from nightshift.flows.signal_quality_review import signal_quality_review
state = signal_quality_review("trading_signals", "trading_signals/database/main", return_state=True)
print("outcome:", state.name)
"""


@pytest.fixture
def signals(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database with signals in it."""
    url = postgres.create_database("signals")
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
        for number, instrument, source, ago, decisions in SIGNALS:
            values = (number, instrument, source, ago)
            cursor.execute("insert into signals values (%s, %s, 'BUY', %s, now() - %s * interval '1 hour')", values)
            cursor.executemany("insert into approvals values (%s, %s)", [(number, one) for one in decisions])
        cursor.executemany("insert into trade_results values (%s, %s)", RESULTS)
    yield url
    postgres.drop_database("signals")


@pytest.fixture
def connection(signals: str, monkeypatch: pytest.MonkeyPatch) -> PostgresConnection:
    monkeypatch.setenv("SIGNALS_URL", signals)
    return PostgresConnection(type="postgres", url=SecretReference(env="SIGNALS_URL"))


@pytest.mark.hazard("trading_signals.HighApprovalRejectionRate.d1", "trading_signals.HighApprovalRejectionRate.d2")
def test_each_signal_counts_once_and_undecided_ones_are_apart(connection: PostgresConnection) -> None:
    with open_postgres("main", connection) as session:
        seen = read_signals(session, SignalQualityPolicy.model_validate(POLICY))

    hour = seen.last_hour
    assert (hour.signals, hour.rejected, hour.approved, hour.divided, hour.undecided) == (19, 12, 2, 1, 4)
    assert [(one.name, one.rejected, one.approved) for one in seen.instruments] == [
        ("EUR/USD BUY", 12, 0),
        ("BTC|USD BUY", 0, 2),
    ]
    assert [(one.name, one.signals) for one in seen.sources or ()] == [("rsi", 13), ("ma", 6)]
    assert len(seen.hours) == 24
    assert [one.rejected for one in seen.hours[:3]] == [12, 12, 0]
    assert seen.results is not None
    assert (seen.results.closed, seen.results.won) == (2, 1), "rejected signals have no part in it"


def test_names_that_are_not_there_cost_only_what_they_would_tell(connection: PostgresConnection) -> None:
    policy = {"tables": {"source": "strategy", "results": {"table": "trades"}}}

    with open_postgres("main", connection) as session:
        seen = read_signals(session, SignalQualityPolicy.model_validate(policy))

    assert seen.sources is None
    assert "there is no table trades" in seen.results_complaint
    assert seen.last_hour.rejected == 12


def test_rejections_are_reported_with_their_numbers_and_nothing_is_changed(
    signals: str, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    before = _rows(signals)
    system: dict[str, Any] = {
        "id": "trading_signals",
        "display": "trading_signals",
        "title": "Signals",
        "mode": "auto",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {"main": {"type": "postgres", "url": {"env": "SIGNALS_URL"}}},
        "runbooks": {
            "HighApprovalRejectionRate": {
                "summary": "too many signals are rejected",
                "severity": "warning",
                "flow": "signal-quality-review",
                "target": {"database": {"default": "main"}},
                "policy": POLICY,
            }
        },
    }
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "trading_signals.yaml").write_text(json.dumps(system))
    environment = {
        **os.environ,
        "SIGNALS_URL": signals,
        "NIGHTSHIFT_DATABASE_URL": database_url,
        "NIGHTSHIFT_HOME": str(tmp_path),
        "NIGHTSHIFT_RUNBOOKS": str(tmp_path / "runbooks"),
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }

    code, said = preloaded.run(_RUN, environment=environment, seconds=120)

    assert code == 0, said
    assert said.rpartition("outcome: ")[2].strip() == "Escalated", said
    report = report_of(ledger, 1)
    assert "of 15 decided signals in the last hour 80 % rejected, 4 undecided" in report, report
    assert "Review the entry criteria of the source rsi" in report
    assert "the product and trading team" in report
    assert "engineering manager" not in report
    assert _rows(signals) == before


def _rows(url: str) -> list[tuple[Any, ...]]:
    """Every row of the three tables as text."""
    statement = (
        "select s::text from signals s union all select a::text from approvals a "
        "union all select r::text from trade_results r order by 1"
    )
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()
