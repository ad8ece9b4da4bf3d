"""Signed requests that are refused, at real parts: a service on Docker, Redis, PostgreSQL, Prometheus."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab import preloaded
from lab.compose_project import ComposeProject
from lab.docker_engine import DockerEngine
from lab.postgres import PostgresServer
from lab.prefect_server import PrefectServer
from lab.prometheus import PrometheusProcess
from lab.redis_server import RedisServer, commands_of
from nightshift.remediation.clients.device_registry import active_devices, how_endpoint_answers, registered
from nightshift.remediation.clients.redis_keys import key_times
from nightshift.remediation.connections import HttpConnection, PostgresConnection, SecretReference
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.signed_requests.policy import Endpoint, Registry

SECRET = "whsec_canary_Zk3pQ9rT7vX1yB5nM8aL2cD4"
_RUN = """
import sys
from nightshift.flows.signed_request_failures import signed_request_failures
state = signed_request_failures("shop", sys.argv[1], return_state=True)
print("outcome:", state.name)
"""


class Backend:
    """The service's own API: a list of devices, and a route that takes only POST."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        backend = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                backend.asked.append(self.path)
                is_list = self.path.startswith("/api/v1/devices")
                self.send_response(200 if is_list else 405)
                self.end_headers()
                self.wfile.write(json.dumps([{"device_id": f"d{number}"} for number in range(20)]).encode())

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
                """Not on the test's output."""

        self.server = HTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    running = Backend()
    thread = threading.Thread(target=running.server.serve_forever, daemon=True)
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.mark.hazard(
    "trading_signals.PaymentWebhookFailures.d4",
    "trading_signals.EAPollErrors.d5",
    "trading_signals.PaymentWebhookFailures.r1.2",
    "trading_signals.general.redis_keys",
)
def test_keys_are_counted_and_sampled_without_listing_them(server: RedisServer) -> None:
    client = server.client
    pipeline = client.pipeline()
    for number in range(3000):
        pipeline.set(f"nonce:{number}", "x", ex=300)
        pipeline.set(f"other:{number}", "x")
    pipeline.set("nonce:forever", "x")
    pipeline.execute()

    found, none = key_times(client, "nonce:"), key_times(client, "idempotent:")

    assert (found.keys, found.complete) == (3001, True)
    assert 290 < found.longest <= 300
    assert found.sampled >= 500
    assert (none.keys, none.sampled, none.longest) == (0, 0, 0.0)
    assert not commands_of(client) & {"keys", "get", "mget", "del"}


@pytest.mark.hazard("trading_signals.EAPollErrors.r2.1", "trading_signals.PaymentWebhookFailures.r3.1")
def test_devices_are_read_from_api_and_table_by_bound_parameters(
    backend: Backend, postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.create_database("devices")
    hostile = "d1'; drop table devices; --"
    try:
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("create table devices (device_id text, created_at timestamptz, secret text)")
            connection.execute(
                "insert into devices values ('d1', to_timestamp(1000), 'hidden'), ('d2', now(), 'hidden')"
            )
        (tmp_path / "url").write_text(url)
        rule = Registry(api="backend", path="/api/v1/devices", database="main")
        connections = {
            "backend": HttpConnection.model_validate({"type": "http", "url": backend.url}),
            "main": PostgresConnection(type="postgres", url=SecretReference(file=tmp_path / "url")),
        }

        assert len(active_devices(rule, connections)) == 20
        assert registered(rule, connections, ["d1", hostile]) == {"d1": 1000.0}
        assert registered(rule, connections, ["d1"]) == {"d1": 1000.0}
        assert "405" in how_endpoint_answers(Endpoint(api="backend", path="/webhook"), connections)
        assert "/api/v1/devices?status=active" in backend.asked
    finally:
        postgres.drop_database("devices")


@pytest.mark.hazard("trading_signals.PaymentWebhookFailures.r2.1")
def test_a_wrong_secret_is_found_by_its_fingerprint_and_left_to_a_person(
    server: RedisServer, prefect: PrefectServer, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    for number in range(30):
        server.client.set(f"idempotent:{number}", "x", ex=86400)
    (tmp_path / "redis").write_text(server.url)
    lines = "i=0; while [ $i -lt 60 ]; do echo webhook invalid_signature ip=54.187.216.72; i=$((i+1)); done; sleep 600"
    measure = {"prometheus": "prometheus", "expression": "invalid_signatures", "at_most": 0.1, "unit": "/s"}
    policy = {
        "kind": "webhooks",
        "measures": {"invalid signatures": measure},
        "log": {"request": "webhook", "invalid": "invalid_signature", "replay": "replay_attack"},
        "remembered": {"redis": "redis", "service": "redis", "prefix": "idempotent:", "lives": "24h"},
        "secret": {"setting": "STRIPE_WEBHOOK_SECRET", "file": "backend/.env", "fingerprint": "0" * 16},
    }
    with DockerEngine() as engine, PrometheusProcess("invalid_signatures 5\n") as prometheus:
        shop = ComposeProject(engine, "shop")
        shop.image("shop/backend:1")
        shop.up("backend", "shop/backend:1", "sh", "-c", lines, options=("--env", f"STRIPE_WEBHOOK_SECRET={SECRET}"))
        before = shop.inspect("shop-backend-1")["State"]["StartedAt"]
        system: dict[str, Any] = {
            "id": "shop",
            "display": "Shop",
            "title": "A shop",
            "mode": "auto",
            "severities": {"critical": {}, "warning": {}, "info": {}},
            "connections": {
                "main": shop.connection(),
                "redis": {"type": "redis", "url": {"file": str(tmp_path / "redis")}},
                "prometheus": {"type": "http", "url": prometheus.url},
            },
            "runbooks": {
                "Refused": {
                    "summary": "x",
                    "severity": "critical",
                    "flow": "signed-request-failures",
                    "target": {"compose": {"default": "main"}, "service": {"default": "backend", "among": ["backend"]}},
                    "policy": policy,
                }
            },
        }
        (tmp_path / "runbooks").mkdir()
        (tmp_path / "runbooks" / "shop.yaml").write_text(json.dumps(system))
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))},
            "NIGHTSHIFT_DATABASE_URL": database_url,
            "NIGHTSHIFT_HOME": str(tmp_path),
            "NIGHTSHIFT_RUNBOOKS": str(tmp_path / "runbooks"),
            "PREFECT_API_URL": prefect.url,
            "PREFECT_HOME": str(tmp_path / "prefect"),
        }
        code, said = preloaded.run(_RUN, "shop/compose/main/service/backend", environment=environment, seconds=100)
        after = shop.inspect("shop-backend-1")["State"]["StartedAt"]

    report = report_of(ledger, 1)
    assert code == 0, said
    assert said.rpartition("outcome: ")[2].strip() == "Escalated", said
    assert "Put the right STRIPE_WEBHOOK_SECRET into backend/.env" in report
    assert hashlib.sha256(SECRET.encode()).hexdigest()[:16] in report
    assert before == after
    for place in (report, said, *(str(row) for row in ledger.journal.of(1))):
        assert "canary" not in place
