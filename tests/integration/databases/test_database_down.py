"""PostgreSQL servers that really do not run, or not well: how they answer, and what their own logs say."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.database_sessions import DatabaseSessions
from lab.postgres import PostgresServer
from nightshift.remediation.clients.database_answer import how_it_answers, why_read_only
from nightshift.remediation.connections import Connection, LocalConnection, PostgresConnection
from nightshift.remediation.databases.down_planner import Answering, judge_revival
from nightshift.remediation.databases.down_policy import DatabaseUnavailablePolicy
from nightshift.remediation.databases.down_signs import Sign, signs_of
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.tasks import database_down
from nightshift.tasks.database_down import look_at_database, watch_database
from tests.integration.databases.conftest import FlowRuns

CONNECTION = PostgresConnection.model_validate({"type": "postgres", "url": {"env": "SHOP_DATABASE"}})


def log_of(server: PostgresServer) -> str:
    return (server.cluster.parent / "log").read_text()


def answer(url: str, monkeypatch: pytest.MonkeyPatch) -> Answering:
    monkeypatch.setenv("SHOP_DATABASE", url)
    return how_it_answers("main", CONNECTION)[0]


def test_each_way_to_answer_is_told_apart(sessions: DatabaseSessions, monkeypatch: pytest.MonkeyPatch) -> None:
    url = sessions.url_of("night")
    assert answer(url, monkeypatch) is Answering.WELL
    assert answer(url.replace("shop_", "gone_"), monkeypatch) is Answering.REFUSED
    sessions.admin.execute("alter role night set default_transaction_read_only = on")
    try:
        assert answer(url, monkeypatch) is Answering.READ_ONLY
        why = why_read_only("main", CONNECTION)
        assert why is not None
        assert (why.standby, why.source, why.way_back) == (
            False,
            "user",
            'alter role "night" reset default_transaction_read_only;',
        )
    finally:
        sessions.admin.execute("alter role night reset default_transaction_read_only")


@pytest.mark.hazard("bybit_strategy_tester.DatabaseDown.d6")
def test_a_server_that_will_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with PostgresServer() as server:
        first = server._postmaster
        with suppress(RuntimeError):  # as the first one answers, it may seem to have started
            server.start()
        assert server._postmaster is not None
        server._postmaster.wait(120)
        server._postmaster = first
        assert Sign.STALE_PID in signs_of(log_of(server))
        with DatabaseSessions(server.url()) as held:
            held.session("web")
            os.kill(int((server.cluster / "postmaster.pid").read_text().split()[0]), signal.SIGTERM)
            seen = [answer(server.url(), monkeypatch) for _ in range(20)]
            assert seen[-1] is Answering.NOT_READY
        server.stop()
        assert answer(server.url(), monkeypatch) is Answering.SILENT

        server.cluster.chmod(0o777)
        (server.cluster.parent / "log").unlink()
        with pytest.raises(RuntimeError):
            server.start()
        assert list(signs_of(log_of(server))) == [Sign.PERMISSIONS]

        server.cluster.chmod(0o700)
        (server.cluster.parent / "log").unlink()
        control = server.cluster / "global" / "pg_control"
        control.write_bytes(bytes(len(control.read_bytes())))
        with pytest.raises(RuntimeError):
            server.start()
        assert next(iter(signs_of(log_of(server)))) is Sign.CORRUPTION


@pytest.mark.hazard("bybit_strategy_tester.DatabaseDown.r1.2")
def test_recovery_may_take_its_time_and_is_watched_until_the_database_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = DatabaseUnavailablePolicy.model_validate({"wait": "60s", "hold": "1s"})
    with PostgresServer() as server:
        monkeypatch.setenv("SHOP_DATABASE", server.url())
        server.stop()
        seen_silent = threading.Event()

        def come_back() -> None:
            seen_silent.wait()
            server.start()

        def answering(*asked: Any) -> Any:
            answer = how_it_answers(*asked)
            seen_silent.set()
            return answer

        monkeypatch.setattr(database_down, "how_it_answers", answering)
        comes_back = threading.Thread(target=come_back)
        comes_back.start()

        looks = watch_database.__wrapped__("main", {"main": CONNECTION}, policy)  # type: ignore[attr-defined]
        comes_back.join()

    assert looks[0].answering is Answering.SILENT
    assert judge_revival(looks, policy).healthy


@pytest.mark.hazard("bybit_strategy_tester.DatabaseDown.d4")
def test_how_full_its_volume_is_comes_from_the_host_and_not_from_a_path_in_the_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHOP_DATABASE", "postgresql://night@127.0.0.1:1/shop")
    connections: dict[str, Connection] = {"main": CONNECTION, "web1": LocalConnection(type="local")}
    mount = str(Path("/").resolve())

    def seen(path: str) -> float | None:
        policy = DatabaseUnavailablePolicy.model_validate({"volume": {"host": "web1", "mount": path}})
        look = look_at_database.__wrapped__  # type: ignore[attr-defined]
        return float(used) if (used := look("main", connections, policy).used_percent) is not None else None

    usage = psutil.disk_usage(mount)
    assert seen(mount) == pytest.approx(usage.percent, abs=2)
    assert seen(f"{tmp_path}/var/lib/postgresql/data") is None, "not known, which speaks against a restart"


def test_a_server_whose_engine_cannot_be_seen_is_left_to_a_person_with_what_was_seen(
    flow_runs: FlowRuns, ledger: Ledger, tmp_path: Path
) -> None:
    policy = {"service": {"docker": "compose", "service": "postgres"}, "wait": "1s", "hold": "1s"}
    engine = {"compose": {"type": "docker", "project": "shop", "url": f"unix://{tmp_path}/docker.sock"}}

    outcome = flow_runs.run("database-unavailable", policy, "postgresql://night@127.0.0.1:1/shop", connections=engine)

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert "it does not answer" in report
    assert "its container was not seen" in report
