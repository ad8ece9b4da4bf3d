"""The whole flow on a real database and an API that pauses: what is paused, what is left for people."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab import preloaded
from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer
from nightshift.remediation.clients.market_candles import moves_of
from nightshift.remediation.clients.postgres import open_postgres
from nightshift.remediation.clients.trading_tables import read_portfolio
from nightshift.remediation.connections import PostgresConnection, SecretReference
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.trading.policy import CandleTable, TradingRiskPolicy

TABLES = """
create type position_side as enum ('LONG', 'SHORT');
create table positions (
  symbol text, side position_side, quantity numeric, entry_price numeric, current_price numeric,
  unrealized_pnl numeric, realized_pnl numeric, status text, session_id text, entry_time timestamptz,
  exit_time timestamptz, exit_price numeric);
create table trading_sessions (
  session_id text, total_pnl numeric, max_drawdown numeric, roi_percentage numeric, created_at timestamptz);
create table agent_signals (symbol text, agent_name text, signal text, reasoning text, created_at timestamptz);
insert into trading_sessions values ('old', 10, 1, 1, now() - interval '9 days'), ('s1', -900, 4, -9, now());
insert into positions values
  ('BTC/USDT', 'LONG', 0.02, 70000, 75000, -40, null, 'OPEN', 's1', now() - interval '2 hours', null, null),
  ('ETH/USDT', 'SHORT', 1, 2000, null, 5, null, 'OPEN', 's1', now() - interval '1 hour', null, null),
  ('SOL/USDT', 'LONG', 1, 400, 90, null, -300, 'CLOSED', 's1', now() - interval '5 hours',
   now() - interval '1 hour', 100),
  ('OLD/USDT', 'LONG', 1, 100, 90, null, -9999, 'CLOSED', 'old', now() - interval '9 days',
   now() - interval '8 days', 90);
insert into agent_signals values ('BTC/USDT', 'trend-agent', 'BUY', 'momentum; drop table positions', now());
create table candlesticks (symbol text, open_time timestamptz, open numeric, high numeric, low numeric, close numeric);
insert into candlesticks
  select 'BTC/USDT', now() - make_interval(hours => h, mins => 30), 100, 101, 100, 100 from generate_series(1, 48) h;
insert into candlesticks values
  ('BTC/USDT', now() - interval '40 minutes', 100, 100, 96, 96),
  ('BTC/USDT', now() - interval '5 minutes', 96, 96, 90, 92),
  ('ETH/USDT', now() - interval '9 days', 1, 9, 1, 9);
"""
POLICY = {
    "breach": "position",
    "largest_position": 1000,
    "exposure": 3000,
    "drawdown_percent": 10,
    "watch": "1s",
    "candles": {},
    "pause": {"api": "orchestrator", "pause": "/api/v1/trade/pause", "state": "/api/v1/trade/status"},
}
_RUN = """
from nightshift.flows.trading_risk_breach import trading_risk_breach
state = trading_risk_breach("cryptofunk", "cryptofunk/database/main/portfolio/main", return_state=True)
print("outcome:", state.name)
"""


@dataclass
class Orchestrator:
    """Answers as the trading API does, and remembers what it was told."""

    paused: bool = False
    told: list[str] = field(default_factory=list)
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, method: str, path: str) -> dict[str, Any] | None:
        if method == "GET":
            return {"paused": self.paused} if path == "/api/v1/trade/status" else None
        self.told.append(path)
        if path != "/api/v1/trade/pause":
            return None
        self.paused = True
        return {}


@pytest.fixture
def orchestrator() -> Iterator[Orchestrator]:
    one = Orchestrator()

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            said = one.answer(method, self.path)
            body = json.dumps(said or {}).encode()
            self.send_response(200 if said is not None else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    one.server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=one.server.serve_forever, daemon=True).start()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def portfolio(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database with a portfolio in it."""
    url = postgres.create_database("portfolio")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES)
    yield url
    postgres.drop_database("portfolio")


