"""How things that requests need answer: a real PostgreSQL, a real Redis, and HTTP servers in every mood."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from pydantic import TypeAdapter

from lab.ports import free_port
from lab.postgres import PostgresServer
from lab.redis_server import RedisServer
from nightshift.remediation.clients.request_dependencies import ask_dependency
from nightshift.remediation.connections import (
    Connection,
    HttpConnection,
    PostgresConnection,
    RedisConnection,
    SecretReference,
)
from nightshift.remediation.databases.down_planner import Answering
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.providers.policy import OwnDatabase, ProviderFailurePolicy
from nightshift.remediation.requests.evidence import Answered
from nightshift.remediation.requests.policy import DependencyRule, RequestsPolicy
from nightshift.tasks.providers import _database

POLICY = RequestsPolicy.model_validate(
    {"runs_on": "compose", "prometheus": "metrics", "measure": {"kind": "errors", "at_most_percent": 5}}
)


def ask(rule: dict[str, Any], **connections: Connection) -> Answered:
    return ask_dependency(TypeAdapter[DependencyRule](DependencyRule).validate_python(rule), connections, POLICY, None)


def secret(folder: Path, text: str) -> SecretReference:
    (folder / "url").write_text(text)
    return SecretReference(file=folder / "url")


def test_a_database_tells_how_many_connections_are_in_use(postgres: PostgresServer, tmp_path: Path) -> None:
    connection = PostgresConnection(type="postgres", url=secret(tmp_path, postgres.url()))
    rule = {"kind": "database", "connection": "db", "full_percent": 100}
    quiet = ask(rule, db=connection)
    with psycopg.connect(postgres.url()), psycopg.connect(postgres.url()):
        busy = ask({**rule, "full_percent": 1}, db=connection)

    assert quiet.answers is True
    assert not quiet.full
    assert busy.full
    assert busy.full_percent is not None
    assert quiet.full_percent is not None
    assert busy.full_percent > quiet.full_percent
    assert "in use" in busy.says


@pytest.mark.hazard("trading_signals.HighErrorRate.r4.1")
def test_a_database_that_is_not_there_and_one_that_refuses_are_told_apart(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    rule = {"kind": "database", "connection": "db", "repaired_by": "DatabaseDown"}
    (tmp_path / "gone").mkdir()
    gone = secret(tmp_path / "gone", f"postgresql://app@127.0.0.1:{free_port()}/app")
    other = secret(tmp_path, postgres.url("no_such_database"))

    silent = ask(rule, db=PostgresConnection(type="postgres", url=gone, connect_timeout=2))
    refuses = ask(rule, db=PostgresConnection(type="postgres", url=other))

    assert (silent.answers, silent.repaired_by) == (False, "DatabaseDown")
    assert (refuses.answers, refuses.refuses_us) == (None, True)


def test_a_redis_answers_or_does_not(tmp_path: Path) -> None:
    with RedisServer("--maxclients", "4") as server:
        connection = RedisConnection(type="redis", url=secret(tmp_path, server.url), timeout=1)
        well = ask({"kind": "redis", "connection": "cache"}, cache=connection)
        held = [server.client for _ in range(4)]
        with contextlib.suppress(redis.exceptions.ConnectionError):
            for client in held:
                client.ping()
        crowded = ask({"kind": "redis", "connection": "cache"}, cache=connection)
        for client in held:
            client.close()
    gone = ask({"kind": "redis", "connection": "cache"}, cache=connection)

    assert well.answers is True
    assert (crowded.answers, crowded.full) == (False, True)
    assert (gone.answers, gone.full) == (False, False)


class Provider:
    """Answers as told."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        provider = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(provider.status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                self.wfile.write(provider.body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Answers)
        self.connection = HttpConnection.model_validate(
            {"type": "http", "url": f"http://127.0.0.1:{self._server.server_port}/api", "timeout": 1}
        )
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.close()


@pytest.mark.hazard("bybit_strategy_tester.HighErrorRate.d8")
@pytest.mark.parametrize(
    ("status", "body", "answers"),
    [
        (200, {"retCode": 0}, True),
        (200, {"retCode": 10001}, False),
        (200, {"retCode": "0"}, False),
        (200, {"retCode": False}, False),
        (200, {}, False),
        (200, [], False),
        (200, "no JSON", False),
        (302, {"retCode": 0}, True),
        (404, {"retCode": 0}, False),
        (429, {"retCode": 0}, None),
        (401, {"retCode": 0}, None),
        (503, {"retCode": 0}, False),
    ],
)
def test_an_http_answer_counts_by_its_status_and_its_field(
    provider: Provider, status: int, body: Any, answers: bool | None
) -> None:
    provider.status = status
    provider.body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    rule = {"kind": "http", "connection": "api", "path": "/v5?x=1", "field": "retCode", "equals": 0, "external": True}

    found = ask(rule, api=provider.connection)

    assert found.answers is answers
    assert found.external
    assert (found.limits_us, found.refuses_us) == (status == 429, status == 401)


def test_a_hostile_answer_is_shown_without_what_a_terminal_would_obey(provider: Provider) -> None:
    provider.status, provider.body = 200, json.dumps({"status": "\x1b[2J<b>" * 50}).encode()
    found = ask({"kind": "http", "connection": "api", "field": "status", "equals": "ok"}, api=provider.connection)

    assert found.answers is False
    assert found.says.isprintable()
    assert "<" not in found.says


def test_a_provider_that_is_not_there_does_not_answer() -> None:
    gone = HttpConnection.model_validate({"type": "http", "url": f"http://127.0.0.1:{free_port()}", "timeout": 1})

    assert ask({"kind": "http", "connection": "api"}, api=gone).answers is False


def test_a_connection_that_is_gone_from_the_catalogue_is_a_mistake_of_it() -> None:
    for rule in ({"kind": "database", "connection": "x"}, {"kind": "http", "connection": "x"}):
        with pytest.raises(ConfigurationError):
            ask(rule)


@pytest.mark.hazard("cryptofunk.CircuitBreakerOpen.d6", "trading_signals.HighErrorRate.r4.1")
def test_a_database_is_asked_over_a_connection_of_its_own_that_ends(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.create_database("asked")
    try:
        connection = PostgresConnection(type="postgres", url=secret(tmp_path, url))
        metrics = HttpConnection.model_validate({"type": "http", "url": "http://127.0.0.1:1"})
        policy = ProviderFailurePolicy.model_construct()

        seen = _database(OwnDatabase(database="db"), metrics, {"db": connection}, policy)
        ask({"kind": "database", "connection": "db"}, db=connection)

        assert seen is not None
        assert seen.answering is Answering.WELL
        with psycopg.connect(url) as session:
            own = (  # and not an autovacuum that has found the new database
                "select from pg_stat_activity where datname = 'asked' and pid <> pg_backend_pid()"
                " and backend_type = 'client backend'"
            )
            until(lambda: session.execute(own).fetchone() is None)
    finally:
        postgres.drop_database("asked")


def until(what: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 10
    while not what():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
