"""POST /alerts: who may, what is taken, and what the answer promises."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import func, select

from lab.gateway_process import TOKEN, GatewayProcess
from lab.ports import free_port
from nightshift.catalogue import Catalogue
from nightshift.gateway.app import create_app
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.ledger import Ledger, schema
from nightshift.settings import Settings

BEARER = {"Authorization": "Bearer s3cret"}
HOSTILE = "$(touch /tmp/pwned)'; drop table alert; -- {{7*7}}<b>../../\x1b[31m\n\u202e"


def alert(fingerprint: str = "ae6ed0ec97c30a9b", **labels: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "HighDiskUsage", "job": "shop", **labels},
        "annotations": {"summary": "x"},
        "startsAt": "2026-11-21T07:55:19.561750464Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": fingerprint,
    }


def body(*alerts: Any, **changes: Any) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "receiver": "n", "alerts": list(alerts), **changes}


@pytest.fixture
def settings() -> Settings:
    return Settings(home=Path("/nonexistent"), webhook_token=SecretStr("s3cret"), max_body_bytes=8_000_000)


@pytest.fixture
def client(settings: Settings, ledger: Ledger, catalogue: Catalogue) -> Iterator[TestClient]:
    with TestClient(create_app(settings, ledger, catalogue)) as client:
        yield client


def stored(ledger: Ledger) -> int:
    with ledger.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(schema.alert)).scalar_one()


def test_accepted_means_committed(client: TestClient, ledger: Ledger) -> None:
    answer = client.post("/alerts", json=body(alert(mountpoint=HOSTILE)), headers=BEARER)

    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    with ledger.engine.connect() as connection:
        row = connection.execute(select(schema.alert)).one()
    assert row.labels["mountpoint"] == HOSTILE
    assert row.source == "alertmanager"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer s3cre",
        "Bearer s3cret2",
        "s3cret",
        "Digest s3cret",
        "Basic s3cret",
        "Basic " + base64.b64encode(b"s3cret").decode(),
        "Basic " + base64.b64encode(b"s3cret:wrong").decode(),
        b"Bearer \xff\xfe",
    ],
)
def test_without_the_token_nothing_is_taken(client: TestClient, ledger: Ledger, authorization: str | bytes) -> None:
    headers = {} if authorization is None else {b"authorization": authorization}

    answer = client.post("/alerts", json=body(alert()), headers=headers)  # type: ignore[arg-type]

    assert answer.status_code == 401
    assert "Bearer" in answer.headers["www-authenticate"]
    assert stored(ledger) == 0


@pytest.mark.parametrize("authorization", ["bearer s3cret", "Basic " + base64.b64encode(b"any:s3cret").decode()])
def test_the_token_may_come_as_bearer_or_as_password(client: TestClient, authorization: str) -> None:
    answer = client.post("/alerts", json=body(alert()), headers={"Authorization": authorization})

    assert answer.status_code == 202


def test_without_a_configured_token_the_gateway_does_not_start(ledger: Ledger, catalogue: Catalogue) -> None:
    with pytest.raises(ConfigurationError, match="no webhook token"):
        create_app(Settings(home=Path("/nonexistent"), webhook_token=None), ledger, catalogue)


def test_good_alerts_of_a_body_with_bad_ones_are_kept_and_a_person_is_paged(client: TestClient, ledger: Ledger) -> None:
    bad = [alert("bad1", mountpoint="\0"), alert("bad2", mountpoint="x" * 1_000_000), "no alert"]

    answer = client.post("/alerts", json=body(alert("good1"), *bad, alert("good2")), headers=BEARER)

    assert answer.status_code == 422
    assert answer.json()["accepted"] == 2
    assert [(r["index"], r["reason"]) for r in answer.json()["refused"]] == [
        (1, "not_writable"),
        (2, "label_too_long"),
        (3, "malformed"),
    ]
    assert stored(ledger) == 2
    (incident,) = ledger.incidents.list()
    assert incident.title == "Alerts from Alertmanager could not be read"
    (page,) = ledger.deliveries.of(incident.id)
    assert "3 alerts of 5" in page.body
    metrics = client.get("/metrics").text
    assert 'nightshift_alerts_refused_total{reason="not_writable"} 1.0' in metrics
    assert "nightshift_messages_undelivered 1.0" in metrics


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, b"{"),
        (400, b"\xff"),
        (400, json.dumps(body(alert())).encode()[:-9]),
        (400, b"[" * 50_000),
        (422, b"[]"),
        (422, json.dumps(body(alert(), version="3")).encode()),
    ],
)
def test_a_body_that_is_no_webhook_gets_a_precise_answer(
    client: TestClient, ledger: Ledger, status: int, sent: bytes
) -> None:
    answer = client.post("/alerts", content=sent, headers=BEARER)

    assert answer.status_code == status
    assert set(answer.json()) == {"error", "remedy"}
    assert stored(ledger) == 0


def test_ten_thousand_alerts_in_one_body_are_taken(client: TestClient, ledger: Ledger) -> None:
    answer = client.post("/alerts", json=body(*[alert(f"{n:016x}") for n in range(10_000)]), headers=BEARER)

    assert answer.status_code == 202
    assert stored(ledger) == 10_000


def test_alerts_that_alertmanager_left_out_are_paged(client: TestClient, ledger: Ledger) -> None:
    answer = client.post("/alerts", json=body(alert(), truncatedAlerts=7), headers=BEARER)

    assert answer.status_code == 202
    (incident,) = ledger.incidents.list()
    assert incident.reason == "Alertmanager left out 7 alerts (max_alerts)."


def test_a_body_that_is_too_large_is_refused_and_paged(client: TestClient, ledger: Ledger) -> None:
    answer = client.post("/alerts", content=b" " * 8_000_001, headers=BEARER)

    assert answer.status_code == 413
    assert [row.runbook for row in ledger.incidents.list()] == ["UnreadableAlerts"]


@pytest.mark.parametrize("source", ["", "../x", "a" * 64, "a b", "<b>", "a\0"])
def test_a_source_that_is_no_name_is_refused(client: TestClient, source: str) -> None:
    answer = client.post("/alerts", params={"source": source}, json=body(alert()), headers=BEARER)

    assert answer.status_code == 400
    assert source not in answer.text or source == ""


def test_alerts_of_two_alertmanagers_do_not_mix(client: TestClient, ledger: Ledger) -> None:
    for source in ("am-1", "am-2"):
        client.post("/alerts", params={"source": source}, json=body(alert()), headers=BEARER)

    assert stored(ledger) == 2


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/redoc", "/alerts", "/<script>"])
def test_nothing_else_is_shown_and_nothing_asked_is_repeated(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code in (404, 405)
    assert "script" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_ready_means_the_ledger_answers(client: TestClient, catalogue: Catalogue, settings: Settings) -> None:
    assert client.get("/readyz").json() == {"status": "ready", "systems": 1}
    nowhere = Ledger.connect(f"postgresql://postgres@127.0.0.1:{free_port()}/x")

    with TestClient(create_app(settings, nowhere, catalogue)) as without:
        assert without.get("/healthz").status_code == 200
        assert without.get("/readyz").status_code == 503
        assert "nightshift_ledger_up 0.0" in without.get("/metrics").text
        answer = without.post("/alerts", json=body(alert()), headers=BEARER)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


def test_a_ledger_that_takes_connections_but_never_answers_costs_no_more_than_the_bounded_wait(
    settings: Settings, catalogue: Catalogue
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stuck = Ledger.connect(f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/x")
        with TestClient(create_app(settings, stuck, catalogue)) as client:
            started = time.monotonic()
            answer = client.post("/alerts", json=body(alert()), headers=BEARER)

    assert answer.status_code == 503
    assert time.monotonic() - started < 9


# --- over a real socket, where lengths can lie


@pytest.fixture
def gateway(database_url: str, runbooks: Path) -> Iterator[GatewayProcess]:
    nobody = f"http://127.0.0.1:{free_port()}/api"
    with GatewayProcess(
        database_url=database_url, prefect_api_url=nobody, runbooks=runbooks, NIGHTSHIFT_MAX_BODY_BYTES="100000"
    ) as gateway:
        yield gateway


def raw(gateway: GatewayProcess, head: str, *chunks: bytes) -> str:
    """The first line of the answer to a request that is sent as it is."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        start = f"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n{head}\r\n\r\n"
        connection.sendall(start.encode())
        try:
            for chunk in chunks:
                connection.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered already
        return connection.recv(65536).decode(errors="replace").splitlines()[0]


def test_lengths_that_lie_are_bounded_and_the_gateway_goes_on(gateway: GatewayProcess) -> None:
    good = json.dumps(body(alert())).encode()
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"

    assert " 413 " in raw(gateway, "Content-Length: 999999999999")
    assert " 413 " in raw(gateway, "Transfer-Encoding: chunked", *[chunk] * 10)
    assert " 202 " in raw(gateway, "Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(good), good))
    for length in ("-1", "abc", "1" * 30, "10, 20"):
        assert " 4" in raw(gateway, f"Content-Length: {length}", good)
    with socket.create_connection(("127.0.0.1", gateway.port)) as cut:
        start = f"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 5000\r\n\r\n"
        cut.sendall(start.encode() + good)

    assert gateway.post(body(alert())).status_code == 202
    assert "server" not in gateway.post(body(alert())).headers