def run(portfolio: str, orchestrator: Orchestrator, prefect: PrefectServer, ledger_url: str, folder: Path) -> str:
    """Run the whole flow; the name of the state it ends in."""
    system: dict[str, Any] = {
        "id": "cryptofunk",
        "display": "CryptoFunk",
        "title": "Trading",
        "mode": "assist",
        "severities": {"critical": {}, "warning": {}, "info": {}},
        "connections": {
            "main": {"type": "postgres", "url": {"env": "PORTFOLIO_URL"}},
            "orchestrator": {"type": "http", "url": orchestrator.url},
        },
        "runbooks": {
            "PositionLimitExceeded": {
                "summary": "a position is too large",
                "severity": "warning",
                "flow": "trading-risk-breach",
                "target": {"database": {"default": "main"}, "portfolio": {"default": "main", "among": ["main"]}},
                "policy": POLICY,
            }
        },
    }
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "cryptofunk.yaml").write_text(json.dumps(system))
    environment = {
        **os.environ,
        "PORTFOLIO_URL": portfolio,
        "NIGHTSHIFT_DATABASE_URL": ledger_url,
        "NIGHTSHIFT_HOME": str(folder),
        "NIGHTSHIFT_RUNBOOKS": str(folder / "runbooks"),
        "PREFECT_API_URL": prefect.url,
        "PREFECT_HOME": str(folder / "prefect"),
    }
    code, said = preloaded.run(_RUN, environment=environment, seconds=120)
    assert code == 0, said
    return said.rpartition("outcome: ")[2].strip()


def test_a_limit_broken_repeatedly_pauses_new_entries_and_the_rest_goes_to_a_person(
    portfolio: str,
    orchestrator: Orchestrator,
    prefect: PrefectServer,
    ledger: Ledger,
    database_url: str,
    tmp_path: Path,
) -> None:
    outcome = run(portfolio, orchestrator, prefect, database_url, tmp_path)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert orchestrator.told == ["/api/v1/trade/pause"], "paused once, nothing else was asked of it"
    assert orchestrator.paused
    assert "Reduce ETH/USDT by 0.5 of 1" in report
    assert "the rest is a person's decision" in report
    assert "1 of 1 symbol moved unusually far" in report, report
    assert "BTC/USDT -8.0 %, range 11.1 %, usually 1.0 %" in report
    assert "trend-agent on BTC/USDT: BUY" in report, report
    assert "| SOL/USDT | LONG | 1 | " in report, report
    with psycopg.connect(portfolio) as connection:
        assert connection.execute("select count(*) from positions where status = 'OPEN'").fetchone() == (2,)


@pytest.mark.hazard("cryptofunk.MaxDrawdownExceeded.d2")
def test_losses_are_those_of_the_latest_session_and_nothing_can_be_written(
    portfolio: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTFOLIO_URL", portfolio)
    connection = PostgresConnection(type="postgres", url=SecretReference(env="PORTFOLIO_URL"))

    with open_postgres("main", connection) as session:
        seen = read_portfolio(session, "main", TradingRiskPolicy.model_validate(POLICY))
        (move,) = moves_of(session, CandleTable(), ["BTC/USDT", "ETH/USDT"])

    assert [(loss.symbol, loss.trades, loss.amount) for loss in seen.losses] == [("SOL/USDT", 1, 300)]
    (worst,) = seen.worst_trades
    assert (worst.symbol, worst.side, worst.quantity, worst.entry_price, worst.loss) == (
        "SOL/USDT",
        "LONG",
        1,
        400,
        300,
    )
    assert worst.exit_price == 100
    assert [(one.symbol, one.size) for one in seen.positions] == [("ETH/USDT", 2000), ("BTC/USDT", 1500)]
    assert (seen.exposure, seen.largest, seen.above_limit) == (3500, 2000, 2)
    assert seen.session is not None
    assert (seen.session.id, seen.session.drawdown_percent) == ("s1", 4)
    assert [signal.reasoning for signal in seen.signals] == ["momentum; drop table positions"]
    assert (move.symbol, move.is_unusual, round(move.range_percent, 1)) == ("BTC/USDT", True, 11.1)
